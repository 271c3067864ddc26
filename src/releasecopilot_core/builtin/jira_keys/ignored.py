"""What looks like a Jira key and is none: the built-in ignore list, in groups.

An entry is a project (`UTF`: no `UTF-8`, no `UTF-16`) or, where teams do name projects so, a single key (`ARM-64`).
Ignoring a project loses its stories silently, so a name is here only if hardly any team would choose it.
`docs/story-keys.md` shows the same list with reasons; a test compares the two.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Security advisories. Their identifiers run on behind further hyphens (`SNYK-JS-LODASH-567746`).
ADVISORIES = _words(
    """
    ALAS CAPEC CVE CVSS CWE DLA DSA ELSA GHSA GLSA MFSA OSV OSVDB PYSEC RHBA RHEA RHSA RUSTSEC SNYK USN XSA ZDI
    """
)

#: Group -> its entries.
GROUPS: dict[str, frozenset[str]] = {
    "Advisories": ADVISORIES,
    # Code pages one by one: CP is many a customer portal.
    "Character sets and encodings": _words(
        """
        ASCII EBCDIC EUC KOI8 LATIN UCS UNICODE UTF BASE-16 BASE-32 BASE-58 BASE-64 BIG-5 CP-437 CP-850 CP-852 CP-866
        CP-932 CP-936 CP-949 CP-950 CP-1250 CP-1251 CP-1252 CP-1253 CP-1254 CP-1255 CP-1256 CP-1257 CP-1258 GB-2312
        GB-18030 KOI-8 ROT-13
        """
    ),
    "Hashes, ciphers and keys": _words(
        """
        AES BLAKE CBC CHACHA20 CRC ECDH ECDHE ECDSA EDDSA FIPS GCM HMAC MD MD5 PBKDF PBKDF2 PKCS RIPEMD RSA SHA SHA1
        SHA2 SHA3 SHAKE EC-256 EC-384 EC-521 ED-448 ED-25519 ES-256 ES-384 ES-512 HS-256 HS-384 HS-512 PS-256 PS-384
        PS-512 RS-256 RS-384 RS-512
        """
    ),
    "Protocols": _words("HTTP HTTPS IPV IPV4 IPV6 OAUTH SSH SSL TCP TLS UDP WIFI WPA ASN-1 IP-4 IP-6"),
    "Standards": _words(
        """
        ANSI BCP DIN ECMA IEC IEEE ISO NIST RFC STD WCAG XEP DO-178 DO-254 EN-301549 SP-800 SQL-92 SQL-99
        """
    ),
    "Proposals of other projects": _words("BIP EIP ERC FLIP JEP JSR KEP KIP NEP PEP SPIP"),
    "Languages and systems": _words(
        """
        AMD CENTOS CLANG GCC HTML JAVA JDK JRE LLVM PERL PHP PYTHON RHEL SLES UBUNTU X86 ARM-32 ARM-64 CSS-3 ES-5 ES-6
        ES-2015 ES-2016 ES-2017 ES-2018 ES-2019 ES-2020 ES-2021 ES-2022 ES-2023 ES-2024 IA-32 IA-64 WIN-10 WIN-11
        WIN-32 WIN-64
        """
    ),
    "Hardware and media": _words("DDR HDMI JPEG LPDDR MPEG RJ SATA USB MP-3 MP-4 RS-232 RS-422 RS-485"),
    "Models and diseases": _words("COV COVID GPT LLAMA SARS"),
    "Errors of databases": _words("ORA SQLSTATE TNS"),
    "Code review": _words("DISCUSSION GH ISSUECOMMENT PATCH PR PULL"),
    "Words in front of branches": _words("BUGFIX FEAT FEATURE FIX HOTFIX RELEASE REVERT WIP"),
    "Versions": _words("ALPHA BETA MILESTONE SNAPSHOT V1 V2 V3 VER VERSION"),
    "Counting words and constants": _words("LEVEL MAX MIN PART PHASE SPRINT STEP TOP"),
    "Times and regions": _words(
        """
        FY GMT H1 H2 NORTHEAST NORTHWEST Q1 Q2 Q3 Q4 SOUTHEAST SOUTHWEST UTC CENTRAL-1 CENTRAL-2 EAST-1 EAST-2 NORTH-1
        SOUTH-1 SOUTH-2 WEST-1 WEST-2 WEST-3
        """
    ),
    "Placeholders": _words("FIXME NOISSUE NOJIRA NOTICKET TODO XX XXX XXXX"),
}

#: What is ignored unless the settings say otherwise.
IGNORED = frozenset().union(*GROUPS.values())
