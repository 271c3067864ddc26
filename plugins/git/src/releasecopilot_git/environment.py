"""The environment in which git reads, and the one in which it talks to servers: nobody else's has a say."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Sequence

#: What git needs to run. Tokens and passwords are in variables of other names, and no business of a git that reads.
_NEEDED = {
    "PATH", "PATHEXT", "HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "SYSTEMROOT",
    "TEMP", "TMP", "TMPDIR", "XDG_CONFIG_HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
}  # fmt: skip
#: What it needs besides to reach a server.
_PROXIES = {
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "SSH_AUTH_SOCK",
}  # fmt: skip

#: What people set to reach servers: ways to credentials, certificates, and ssh. All other GIT_… variables stay out,
#: above all those that name another repository, and traces, which could show a credential.
_NETWORK = re.compile(
    r"GIT_(ASKPASS|SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|PROXY_\w+|HTTP_\w+|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM))"
)
_COMMON = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
_GIVEN = re.compile(r"GIT_CONFIG_(COUNT|KEY_\d+|VALUE_\d+)")


def reading_environment() -> dict[str, str]:
    """Return the environment in which git reads: no configuration but the repository's own, no network, no questions."""
    return {
        **_only(_NEEDED),
        **_COMMON,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        # A pipe would be flushed after every commit.
        "GIT_FLUSH": "0",
        # No such file, as against an empty one, of which git would warn.
        "GIT_GRAFT_FILE": f"{os.devnull}/none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def network_environment(configuration: Sequence[tuple[str, str]], *, asks: bool = True) -> dict[str, str]:
    """Return the environment in which git talks to servers, with `configuration` laid over that of the user.

    Proxies, certificates and ssh keys are those of the user. So are credential helpers and GIT_ASKPASS, unless `asks` is
    false: then `configuration` has all that may be used. What is given here is in the environment of git alone: not in
    its arguments, which every process of the machine can see, and in no file.
    """
    if asks:
        # A helper is a program of the user's: it may need any of their variables.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    else:
        kept = {**_only(_NEEDED | _PROXIES), "GIT_ASKPASS": ""}
        configuration = [("credential.helper", ""), *configuration]
    network = {name: value for name, value in os.environ.items() if _NETWORK.fullmatch(name)}
    given = _given() + list(configuration)
    numbered = {f"GIT_CONFIG_KEY_{n}": key for n, (key, _) in enumerate(given)}
    numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in enumerate(given)}
    return {
        # Slower than 1,000 bytes a second for a minute is a server that has died.
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
        **network,
        **kept,
        **_COMMON,
        **numbered,
        "GIT_CONFIG_COUNT": str(len(given)),
        # Other transports (ext::) run whatever an address says.
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "SSH_ASKPASS_REQUIRE": "never",
    }


def _only(names: Container[str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.upper() in names}


def _given() -> list[tuple[str, str]]:
    """Return the settings that the caller's environment already gives in the same way."""
    names = {name for name in os.environ if _GIVEN.fullmatch(name)}
    count = os.environ.get("GIT_CONFIG_COUNT", "0")
    found = []
    for number in range(int(count) if count.isdecimal() else 0):
        key, value = f"GIT_CONFIG_KEY_{number}", f"GIT_CONFIG_VALUE_{number}"
        if {key, value} <= names:
            found.append((os.environ[key], os.environ[value]))
    return found


def without_userinfo(text: str) -> str:
    """Return a text in which no address has a user or password any more."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)
