"""The body of a request as a stream: by length or in chunks, and never beyond its end."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LONGEST_LINE = 8_192


class BrokenBody(OSError):
    """A body that ends too early, or whose chunks are none."""


class Body(io.RawIOBase):
    """What follows a request's headers on a connection; `length` is `None` for a body in chunks (RFC 9112, 7.1).

    It belongs to one thread at a time. What the application leaves has to be read by `drain`, else it would pass for the
    next request.

    Raises:
        BrokenBody: from any read, when the client hangs up in the middle or sends nonsense.
    """

    def __init__(self, source: io.BufferedIOBase, length: int | None) -> None:
        self._source = source
        self._chunked = length is None
        self._left = length or 0
        self._ended = length == 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as bytes are there; 0 at the end."""
        view = memoryview(buffer)
        if self._ended or not view:
            return 0
        if self._chunked and self._left == 0 and not self._next_chunk():
            return 0
        found = self._source.readinto1(view[: self._left])
        if not found:
            raise BrokenBody("the client hung up in the middle of a body")
        self._left -= found
        if self._left == 0:
            self._end_part()
        return int(found)

    def drain(self) -> None:
        """Read what is left."""
        waste = bytearray(65_536)
        while self.readinto(waste):
            pass

    def _next_chunk(self) -> bool:
        line = self._source.readline(_LONGEST_LINE)
        size = re.fullmatch(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\r\n]*)?\r?\n", line)
        if size is None:
            raise BrokenBody("expected the length of a chunk")
        self._left = int(size[1], 16)
        if self._left:
            return True
        while (line := self._source.readline(_LONGEST_LINE)) not in (b"\r\n", b"\n"):  # trailers
            if not line.endswith(b"\n"):
                raise BrokenBody("the client hung up at the end of a body")
        self._ended = True
        return False

    def _end_part(self) -> None:
        if not self._chunked:
            self._ended = True
        elif self._source.readline(3) not in (b"\r\n", b"\n"):
            raise BrokenBody("a chunk is longer than it said")
