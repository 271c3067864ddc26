"""What `rc doctor` asks Bitbucket: credential, scopes, workspace, one page of everything that a scan needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import attrs

from releasecopilot_core import Finding, Settings
from releasecopilot_core.errors import SettingsError, SourceError

from .answers import Unobtainable
from .api import ASTRAY, Api, segment
from .payloads import commit_of, file_of, repository_of
from .selecting import SOURCE
from .settings import BitbucketSettings, bitbucket_settings, with_known_secrets

#: Seconds by which this clock may differ from the server's; a window of hours does not mind, tokens and people do.
SKEW_SECONDS = 60.0

_DEAD = "app passwords were removed on 2026-07-28; create an API token and set username (e-mail) and api_token"


def checks(settings: Settings) -> Mapping[str, Callable[[], Iterator[Finding]]]:
    """Return the checks of the `bitbucket` section; nothing is asked before they are called."""
    return {
        "credentials": lambda: _credentials(settings),
        "service": lambda: _service(settings),
        "webhook secret": lambda: _secret(settings),
    }


def _section(settings: Settings) -> BitbucketSettings:
    return with_known_secrets(bitbucket_settings(settings), settings.origin)


def _credentials(settings: Settings) -> Iterator[Finding]:
    credentials = _section(settings).credentials
    if credentials.kind == "app_password":
        yield Finding("failed", _DEAD)
    elif credentials.kind == "anonymous":
        yield Finding("warning", "none: only public repositories can be read, 60 requests an hour; set credentials")
    elif credentials.kind == "api_token" and "@" not in (credentials.username or ""):
        yield Finding("warning", "username is no e-mail address; an API token goes with the Atlassian account's e-mail")
    else:
        yield Finding("ok", f"{credentials.kind}{f' of {credentials.username}' if credentials.username else ''}")
    secret = getattr(credentials, credentials.kind, None)
    if secret is not None and secret.is_literal:
        yield Finding("warning", f"{credentials.kind} is written out; use ${{VAR}} or file:PATH")


def _secret(settings: Settings) -> Iterator[Finding]:
    secrets = bitbucket_settings(settings).webhook_secret
    if not secrets:
        yield Finding("ok", "none; `rc serve` needs one, scans do not")
        return
    try:
        lengths = [len(secret.reveal()) for secret in secrets]
    except SettingsError as error:
        yield Finding("warning", f"{error}; `rc serve` would refuse to start")
        return
    if max(lengths) > 128:
        yield Finding("failed", "Bitbucket takes webhook secrets of up to 128 characters; choose a shorter one")
    else:
        yield Finding("ok", f"{len(lengths)} known" + ("; remove the old one when rotated" if len(lengths) > 1 else ""))


def _service(settings: Settings) -> Iterator[Finding]:
    section = _section(settings)
    with closing(Api(section)) as api:
        examination = _Examination(api, section)
        for step in examination.steps():
            try:
                yield from step()
            except SourceError as error:
                yield Finding("failed", f"{error}{_remedy(error)}")
                if error.kind in ("authentication", "unreachable", "rate-limited"):
                    return  # all else would end the same way


def _remedy(error: SourceError) -> str:
    """Return what to do about errors that do not say so themselves."""
    text = str(error)
    if error.kind == "not-found":
        return "; check what the credential may read"
    if error.kind == "vanished":
        return "; they may have been force-pushed away just now: try again"
    if error.kind == "expired":
        return "; a scan goes on from the same place: try again, and if it stays so look for a proxy that answers in between"
    if error.kind == "bad-answer":
        return "" if "try again" in text or ASTRAY in text else f"; {ASTRAY}"
    return ""


@attrs.define
class _Examination:
    """Asks for one thing after the other; later steps use what earlier ones found."""

    api: Api
    section: BitbucketSettings
    path: str | None = None
    is_empty: bool = False
    sha: str | None = None

    def steps(self) -> tuple[Callable[[], Iterator[Finding]], ...]:
        return (self._workspace, self._headers, self._commits, self._diffstat, self._pull_requests, self._hooks)

    def _workspace(self) -> Iterator[Finding]:
        workspace = self.section.workspace
        fields = "values.uuid,values.full_name,values.mainbranch.name,values.updated_on,size,next"
        parameters = [("pagelen", "10"), ("sort", "-updated_on"), ("fields", fields)]
        try:
            answer = self.api.get(f"repositories/{segment(workspace)}", parameters)
        except SourceError as error:
            if error.kind != "not-found":
                raise
            text = f"workspace {workspace!r} is not found, or the credential may not see it; check bitbucket.workspace"
            yield Finding("failed", text)
            return
        found = [repository_of(value, SOURCE) for value in answer.get("values") or []]
        if not found:
            text = f"workspace {workspace!r} shows no repository to this credential; check its rights"
            yield Finding("warning", text)
            return
        # Of the latest ones that have any commits, if there is one.
        repository = min(found, key=lambda repository: repository.main_branch is None)
        self.path = f"repositories/{segment(workspace)}/{segment(repository.uuid)}"
        self.is_empty = repository.main_branch is None
        self.api.call(self.path, repository.full_name)
        yield Finding(
            "ok", f"workspace {workspace!r}: {answer.get('size', 'some')} repositories, {repository.full_name} is one"
        )

    def _headers(self) -> Iterator[Finding]:
        headers = self.api.last_headers
        kind, scopes = headers.get("x-credential-type"), headers.get("x-oauth-scopes")
        if kind or scopes:
            yield Finding("ok", f"the service sees {kind or 'a credential'} with scopes: {scopes or 'not told'}")
        yield from _skew(headers.get("date"))
        remaining, limit = headers.get("x-ratelimit-remaining"), headers.get("x-ratelimit-limit")
        if remaining is not None:
            low = remaining.isdigit() and int(remaining) < 100
            text = f"{remaining} of {(limit or '?').split(',')[0]} requests are left in this hour"
            yield Finding("warning" if low else "ok", text + ("; wait, or scan less often" if low else ""))

    def _commits(self) -> Iterator[Finding]:
        if self.path is None or self.is_empty:
            return
        # The third page tells whether `next` leads on: a proxy in between may have spoilt it.
        pages = self.api.pages(f"{self.path}/commits", [("pagelen", "1"), ("fields", "values.hash,values.date,next")])
        values = [value for page, _ in itertools.islice(pages, 3) for value in page]
        if not values:
            yield Finding("ok", "commits can be listed; the latest repository has none")
            return
        self.sha = commit_of(values[0]).sha
        yield Finding("ok", f"commits can be listed, page by page; {self.sha[:12]} is the first")

    def _diffstat(self) -> Iterator[Finding]:
        if self.path is None or self.sha is None:
            return
        try:
            answer = self.api.get(f"{self.path}/diffstat/{self.sha}", [("pagelen", "1"), ("topic", "false")])
        except Unobtainable as error:
            text = "a scan tells of such commits and stays complete; nothing needs to be done for a single one"
            yield Finding("warning", f"{error}; {text}")
            return
        found = [file_of(value) for value in answer.get("values") or []]
        yield Finding("ok", f"changed files can be had{f'; {found[0].path} is one' if found else ''}")

    def _pull_requests(self) -> Iterator[Finding]:
        if self.path is None or not self.section.pull_requests:
            return
        try:
            self.api.get(f"{self.path}/pullrequests", [("pagelen", "1"), ("fields", "values.id,next")])
        except SourceError as error:
            text = f"pull requests: {error}{_remedy(error)}; or set bitbucket.pull_requests: false"
            yield Finding("failed", text)
        else:
            yield Finding("ok", "pull requests can be listed")

    def _hooks(self) -> Iterator[Finding]:
        if self.path is None:
            return
        values: list[Any] = []
        seen = 0
        for place in (self.path, f"workspaces/{segment(self.section.workspace)}"):
            try:
                values += self.api.get(f"{place}/hooks", [("pagelen", "100")]).get("values") or []
                seen += 1
            except SourceError as error:
                if error.kind not in ("forbidden", "not-found"):
                    raise
        if not seen:
            yield Finding(
                "ok", "webhooks cannot be looked at with this credential (scope webhook); scans do not need it"
            )
            return
        yield _told_of_hooks(values, wanted=bool(self.section.webhook_secret) and seen == 2)


def _told_of_hooks(values: list[Any], *, wanted: bool) -> Finding:
    hooks = [value for value in values if isinstance(value, Mapping) and value.get("active")]
    pushes = [hook for hook in hooks if "repo:push" in (hook.get("events") or ())]
    if not pushes:
        text = "neither the latest repository nor the workspace shows a webhook for pushes"
        if wanted:
            return Finding("warning", f"{text}, but webhook_secret is set; add one, or take the secret out")
        return Finding("ok", f"{text}; scans find everything all the same")
    without = [hook for hook in pushes if hook.get("secret_set") is False]
    text = f"{len(pushes)} webhooks for pushes"
    return Finding("warning", f"{text}, {len(without)} without a secret; set one") if without else Finding("ok", text)


def _skew(date: str | None) -> Iterator[Finding]:
    try:
        moment = parsedate_to_datetime(date) if date else None
    except (TypeError, ValueError):
        moment = None
    if moment is None:
        return
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if abs(seconds) > SKEW_SECONDS:
        text = (
            f"this clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the service's; set it by NTP"
        )
        yield Finding("warning", text)
    else:
        yield Finding("ok", "this clock and the service's agree")
