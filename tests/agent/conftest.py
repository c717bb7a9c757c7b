from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
class Logged(list[str]):
    """The lines of the log that came from our own code."""

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("overc."):
            self.append(formatEvent(event))


@pytest.fixture
def logged() -> Iterator[Logged]:
    lines = Logged()
    globalLogPublisher.addObserver(lines)
    yield lines
    globalLogPublisher.removeObserver(lines)
