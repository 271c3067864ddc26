"""Write a run as one JSON document, streamed, checked against its schema, and whole or absent."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlparse

import attrs

from releasecopilot_core import Problem, Run
from releasecopilot_core.document import closing, opening
from releasecopilot_core.errors import ArtifactError

SCHEMA_NAME = "run.schema.json"

#: Entries are checked one by one up to here, then one in a hundred: a check costs up to 0.1 ms.
CHECKED_ALWAYS, CHECKED_THEN = 5_000, 100

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def folder_of(url: str) -> Path | None:
    """Return the folder that a path or a `file:` URL names, or `None` for another scheme."""
    match = _SCHEME.match(url)
    if match is None:
        return Path(url)
    return Path(unquote(urlparse(url).path)) if match[1].lower() == "file" else None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of an artifact."""
    text = resources.files(__package__).joinpath(SCHEMA_NAME).read_text(encoding="utf-8")
    return dict(json.loads(text))


class JsonArtifacts:
    """Publishes `KIND_RUNID.json` in a folder, with `run.schema.json` beside it; implements `Sink`.

    The folder is made, and tried by writing to it, when this is opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass

    def publish(self, run: Run, entries: Iterator[dict[str, Any]], problems: list[Any]) -> str:
        """Write the artifact; returns its path. See `Sink.publish`."""
        final = self._folder / f"{run.kind}_{run.run_id}.json"
        partial = self._partial(run.run_id)
        with self._explained():
            try:
                with partial.open("w", encoding="utf-8", newline="\n") as file:
                    self._write(file, run, entries, problems)
                    file.flush()
                    os.fsync(file.fileno())
                self._write_schema()
                partial.replace(final)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return str(final)

    def discard(self, run_id: str) -> None:
        """Remove the temporary file of a run that was abandoned."""
        with self._explained():
            self._partial(run_id).unlink(missing_ok=True)

    def _partial(self, run_id: str) -> Path:
        return self._folder / f".{run_id}.json.part"

    def _write(self, file: IO[str], run: Run, entries: Iterable[dict[str, Any]], problems: list[Any]) -> None:
        from jsonschema import Draft202012Validator

        definition = schema()
        head = opening(run)
        file.write(_dumped(head)[:-1] + ', "payload": [')
        self._write_entries(file, entries, _entry_check(), problems)
        tail = closing(run, problems)
        # What we wrote ourselves is always checked whole; the payload was checked entry by entry.
        Draft202012Validator(definition).validate({**head, "payload": [], **tail})
        file.write("\n], " + _dumped(tail)[1:] + "\n")

    def _write_entries(
        self, file: IO[str], entries: Iterable[dict[str, Any]], check: EntryCheck, problems: list[Any]
    ) -> None:
        separator = "\n"
        for number, entry in enumerate(entries):
            if number < CHECKED_ALWAYS or number % CHECKED_THEN == 0:
                fault = check.fault_of(entry)
                if fault is not None:
                    problems.append(_left_out(entry, fault))
                    continue
            file.write(separator + _dumped(entry))
            separator = ",\n"

    def _write_schema(self) -> None:
        target = self._folder / SCHEMA_NAME
        text = json.dumps(schema(), indent=2) + "\n"
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            fresh = self._folder / f".{SCHEMA_NAME}.{secrets.token_hex(4)}.part"
            try:
                fresh.write_text(text, encoding="utf-8")
                fresh.replace(target)
            except BaseException:
                fresh.unlink(missing_ok=True)
                raise

    def _explained(self) -> _Explained:
        return _Explained(self._folder)


class EntryCheck:
    """Holds payload entries to their part of the schema.

    Code that is generated from the schema once passes good entries, in a tenth of the time that jsonschema takes for
    entries with files; jsonschema has the last word about others, and says what is wrong with them.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        import fastjsonschema

        self._definition = {**definition["$defs"]["entry"], "$defs": definition["$defs"]}
        # What is referred to is put in its place: each reference is a call, and a name that is written for a fault.
        plain = _without_references(definition["$defs"]["entry"], definition["$defs"])
        self._check = fastjsonschema.compile(plain, use_default=False)

    def fault_of(self, entry: dict[str, Any]) -> Any:
        """Return the first fault of an entry, as jsonschema describes it; `None` for a good one."""
        from fastjsonschema import JsonSchemaValueException
        from jsonschema import Draft202012Validator

        try:
            self._check(entry)
        except JsonSchemaValueException:
            return next(Draft202012Validator(self._definition).iter_errors(entry), None)
        return None


@cache
def _entry_check() -> EntryCheck:
    """Return the check of all artifacts of this process: a server that repairs writes many, mostly of a few commits."""
    return EntryCheck(schema())


def _without_references(part: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a part of a schema in which every `$ref` is what it refers to."""
    if isinstance(part, list):
        return [_without_references(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _without_references(definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
    return {key: _without_references(value, definitions) for key, value in part.items()}


@attrs.define
class _Explained:
    """Turn what the file system refuses into one line that says where."""

    folder: Path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            mend = "free some space" if error.errno in _FULL else "make it writable"
            remedy = f"{mend}, or choose another with --artifact-dir"
            message = f"{self.folder}: cannot write artifacts here ({error.strerror or error}); {remedy}"
            raise ArtifactError(message) from error


def _left_out(entry: dict[str, Any], fault: Any) -> Problem:
    where = "/".join(map(str, fault.absolute_path)) or "entry"
    message = f"commit {entry.get('hash')!r} was left out of the artifact: {where}: {fault.message[:200]}"
    return Problem(kind="invalid-entry", message=message, repository=entry.get("repository"))


#: One for all: `json.dumps` would make a new encoder for each entry. One that holds itself ends in a `RecursionError`.
_dumped = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
