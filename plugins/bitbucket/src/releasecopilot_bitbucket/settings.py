"""The `bitbucket` section of the settings."""

from __future__ import annotations

import warnings
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

from releasecopilot_core import Secret, Settings
from releasecopilot_core.errors import SettingsError


@attrs.frozen(kw_only=True)
class Credentials:
    """Exactly one kind of credential; secrets are references (`${VAR}`, `file:PATH`).

    `username` with `api_token` is the Atlassian account's e-mail address (HTTP Basic); `access_token` is an OAuth,
    repository, project or workspace token (Bearer).
    """

    username: str | None = None
    api_token: Secret | None = None
    access_token: Secret | None = None
    app_password: Secret | None = None

    @property
    def kind(self) -> str:
        """Which kind is configured: `api_token`, `access_token`, `app_password`, or `anonymous`."""
        kinds = [name for name in ("api_token", "access_token", "app_password") if getattr(self, name) is not None]
        return kinds[0] if kinds else "anonymous"

    def __attrs_post_init__(self) -> None:
        kinds = [name for name in ("api_token", "access_token", "app_password") if getattr(self, name) is not None]
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} are both set; keep exactly one kind of credential")
        if self.kind in ("api_token", "app_password") and not self.username:
            hint = "the Atlassian account's e-mail address" if self.kind == "api_token" else "the Bitbucket user name"
            raise ValueError(f"username is missing: {self.kind} needs {hint}")
        if self.kind == "anonymous" and self.username:
            raise ValueError("username without a secret; add api_token: ${BITBUCKET_API_TOKEN}")


#: Where the service's own API is, and where its clones come from.
_API_URL, _GIT_URL = "https://api.bitbucket.org/2.0", "https://bitbucket.org"


def _named(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.strip():
        # https://api…/repositories/ with nothing behind it answers 410 and hides the cause.
        raise ValueError(f"{attribute.name} is empty; write the workspace's slug, as in bitbucket.org/SLUG")


def _web_address(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is None:
        return
    if "@" in value:  # before anything that shows the value
        raise ValueError(f"{attribute.name} must not contain a user or password; use credentials")
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        whole = False
    if not whole or parts.query or parts.fragment:
        example = attribute.default or _GIT_URL
        raise ValueError(f"{attribute.name} must be an address such as {example}, not {value!r}")


def _all_named(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    if not all(name.strip() for name in value):
        raise ValueError(f"{attribute.name} holds an empty name; take it out, or write the name")


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value <= 3600:
        raise ValueError(f"{attribute.name} must be above 0 and at most 3600, not {value:g}")


def _hours(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1_000_000:
        raise ValueError(f"{attribute.name} must be from 0 (in each scan) to 1,000,000, not {value:g}")


def _not_negative(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1_000_000_000:
        raise ValueError(f"{attribute.name} must be 0 or above, not {value:g}")


@attrs.frozen(kw_only=True)
class BitbucketSettings:
    """What is configured for Bitbucket Cloud.

    `repositories` and `default_branches` are names or globs in which `*` crosses `/`; empty means all repositories of
    the workspace and each one's main branch. `pull_requests` says whether scans ask for them, which needs a scope of its
    own. `requests_per_hour` is a budget that all processes with one database keep together. `retry_seconds` bounds one
    request with all its repetitions. `git_cache` is a folder of clones, `git_cache_days` how long one stays that is not
    used; `git_renames` and `git_line_counts` need the contents of files, so that clones are whole.
    """

    workspace: str = attrs.field(validator=_named)
    repositories: tuple[str, ...] = attrs.field(default=(), validator=_all_named)
    default_branches: tuple[str, ...] = attrs.field(default=(), validator=_all_named)
    credentials: Credentials = attrs.field(factory=Credentials)
    api_url: str = attrs.field(default=_API_URL, validator=_web_address)
    git_url: str | None = attrs.field(default=None, validator=_web_address)
    webhook_secret: tuple[Secret, ...] = ()
    files: Literal["auto", "api", "git", "none"] = "auto"
    git_cache: str = "temp_data/bitbucket/clones"
    git_cache_limit_mb: float = attrs.field(default=2_000.0, validator=_not_negative)
    git_cache_days: float = attrs.field(default=30.0, validator=_not_negative)
    git_renames: bool = False
    git_line_counts: bool = False
    pull_requests: bool = True
    requests_per_hour: int = 1000
    concurrency: int = 4
    retry_seconds: float = attrs.field(default=30.0, validator=_positive)
    timeout_seconds: float = attrs.field(default=20.0, validator=_positive)
    sweep_hours: float = attrs.field(default=24.0, validator=_hours)

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.requests_per_hour <= 1_000_000:
            raise ValueError(f"requests_per_hour must be from 1 to 1,000,000, not {self.requests_per_hour}")
        if not 1 <= self.concurrency <= 32:
            raise ValueError(f"concurrency must be from 1 to 32, not {self.concurrency}")
        if not self.git_cache:
            raise ValueError("git_cache is empty; name a folder")

    @property
    def clone_url(self) -> str:
        """Where clones come from: as set, else beside the API. A credential for one server is not sent to another."""
        if self.git_url is not None:
            return self.git_url.rstrip("/")
        parts = urlsplit(self.api_url)
        own = urlsplit(_API_URL)
        return _GIT_URL if parts.netloc == own.netloc else f"{parts.scheme}://{parts.netloc}"


def bitbucket_settings(settings: Settings) -> BitbucketSettings:
    """Return the `bitbucket` section; warns of app passwords and of secrets that are written out.

    Raises:
        SettingsError: something in it is wrong.
    """
    section = settings.section("bitbucket", BitbucketSettings)
    credentials = section.credentials
    if credentials.app_password is not None:
        _warn(
            "bitbucket.credentials.app_password: Bitbucket removed app passwords on 2026-07-28; "
            "create an API token and set username (e-mail) and api_token instead"
        )
    for name in ("api_token", "access_token", "app_password"):
        secret = getattr(credentials, name)
        if secret is not None and secret.is_literal:
            _warn(f"bitbucket.credentials.{name}: a secret is written out; use ${{VAR}} or file:PATH instead")
    return section


def with_known_secrets(section: BitbucketSettings, origin: str) -> BitbucketSettings:
    """Return the section if the secret of its credentials can be had; `origin` names the file for the error.

    Raises:
        SettingsError: the reference leads nowhere; the message names the setting.
    """
    kind = section.credentials.kind
    if kind != "anonymous":
        try:
            secret = getattr(section.credentials, kind).reveal()
        except SettingsError as error:
            raise SettingsError(f"{origin}: bitbucket.credentials.{kind}: {error}") from None
        if not (secret.isascii() and secret.isprintable()):
            # A header cannot carry it, and what complains of that would show it.
            what = "the secret holds a line break or another character that no token has"
            raise SettingsError(f"{origin}: bitbucket.credentials.{kind}: {what}; write it anew")
    return section


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)
