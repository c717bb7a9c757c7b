"""Reads a POST that arrived whole without the machinery that others need.

Note [Whole posts]
~~~~~~~~~~~~~~~~~~
Agents and scripts send a report in one piece over a connection that they keep, and each time with
the same head. Taken apart line by line and made into a request object it costs three times what
decoding it does. So what arrives is looked at first: a head of plain ASCII lines, each name once,
with a Content-Length, and exactly that many bytes after it. Everything else goes Twisted's way,
which knows all of HTTP: pieces, chunks, several requests at once, HTTP/1.0, `Expect`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

HEAD_MAX = 4096
"""Bytes of a head that is looked at."""

_HEAD = re.compile(rb"POST (/[!-~]*) HTTP/1\.1((?:\r\n[A-Za-z0-9-]+:[\t -~]*)+)")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_SPECIAL = frozenset((b"connection", b"expect", b"transfer-encoding", b"upgrade"))


class Post(Protocol):
    """A request that came on the short way: see Note [Short way] in `overc.web.limits`."""

    method: bytes
    path: bytes

    def getHeader(self, key: bytes) -> bytes | None:
        """Return the value of a header, None without it. `key` is in lower case."""
        ...

    def getClientAddress(self) -> Any:
        """Return Twisted's address of the peer."""
        ...

    def body(self) -> bytes: ...

    def send(self, code: int, headers: bytes, body: bytes) -> None:
        """Answer in one piece; `headers` are whole lines. Does nothing if the client is gone."""
        ...


Serve = Callable[[Post], None]


class Head(NamedTuple):
    """The head of a POST on a connection that is kept."""

    path: bytes
    headers: Mapping[bytes, bytes]
    """The names in lower case."""
    length: int
    """Of the body, in bytes."""


class WholePost:
    """A POST that arrived in one piece."""

    __slots__ = ("_answer", "_body", "_headers", "_peer", "method", "path")

    def __init__(
        self, head: Head, body: bytes, peer: Any, answer: Callable[[int, bytes, bytes], None]
    ) -> None:
        self.method = b"POST"
        self.path = head.path
        self._headers = head.headers
        self._body = body
        self._peer = peer
        self._answer = answer

    def getHeader(self, key: bytes) -> bytes | None:
        return self._headers.get(key)

    def getClientAddress(self) -> Any:
        return self._peer

    def body(self) -> bytes:
        return self._body

    def send(self, code: int, headers: bytes, body: bytes) -> None:
        self._answer(code, headers, body)


def split(data: bytes) -> tuple[Head, bytes] | None:
    """Return the head and the body if these bytes are exactly one POST of the plain kind."""
    end = data.find(b"\r\n\r\n", 0, HEAD_MAX)
    if end < 0:
        return None
    head = read_head(data[:end])
    if head is None or len(data) - end - 4 != head.length:
        return None
    return head, data[end + 4 :]


@functools.lru_cache(maxsize=512)
def read_head(text: bytes) -> Head | None:
    """Read a head, without the empty line that ends it; None for one that is out of the plain."""
    found = _HEAD.fullmatch(text)
    if found is None:
        return None
    path, lines = found.groups()
    headers: dict[bytes, bytes] = {}
    for line in lines.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() in headers:
            return None
        headers[name.lower()] = value.strip(b" \t")
    if headers.pop(b"connection", b"").lower() not in (b"", b"keep-alive"):
        return None
    if not _SPECIAL.isdisjoint(headers):
        return None
    length = headers.get(b"content-length", b"")
    if not _LENGTH.fullmatch(length):
        return None
    return Head(path, headers, int(length))
