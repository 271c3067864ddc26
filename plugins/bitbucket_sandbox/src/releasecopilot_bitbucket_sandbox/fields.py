"""Partial answers: `fields=a,b`, `+x`, `-x` and `*` (the chapter "Partial responses" of Atlassian's OpenAPI text)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Tree = dict[str, Any]


def partial(body: Any, fields: str | None, held_back: Sequence[str] = ()) -> Any:
    """Return what `fields` leaves of a body.

    A plain list without `next` loses the pagination link, as in real life. `+x` adds what is held back otherwise.
    The plus has to arrive encoded; one that was not is a space, and what follows it is a plain name.
    """
    terms = [term.strip() for term in (fields or "").split(",")]
    only = [term for term in terms if term and term[0] not in "+-"]
    result = body
    for path in held_back:
        if path not in (name.removeprefix("+") for name in terms):
            result = _without(result, path.split("."))
    result = _only(result, _tree(only)) if only else result
    for term in terms:
        if term.startswith("-"):
            result = _without(result, term[1:].split("."))
    return result


def _tree(paths: list[str]) -> Tree:
    """Return the paths as one tree; a path that ends keeps all below it, also when a longer one is named too."""
    tree: Tree = {}
    for path in sorted(paths, key=lambda path: path.count("."), reverse=True):
        place = tree
        keys = path.split(".")
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = {}
    return tree


def _only(value: Any, tree: Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_only(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _only(inner, tree[key] if key in tree else tree["*"])
        for key, inner in value.items()
        if key in tree or "*" in tree
    }


def _without(value: Any, path: list[str]) -> Any:
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    key, *rest = path
    if not rest:
        return {} if key == "*" else {name: inner for name, inner in value.items() if name != key}
    return {name: _without(inner, rest) if key in (name, "*") else inner for name, inner in value.items()}
