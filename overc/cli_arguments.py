"""What the commands of overcli take as arguments, read and checked."""

from __future__ import annotations

import argparse

from overc.config import parse_duration

LONGEST_S = 2**31 - 1
"""The server takes no longer period."""


def period_s(text: str) -> int:
    """Read `60`, `5m` or `1d`. Raises argparse.ArgumentTypeError with a sentence."""
    seconds = span_s(text)
    if seconds < 1 or seconds != int(seconds):
        raise argparse.ArgumentTypeError(
            f"expected a whole number of seconds above 0, or 5m, 1h30m, got {text!r}"
        )
    return int(seconds)


def span_s(text: str) -> float:
    """Read a span that may be 0. Raises argparse.ArgumentTypeError with a sentence."""
    try:
        seconds = parse_duration(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None
    if seconds > LONGEST_S:
        raise argparse.ArgumentTypeError(f"expected at most 68 years, got {text!r}")
    return seconds


def grace(text: str) -> float | str:
    """Read a grace: `10m` as seconds, `20%` as it stands. Raises argparse.ArgumentTypeError."""
    text = text.strip()
    if not text.endswith("%"):
        return span_s(text)
    number = text[:-1].strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2h or a share such as 20%, got {text!r}"
        )
    return f"{int(number)}%"


def grace_s(read: float | str, period: int) -> float:
    """Return the seconds of what `grace` has read."""
    return period * float(read[:-1]) / 100 if isinstance(read, str) else read
