"""How a twistd daemon of ours begins and ends: clean signals, and a start that fails loudly."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.error import ReactorNotRunning


def exit_cleanly_on_signals(reactor: Any) -> None:
    """Make SIGTERM and SIGINT stop the reactor, and the process then exit with status 0.

    Left to itself twistd ends by the signal once more, which a supervisor takes for a crash.
    """

    def stop(signum: int, frame: Any) -> None:
        if reactor.running:
            reactor.callFromThread(_stop_once, reactor)

    def install() -> None:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    reactor.callWhenRunning(install)


def call_on_signal(reactor: Any, number: int, call: Callable[[], None]) -> None:
    """Call something in the reactor's thread whenever a signal comes."""

    def handle(signum: int, frame: Any) -> None:
        reactor.callFromThread(call)

    signal.signal(number, handle)


def together(*services: Any) -> IService:
    """Return services as one, of which the last is the first to be stopped."""
    parent = MultiService()
    for service in services:
        service.setServiceParent(parent)
    return parent


def fail(reactor: Any, sentence: str) -> None:
    """Say why the daemon can't go on, stop the reactor, and make the process exit with status 1."""
    print(f"overc: {sentence}", file=sys.stderr, flush=True)
    # twistd offers no way to a status of our own; it has removed its pid file when this runs.
    atexit.register(_exit_with_failure)
    reactor.callWhenRunning(_stop_once, reactor)


def _stop_once(reactor: Any) -> None:
    # Asked for a second time, while the first stop waits for something.
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
