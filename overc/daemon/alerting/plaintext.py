"""Texts and times in the form in which they leave the server. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

# Control characters, what ends a line, what turns the direction of writing, halves of characters.
_UNWANTED = re.compile(
    "[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", re.UNICODE
)


def clean(text: str, limit_bytes: int) -> str:
    """Return a text from outside on one line, without control characters, cut to a size in UTF-8.

    Where something was cut off, it ends in `...`.
    """
    # No character takes less than a byte: what lies beyond need not be cleaned.
    whole = _UNWANTED.sub(" ", text[: limit_bytes + 1]).encode()
    if len(whole) <= limit_bytes:
        return whole.decode()
    return whole[: limit_bytes - 3].decode(errors="ignore") + "..."


def stamp(at: float) -> str:
    """Return a time as `2026-11-22 18:21:05 UTC`."""
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: float) -> str:
    """Return a time as `2026-11-22T18:21:05Z`."""
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%S}Z"
