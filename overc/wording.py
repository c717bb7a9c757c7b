"""Times and spans as people say them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def span(span_s: float) -> str:
    """Return a span by its two largest units, `1d 2h`; what lies below them is left out."""
    left_s, words = int(span_s), []
    if left_s < 1:
        return f"{max(span_s, 0.0):.2g}s" if span_s > 0 else "0s"
    for unit, unit_s in _UNITS:
        count, left_s = divmod(left_s, unit_s)
        if count:
            words.append(f"{count}{unit}")
        if len(words) == 2 or (words and not count):
            # Not `1d 5s`: nobody who says days means seconds.
            break
    return " ".join(words)


def moment(at: float, now_at: float, zone: tzinfo | None = None, *, seconds: bool = False) -> str:
    """Return the time of day with the day where it is not today's: `01:10 yesterday`.

    `zone`: by whose clock; None is this machine's.
    """
    when, now = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now_at, zone)
    time = when.strftime("%H:%M:%S" if seconds else "%H:%M")
    day = timedelta(days=1)
    if when.date() == now.date():
        return time
    if when.date() == now.date() - day:
        return f"{time} yesterday"
    if when.date() == now.date() + day:
        return f"{time} tomorrow"
    return f"{when:%Y-%m-%d} {time}"
