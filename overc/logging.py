"""Twisted's logging, with one level for all of ours."""

from __future__ import annotations

from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)

LEVELS = {
    "DEBUG": LogLevel.debug,
    "INFO": LogLevel.info,
    "WARN": LogLevel.warn,
    "WARNING": LogLevel.warn,
    "ERROR": LogLevel.error,
    "CRITICAL": LogLevel.critical,
}
"""The words of the `loglevel` option."""

_threshold = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
_observer = FilteringLogObserver(globalLogPublisher, [_threshold])


def get_logger(namespace: str) -> Logger:
    return Logger(namespace=namespace, observer=_observer)


def set_level(word: str) -> None:
    """Drop our events below a level; what Twisted itself logs is not touched."""
    _threshold.setLogLevelForNamespace("", LEVELS[word])


def is_told(word: str) -> bool:
    """Say whether our events of a level are told: making one for nobody costs time, too."""
    return bool(LEVELS[word] >= _threshold.logLevelForNamespace(""))


def one_line(text: str, limit: int = 500) -> str:
    """Return text from outside so that it stays one event on one line of a log."""
    cleaned = "".join(c if c.isprintable() else " " for c in text[:limit])
    return cleaned + ("..." if len(text) > limit else "")
