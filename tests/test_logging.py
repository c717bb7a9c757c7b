from __future__ import annotations

from collections.abc import Iterator

import pytest
from support_daemon import our_log
from twisted.logger import Logger, LogLevel

from overc import logging
from overc.logging import LEVELS, get_logger, one_line, set_level


@pytest.fixture(autouse=True)
def _the_default_again() -> Iterator[None]:
    yield
    set_level("INFO")


EVENTS = ["debug", "info", "warn", "error", "critical"]


@pytest.mark.parametrize(
    "word, shown",
    [
        ("DEBUG", EVENTS),
        ("INFO", EVENTS[1:]),
        ("WARN", EVENTS[2:]),
        ("WARNING", EVENTS[2:]),
        ("ERROR", EVENTS[3:]),
        ("CRITICAL", EVENTS[4:]),
    ],
)
def test_levels(word: str, shown: list[str]) -> None:
    log = get_logger("overc.test")
    set_level(word)
    with our_log() as lines:
        for event in EVENTS:
            log.emit(LogLevel.lookupByName(event), "what happened: {n}", n=1)
    assert lines == [f"{event}: what happened: 1" for event in shown]


def test_info_is_the_default() -> None:
    with our_log() as lines:
        get_logger("overc.test").debug("quiet")
        get_logger("overc.test").info("said")
    assert lines == ["info: said"]


def test_every_level_has_a_word() -> None:
    assert set(LEVELS.values()) == set(LogLevel.iterconstants())


def test_what_twisted_logs_is_not_touched() -> None:
    set_level("CRITICAL")
    with our_log() as lines:
        # A name of ours shows the event here, but it is none of our loggers that logs it.
        Logger("overc.web.limits.LimitedSite").info("listening")
    assert lines == ["info: listening"]


@pytest.mark.parametrize(
    "text, line",
    [
        ("", ""),
        ("plain", "plain"),
        ("ключ 🔑", "ключ 🔑"),
        ("two\nlines\r\n", "two lines  "),
        ("\x1b[31mred\x00", " [31mred "),
        ("a\u2028b\u202ec\u0085", "a b c "),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 500 + "..."),
        ("\n" * 501, " " * 500 + "..."),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_one_line_of_a_given_length() -> None:
    assert one_line("abcdef", limit=3) == "abc..."
    assert logging.one_line("abc", limit=3) == "abc"
