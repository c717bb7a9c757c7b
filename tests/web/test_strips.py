from __future__ import annotations

import pytest

from overc.daemon.rollups import DAY_S
from overc.web.public.strips import (
    DAYS,
    first_day,
    kind_of,
    share_words,
    strip,
)

NOW_AT = 1_772_359_200.0  # 2026-03-01 10:00:00
TODAY = 1_772_323_200
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.mark.parametrize(
    "ms, kind",
    [
        ((0, 0, 0, 0), "none"),
        ((DAY_MS, 0, 0, 0), "ok"),
        ((1, 0, 0, 0), "ok"),
        ((DAY_MS - 1, 1, 0, 0), "warn"),
        ((0, DAY_MS, 0, 0), "warn"),
        ((DAY_MS - 1, 0, 1, 0), "warn"),
        ((99, 0, 1, 0), "fail"),
        ((0, 0, DAY_MS, 0), "fail"),
        ((DAY_MS - 1, 0, 0, 1), "unk"),
        ((DAY_MS - 2, 1, 0, 1), "warn"),
    ],
)
def test_how_a_day_was(ms: tuple[int, ...], kind: str) -> None:
    assert kind_of(ms) == kind


@pytest.mark.parametrize(
    "part, whole, words",
    [
        (100, 100, "100 %"),
        (99_999_999, 100_000_000, "99.99 %"),
        (999, 1000, "99.90 %"),
        (0, 5, "0.00 %"),
        (1, 3, "33.33 %"),
    ],
)
def test_shares(part: int, whole: int, words: str) -> None:
    assert share_words(part, whole) == words


def test_a_strip() -> None:
    days = {
        TODAY: (9 * HOUR_MS, 0, 0, 0),
        TODAY - DAY_S: (23 * HOUR_MS, HOUR_MS // 2, HOUR_MS // 2, 0),
        TODAY - DAYS * DAY_S: (0, 0, DAY_MS, 0),
    }
    found = strip(days, NOW_AT)
    assert first_day(NOW_AT) == TODAY - 89 * DAY_S
    assert found.ok == "M447.5 22v-16"
    assert found.none.count("M") == 88
    [tick] = found.ticks
    assert (tick.x, tick.kind) == (442.5, "fail")
    assert tick.title == "2026-02-28 UTC: failing 30 min, warning 30 min"
    assert found.share == "98.48 %"
    assert strip({}, NOW_AT).share is None
