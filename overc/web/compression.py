"""Answers made smaller for those who take them so, and told from those that a client has.

Note [Secrets and compression]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
Where one answer holds a secret and what a stranger chose, its compressed length can tell the
secret. Ours hold no cookie, token, password or key, so there is nothing that a length could tell.
Streams of events are not compressed: each event has to arrive when it is sent.
"""

from __future__ import annotations

import gzip

from twisted.internet.threads import deferToThread

LEAST_BYTES = 1024
"""What is smaller fits into one packet anyway."""

AT_ONCE_BYTES = 32 * 1024
"""What is larger takes so long that it is done in a thread."""

LEVEL = 5
"""More of it makes little smaller and takes much longer."""

TYPES = (
    "application/javascript",
    "application/json",
    "image/svg+xml",
    "text/",
)

GZIP_SUFFIX = "-gzip"
"""Tells the tag of the compressed form from that of the plain one."""


def takes_gzip(accept_encoding: str | None) -> bool:
    """Say whether a client takes gzip, by its Accept-Encoding."""
    found: dict[str, bool] = {}
    for item in (accept_encoding or "").lower().split(","):
        coding, _, parameters = item.partition(";")
        found[coding.strip()] = _weight(parameters) > 0
    named = [found[name] for name in ("gzip", "x-gzip") if name in found]
    return any(named) if named else found.get("*", False)


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def is_compressible(content_type: str) -> bool:
    return content_type.startswith(TYPES)


def compress(body: bytes, level: int = LEVEL) -> bytes:
    # Without the time of day: the same body is the same bytes.
    return gzip.compress(body, level, mtime=0)


async def compressed(body: bytes) -> bytes:
    """Compress a body of any size without holding up the reactor."""
    if len(body) <= AT_ONCE_BYTES:
        return compress(body)
    return await deferToThread(compress, body)


def has(if_none_match: str | None, etag: str) -> bool:
    """Say whether a client has what a tag stands for, compressed or not, by its If-None-Match."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags or gzip_etag(etag) in tags


def gzip_etag(etag: str) -> str:
    return f'{etag[:-1]}{GZIP_SUFFIX}"'
