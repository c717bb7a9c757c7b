"""The log as systemd's journal wants it.

The journal puts the time before each line by itself, and takes the level from a prefix: see
sd-daemon(3). With those, `journalctl -p warning` finds what somebody should look at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, textFileLogObserver
from zope.interface import implementer

_PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}

_OLD_STYLE = "log_legacy"
"""Twisted's namespace for what has none."""

_PLUGIN_CACHE = "Unable to write to plugin cache "
"""twistd says at every start that it can't make the next one faster. A service has no business
writing to where programs are.
"""


def is_connected(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Say whether what is written to a stream goes to the journal: see systemd.exec(5)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


@implementer(ILogObserver)
class JournalObserver:
    """Writes events to a stream that leads to the journal, each line with its level."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if not text or text.startswith(_PLUGIN_CACHE):
            return
        namespace = event.get("log_namespace", _OLD_STYLE)
        if namespace != _OLD_STYLE:
            text = f"{namespace}: {text}"
        prefix = f"<{_PRIORITIES[event.get('log_level', LogLevel.info)]}>"
        self._stream.write("".join(f"{prefix}{line}\n" for line in text.splitlines()))
        self._stream.flush()


def observer_for(stream: TextIO, environ: Mapping[str, str]) -> ILogObserver:
    """Return what writes events to a stream, for the journal or for people who read it there."""
    if is_connected(environ, stream):
        return JournalObserver(stream)
    observer: ILogObserver = textFileLogObserver(stream)
    return observer


def from_standard_output() -> ILogObserver:
    """Return what twistd's --logger names: what writes to standard output for the journal."""
    return JournalObserver(sys.stdout)
