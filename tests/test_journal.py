"""What goes to systemd's journal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.logger import Logger, LogPublisher
from twisted.python import log as old_style

from overc.journal import JournalObserver, is_connected, observer_for


def stream_name(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def written(tell: Callable[[Logger], object]) -> list[str]:
    out = io.StringIO()
    tell(Logger("overc.it", observer=LogPublisher(JournalObserver(out))))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    "tell, expected",
    [
        (lambda log: log.debug("a"), "<7>overc.it: a"),
        (lambda log: log.info("{n} hosts", n=2), "<6>overc.it: 2 hosts"),
        (lambda log: log.warn("a"), "<4>overc.it: a"),
        (lambda log: log.error("a"), "<3>overc.it: a"),
        (lambda log: log.critical("a"), "<2>overc.it: a"),
    ],
)
def test_a_level_before_each_event(tell: Callable[[Logger], object], expected: str) -> None:
    assert written(tell) == [expected]


def test_each_line_of_a_traceback_has_the_level() -> None:
    def fail(log: Logger) -> None:
        with log.failuresHandled("it failed"):
            raise ValueError("of this")

    first, *others, last = written(fail)
    assert first == "<2>overc.it: it failed"
    assert others[0] == "<2>Traceback (most recent call last):"
    assert last == "<2>builtins.ValueError: of this"


def test_what_is_logged_in_the_old_way() -> None:
    out = io.StringIO()
    log = old_style.LogPublisher(publishPublisher=LogPublisher(JournalObserver(out)))
    log.msg("starting")
    log.msg("Unable to write to plugin cache /x: error number 30")
    log.msg("it broke", isError=1)
    assert out.getvalue() == "<6>starting\n<2>it broke\n"


def test_an_event_without_text_is_no_line() -> None:
    assert written(lambda log: log.info("")) == []


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as a, (tmp_path / "b").open("w") as b:
        environ = {"JOURNAL_STREAM": stream_name(tmp_path / "a")}
        assert is_connected(environ, a)
        assert not is_connected(environ, b)
        assert not is_connected({}, a)
        assert not is_connected(environ, io.StringIO())
        assert isinstance(observer_for(a, environ), JournalObserver)
        assert not isinstance(observer_for(b, environ), JournalObserver)
    assert not is_connected(environ, a), "closed"


def test_elsewhere_each_event_has_the_time() -> None:
    out = io.StringIO()
    Logger("overc.it", observer=LogPublisher(observer_for(out, {}))).info("a")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+ \[overc.it#info\] a\n", out.getvalue())
