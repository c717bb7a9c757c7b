"""Two clocks: one to count by, one to show.

Note [Two clocks]
~~~~~~~~~~~~~~~~~
The wall clock may step: by hand, by NTP, after a suspend. What is shown to people is stamped with
it. A deadline that was counted on it would pass, or never pass, with every step. So deadlines are
counted on a steady clock: it starts at the wall clock's time when the process starts and then
follows the monotonic clock, whatever happens to the wall clock. Of the monotonic clocks it takes
the one that goes on while the machine is suspended, so that a suspend shows as a pause. A deadline
outlives its process only as a period: at every start each watched service gets its period again.
Processes that share a database look how far their steady clocks are apart: Note [Clocks of several
nodes] in overc/daemon/node_clocks.py.

Timers too must not stand still for the hour by which somebody set the clock back, so the reactor
itself is put on the monotonic clock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Clock(Protocol):
    """What the server's parts ask for the time."""

    def wall(self) -> float:
        """Return epoch seconds, UTC. For stamps that people read; may step either way."""

    def steady(self) -> float:
        """Return seconds that only ever grow, at the pace of real time. For deadlines."""


class SystemClock:
    """The clocks of this machine."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic or _since_boot
        self._offset_s = wall() - self._monotonic()

    def wall(self) -> float:
        return self._wall()

    def steady(self) -> float:
        return self._monotonic() + self._offset_s


def _since_boot() -> float:
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def put_on_monotonic_clock(reactor: Any) -> None:
    """Make the reactor's timers immune to steps of the wall clock.

    Call it before anything is scheduled. `reactor.seconds()` is no epoch time afterwards.
    """
    reactor.seconds = time.monotonic
