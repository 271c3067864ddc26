"""Real-shaped JSON bodies with something wrong in them: missing, null, of another type, deep, huge, not even UTF-8."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

#: What a value is replaced by; each has broken somebody's decoder.
WRONG_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 53, 1 << 63, 10**30, 0.5, "", "x", "\x00", "\ud800", "\u202e", "x" * 10_000,
    "{}", "main", "0" * 40, "0" * 12, "2026-13-45T99:99:99+99:99", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
    [], [None], [[]], [{}], {}, {"": None}, {"hash": "0" * 40}, {"name": 7}, {"type": "branch"},
)  # fmt: skip

#: Texts that are put in place of a value in the bytes, since `json.dumps` would not write them.
_RAW = (b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 5000, b'{"a":' * 5000, b"\xff\xfe", b'"\\ud800"', b"")
_PLACE = "raw-value-goes-here"


@st.composite
def mangled(draw: st.DrawFn, payload: Any) -> bytes:
    """Draw a body that was `payload`, with up to four things changed in it, or in its bytes."""
    payload = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 4))):
        payload = _changed(draw, payload)
    body = json.dumps(payload).encode()
    raw = draw(st.sampled_from(_RAW))
    body = body.replace(f'"{_PLACE}"'.encode(), raw)
    kind = draw(st.sampled_from(["whole", "whole", "whole", "cut", "byte", "twice"]))
    place = draw(st.integers(0, len(body)))
    if kind == "cut":
        return body[:place]
    if kind == "byte":
        return body[:place] + draw(st.binary(min_size=1, max_size=3)) + body[place + 1 :]
    return body * 2 if kind == "twice" else body


def _changed(draw: st.DrawFn, payload: Any) -> Any:
    """Change one value somewhere in the payload, or the payload itself."""
    places = list(_places(payload))
    if not places:
        return draw(st.sampled_from(WRONG_VALUES))
    holder, key = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(["wrong", "wrong", "missing", "raw", "deep", "double"]))
    if kind == "missing":
        del holder[key]
    elif kind == "wrong":
        holder[key] = copy.deepcopy(draw(st.sampled_from(WRONG_VALUES)))
    elif kind == "raw":
        holder[key] = _PLACE
    elif kind == "deep":
        for _ in range(draw(st.sampled_from([1, 50, 500]))):
            holder[key] = draw(st.sampled_from([[holder[key]], {"x": holder[key]}]))
    elif isinstance(holder[key], list):
        holder[key] = holder[key] * draw(st.sampled_from([2, 30]))
    else:
        holder[key] = [holder[key], copy.deepcopy(holder[key])]
    return payload


def _places(value: Any) -> Any:
    """Yield (holder, key) of every value in a JSON value."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in items:
        yield value, key
        yield from _places(inner)
