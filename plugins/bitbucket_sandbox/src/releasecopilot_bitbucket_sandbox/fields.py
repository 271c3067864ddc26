"""Partial answers: `fields=a,b`, `+x`, `-x` and `*` (facts 1.6)."""

from __future__ import annotations

from typing import Any

Tree = dict[str, Any]


def partial(body: Any, fields: str | None) -> Any:
    """Return what `fields` leaves of a body. A plain list without `next` loses the pagination link, as in real life."""
    terms = [term.strip() for term in (fields or "").split(",") if term.strip()]
    if not terms:
        return body
    only = [term for term in terms if term[0] not in "+-"]
    result = _only(body, _tree(only)) if only else body
    for term in terms:
        if term[0] == "-":
            result = _without(result, term[1:].split("."))
    return result


def _tree(paths: list[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        place = tree
        for key in path.split("."):
            place = place.setdefault(key, {})
    return tree


def _only(value: Any, tree: Tree) -> Any:
    if not tree or "*" in tree:
        return value
    if isinstance(value, list):
        return [_only(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _only(inner, tree[key]) for key, inner in value.items() if key in tree}


def _without(value: Any, path: list[str]) -> Any:
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    key, *rest = path
    if key == "*" or (key in value and not rest):
        return {} if key == "*" else {k: v for k, v in value.items() if k != key}
    return {k: _without(v, rest) if k == key else v for k, v in value.items()}
