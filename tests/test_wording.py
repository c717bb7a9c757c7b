from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from overc.wording import moment, span


@pytest.mark.parametrize(
    "span_s, words",
    [
        (-5, "0s"),
        (0, "0s"),
        (0.25, "0.25s"),
        (1, "1s"),
        (59.9, "59s"),
        (60, "1m"),
        (90, "1m 30s"),
        (3600, "1h"),
        (3605, "1h"),
        (7260, "2h 1m"),
        (86400, "1d"),
        (86400 + 7200 + 60, "1d 2h"),
        (86400 + 60, "1d"),
        (400 * 86400, "400d"),
    ],
)
def test_spans(span_s: float, words: str) -> None:
    assert span(span_s) == words


BERLIN = timezone(timedelta(hours=1))
NOW = datetime(2026, 3, 1, 0, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    "when, words",
    [
        (datetime(2026, 3, 1, 3, 10, 59, tzinfo=BERLIN), "03:10"),
        (datetime(2026, 2, 28, 23, 0, tzinfo=timezone.utc), "00:00"),
        (datetime(2026, 2, 28, 23, 59, tzinfo=BERLIN), "23:59 yesterday"),
        (datetime(2026, 2, 27, 23, 59, tzinfo=BERLIN), "2026-02-27 23:59"),
        (datetime(2026, 3, 2, 0, 0, tzinfo=BERLIN), "00:00 tomorrow"),
        (datetime(2026, 3, 3, 0, 0, tzinfo=BERLIN), "2026-03-03 00:00"),
    ],
)
def test_moments(when: datetime, words: str) -> None:
    assert moment(when.timestamp(), NOW.timestamp(), BERLIN) == words


def test_a_moment_to_the_second() -> None:
    at = datetime(2026, 2, 28, 1, 2, 3, tzinfo=BERLIN).timestamp()
    assert moment(at, NOW.timestamp(), BERLIN, seconds=True) == "01:02:03 yesterday"
