"""Tell systemd how we are: sd_notify(3), on the standard library. Without systemd it does nothing.

Note [The watchdog]
~~~~~~~~~~~~~~~~~~~
systemd restarts a service that has not said WATCHDOG=1 for a time (`WatchdogSec=`). It is said by
who can tell that the work is being done, not by a timer of its own: see `overc.supervision`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd tells us in the environment. It is not meant for our children."""


class Notifier:
    """Sends to the socket that NOTIFY_SOCKET names. Nothing here raises: nobody would care."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environ)
        """How often systemd wants to hear that all is well; None: it doesn't."""

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Say that a reload goes on, until `ready`."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        # A name that begins with NUL is one without a file.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as outlet:
                outlet.setblocking(False)
                outlet.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except OSError:
            return


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) > 0 else None


def _line(text: str) -> str:
    return " ".join(text.split())
