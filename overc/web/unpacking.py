"""Bodies that come compressed: never more of them than may come as they are."""

from __future__ import annotations

import zlib

from overc.web.access import Refusal

ADVERTISEMENT = {"Accept-Encoding": "gzip"}
"""Tells clients that they may (RFC 7694)."""

_NAMES = ("gzip", "x-gzip")


def unpack(body: bytes, encoding: str | None, limit_bytes: int) -> bytes:
    """Return a body as it was before a client compressed it. Raises Refusal."""
    if (encoding or "").lower() in ("", "identity"):
        return body
    if (encoding or "").lower() not in _NAMES:
        raise Refusal(
            415,
            f"Content-Encoding {encoding!r:.40} is not taken: send the body as it is, or gzip",
            ADVERTISEMENT,
        )
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise Refusal(400, "the body is not gzip, as its Content-Encoding says") from None
    if len(unpacked) > limit_bytes:
        raise Refusal(
            413, f"the body is larger than {limit_bytes} bytes unpacked: send it in smaller parts"
        )
    if not unpacker.eof:
        raise Refusal(400, "the body is gzip that ends too early")
    if unpacker.unused_data:
        raise Refusal(400, "the body goes on after the end of its gzip: send it in one piece")
    return unpacked
