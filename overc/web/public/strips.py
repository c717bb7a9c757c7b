"""How a service was on each of the last 90 days, as ticks of a strip. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from overc.daemon.rollups import DAY_S

DAYS = 90
TICK_WIDTH = 5
HEIGHT = 22
HEIGHTS = {"ok": 16, "none": 5}
"""Of the ticks; those of days with trouble stand out."""

FAILING_SHARE = 0.01
"""On a day with trouble a service failed for less than this share of it, on a bad one for more."""

_OK, _WARN, _FAIL, _UNK = range(4)


class Tick(NamedTuple):
    """A day that was not all well."""

    x: float
    kind: str
    title: str


class Strip(NamedTuple):
    """What is drawn: the many days of a kind are one path, the days with trouble have titles."""

    ok: str
    """An SVG path of the days that were well."""
    none: str
    """And of those of which nothing is known."""
    ticks: tuple[Tick, ...]
    share: str | None
    """Of the known time the part in OK or WARN, in words. None: nothing is known."""

    @property
    def width(self) -> int:
        return DAYS * TICK_WIDTH

    @property
    def height(self) -> int:
        return HEIGHT


def first_day(now_at: float) -> int:
    """Return when the first day of a strip begins."""
    return (int(now_at) // DAY_S - DAYS + 1) * DAY_S


def strip(days: Mapping[int, Sequence[int]], now_at: float) -> Strip:
    """`days`: for how long each state lasted on each day, by when the day begins."""
    begins_at = first_day(now_at)
    paths: dict[str, list[str]] = {"ok": [], "none": []}
    ticks = []
    total = [0, 0, 0, 0]
    for number in range(DAYS):
        ms = days.get(begins_at + number * DAY_S, (0, 0, 0, 0))
        kind = kind_of(ms)
        x = (number + 0.5) * TICK_WIDTH
        if kind in paths:
            paths[kind].append(f"M{x:g} {HEIGHT}v-{HEIGHTS[kind]}")
        else:
            ticks.append(Tick(x, kind, _title(begins_at + number * DAY_S, ms)))
        total = [one + other for one, other in zip(total, ms, strict=True)]
    known_ms = sum(total)
    share = share_words(total[_OK] + total[_WARN], known_ms) if known_ms else None
    return Strip("".join(paths["ok"]), "".join(paths["none"]), tuple(ticks), share)


def kind_of(ms: Sequence[int]) -> str:
    """Return how a day was: by what was bad about it, however short, but FAIL has to be felt."""
    known_ms = sum(ms)
    if not known_ms:
        return "none"
    if ms[_FAIL] >= FAILING_SHARE * known_ms:
        return "fail"
    if ms[_FAIL] or ms[_WARN]:
        return "warn"
    return "unk" if ms[_UNK] else "ok"


def share_words(part_ms: int, whole_ms: int) -> str:
    """Return a share in percent that says 100 only where it is all of it."""
    percent = 100 * part_ms / whole_ms
    if part_ms == whole_ms:
        return "100 %"
    return f"{min(percent, 99.99):.2f} %"


def _title(day_at: int, ms: Sequence[int]) -> str:
    day = datetime.fromtimestamp(day_at, timezone.utc).strftime("%Y-%m-%d UTC")
    words = [
        f"{name} {_span(ms[number])}"
        for name, number in (("failing", _FAIL), ("warning", _WARN), ("unknown", _UNK))
        if ms[number]
    ]
    return f"{day}: {', '.join(words)}"


def _span(span_ms: int) -> str:
    minutes = max(1, round(span_ms / 60_000))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
