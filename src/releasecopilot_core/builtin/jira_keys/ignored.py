"""What looks like a Jira key and is none: the built-in ignore list, in groups with reasons.

An entry is a project (`UTF`: no `UTF-8`, no `UTF-16`) or, where teams do name projects so, a single key (`ARM-64`).
Ignoring a project loses its stories silently, so a name is here only if hardly any team would choose it.
`docs/story-keys.md` shows the same list; a test compares the two.
"""

from __future__ import annotations

#: Security advisories. Their identifiers run on behind further hyphens (`SNYK-JS-LODASH-567746`).
ADVISORIES = frozenset(
    ["CVE", "CWE", "GHSA", "CAPEC", "CVSS", "OSV", "OSVDB", "PYSEC", "RUSTSEC", "SNYK", "ZDI", "XSA", "MFSA", "RHSA", "RHBA", "RHEA", "ELSA", "GLSA", "ALAS", "DSA", "DLA", "USN"]
)

#: Group -> its entries; the groups' reasons are in `docs/story-keys.md`.
GROUPS: dict[str, frozenset[str]] = {
    "Advisories": ADVISORIES,
    "Character sets and encodings": frozenset(
        # The Windows and DOS code pages one by one: CP is many a customer portal.
        ["UTF", "UCS", "LATIN", "ASCII", "UNICODE", "KOI8", "EBCDIC", "EUC", "BIG-5", "KOI-8", "GB-2312", "GB-18030", "BASE-16", "BASE-32", "BASE-58", "BASE-64", "ROT-13", "CP-437", "CP-850", "CP-852", "CP-866", "CP-932", "CP-936", "CP-949", "CP-950", "CP-1250", "CP-1251", "CP-1252", "CP-1253", "CP-1254", "CP-1255", "CP-1256", "CP-1257", "CP-1258"]
    ),
    "Hashes, ciphers and keys": frozenset(
        ["SHA", "SHA1", "SHA2", "SHA3", "SHAKE", "MD", "MD5", "RIPEMD", "BLAKE", "CRC", "HMAC", "AES", "RSA", "ECDSA", "ECDH", "ECDHE", "EDDSA", "PBKDF", "PBKDF2", "PKCS", "FIPS", "CHACHA20", "GCM", "CBC", "ED-448", "ED-25519", "EC-256", "EC-384", "EC-521", "RS-256", "RS-384", "RS-512", "HS-256", "HS-384", "HS-512", "ES-256", "ES-384", "ES-512", "PS-256", "PS-384", "PS-512"]
    ),
    "Protocols": frozenset(["TLS", "SSL", "SSH", "HTTP", "HTTPS", "TCP", "UDP", "IPV", "IPV4", "IPV6", "OAUTH", "WPA", "WIFI", "IP-4", "IP-6", "ASN-1"]),
    "Standards bodies": frozenset(
        ["ISO", "IEC", "IEEE", "ANSI", "DIN", "ECMA", "NIST", "RFC", "BCP", "STD", "WCAG", "XEP", "DO-178", "DO-254", "SP-800", "SQL-92", "SQL-99", "EN-301549"]
    ),
    "Proposals of other projects": frozenset(["KIP", "KEP", "JEP", "JSR", "PEP", "NEP", "FLIP", "SPIP", "BIP", "EIP", "ERC"]),
    "Languages, compilers and systems": frozenset(
        ["JDK", "JRE", "JAVA", "PYTHON", "PHP", "PERL", "HTML", "GCC", "CLANG", "LLVM", "RHEL", "SLES", "UBUNTU", "CENTOS", "ES-5", "ES-6", "ES-2015", "ES-2016", "ES-2017", "ES-2018", "ES-2019", "ES-2020", "ES-2021", "ES-2022", "ES-2023", "ES-2024", "CSS-3", "X86", "AMD", "ARM-32", "ARM-64", "WIN-10", "WIN-11", "WIN-32", "WIN-64"]
    ),
    "Hardware and media": frozenset(
        ["USB", "HDMI", "SATA", "DDR", "LPDDR", "RJ", "MPEG", "JPEG", "MP-3", "MP-4", "RS-232", "RS-422", "RS-485", "IA-32", "IA-64"]
    ),
    "Models and diseases": frozenset(["GPT", "LLAMA", "COVID", "COV", "SARS"]),
    "Error codes of databases": frozenset(["ORA", "TNS", "SQLSTATE"]),
    "Code review and trackers": frozenset(["PR", "PULL", "GH", "PATCH", "ISSUECOMMENT", "DISCUSSION"]),
    "Words before a branch's name": frozenset(["FEATURE", "FEAT", "FIX", "HOTFIX", "BUGFIX", "RELEASE", "REVERT", "WIP"]),
    "Version words": frozenset(["ALPHA", "BETA", "SNAPSHOT", "MILESTONE", "VERSION", "VER", "V1", "V2", "V3"]),
    "Counting words and constants": frozenset(["STEP", "PHASE", "PART", "LEVEL", "SPRINT", "TOP", "MAX", "MIN"]),
    "Dates, times and regions": frozenset(
        ["UTC", "GMT", "FY", "Q1", "Q2", "Q3", "Q4", "H1", "H2", "NORTHEAST", "NORTHWEST", "SOUTHEAST", "SOUTHWEST", "EAST-1", "EAST-2", "WEST-1", "WEST-2", "WEST-3", "NORTH-1", "SOUTH-1", "SOUTH-2", "CENTRAL-1", "CENTRAL-2"]
    ),
    "Placeholders": frozenset(["NOJIRA", "NOISSUE", "NOTICKET", "XX", "XXX", "XXXX", "TODO", "FIXME"]),
}

#: What is ignored unless the settings say otherwise.
IGNORED = frozenset().union(*GROUPS.values())
