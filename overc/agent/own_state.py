"""The agent's own state, as a service like those that it watches."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.application.service import Service

from overc import __version__
from overc.agent.schedule import Lag
from overc.agent.settings import OWN_SERVICE
from overc.model import ServiceReport, State

LOOK_S = 30.0
"""How often it is looked whether all is well. The first look is at the end of this time, too: at
the start there is nothing to tell."""

SKEW_MOST_S = 10.0
"""A clock that is further from the server's than this is wrong."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Vitals(NamedTuple):
    """How it stands, at one moment."""

    services: int
    concurrency: int
    lag: Lag
    waiting: int
    """Reports that are still to be sent."""
    oldest_s: float | None
    """How long the oldest of them has been waiting."""
    skew_s: float | None
    """How far our clock is ahead of the server's; None: nobody knows."""
    memory_mb: float | None
    troubles: tuple[str, ...] = ()
    """What people should know of, in sentences."""


def troubles_of(vitals: Vitals) -> list[str]:
    """Return what is wrong, in sentences with the remedy."""
    found = list(vitals.troubles)
    if vitals.lag.endangered is not None:
        found.append(
            f"runs begin up to {vitals.lag.seconds:.0f} s late ({vitals.lag.endangered} for one):"
            f" {vitals.concurrency} at once are too few, set concurrency= higher or periods longer"
        )
    if vitals.skew_s is not None and abs(vitals.skew_s) > SKEW_MOST_S:
        found.append(f"the clock is {_ahead(vitals.skew_s)} the server's: set one of them right")
    return found


def describe(vitals: Vitals) -> tuple[State, str]:
    """Return the state and the info, which ends in performance data."""
    plural = "" if vitals.services == 1 else "s"
    facts = [
        f"OverC {__version__}",
        f"{vitals.services} service{plural}",
        f"runs up to {vitals.lag.seconds:.1f} s late",
        f"{vitals.waiting} reports waiting" if vitals.waiting else "nothing waits to be sent",
    ]
    if vitals.skew_s is not None:
        facts.append(f"clock {_ahead(vitals.skew_s)} the server's")
    figures = [f"lag={vitals.lag.seconds:.2f}s;;;0", f"waiting={vitals.waiting};;;0"]
    if vitals.oldest_s is not None:
        figures.append(f"oldest={vitals.oldest_s:.0f}s;;;0")
    if vitals.skew_s is not None:
        figures.append(f"skew={vitals.skew_s:.1f}s;-{SKEW_MOST_S:g}:{SKEW_MOST_S:g}")
    if vitals.memory_mb is not None:
        figures.append(f"memory={vitals.memory_mb:.1f}MB;;;0")
    troubles = troubles_of(vitals)
    first, *rest = [*troubles, ", ".join(facts)]
    lines = [f"{first} | {' '.join(figures)}", *rest]
    return State.WARN if troubles else State.OK, "\n".join(lines)


def memory_mb() -> float | None:
    """Return the memory that this process takes, where the system tells."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES / 1e6
    except (OSError, ValueError, IndexError):
        return None


def _ahead(skew_s: float) -> str:
    return f"{abs(skew_s):.1f} s {'ahead of' if skew_s >= 0 else 'behind'}"


class OwnState(Service):
    """Reports it once in a period, and at once when it has become another one.

    `vitals` looks; `reported` takes the report, after which the lag is counted anew. Neither may
    raise. A period of None means that nothing is reported.
    """

    def __init__(
        self,
        reactor: Any,
        vitals: Callable[[], Vitals],
        reported: Callable[[ServiceReport], None],
    ) -> None:
        self._reactor = reactor
        self._vitals = vitals
        self._reported = reported
        self._period_s: int | None = None
        self._timer: Any = None
        self._state: State | None = None
        self._reported_at = 0.0

    def stopService(self) -> None:
        super().stopService()
        self._cancel_timer()

    def report_every(self, period_s: int | None) -> None:
        """Report with this period from now on."""
        if period_s != self._period_s:
            self._period_s = period_s
            self._state = None
            self._look_later()

    def look(self) -> None:
        """See how it stands: something has changed."""
        if self._period_s is None or not self.running:
            return
        now = self._reactor.seconds()
        state, info = describe(self._vitals())
        # Early enough for the promise, as with any other service.
        due = now - self._reported_at >= 0.8 * self._period_s - self._look_s() / 2
        if due or state is not self._state:
            self._state, self._reported_at = state, now
            self._reported(ServiceReport(OWN_SERVICE, state, info, self._period_s))
        self._look_later()

    def _look_s(self) -> float:
        return LOOK_S if self._period_s is None else min(LOOK_S, 0.4 * self._period_s)

    def _look_later(self) -> None:
        self._cancel_timer()
        if self._period_s is not None and self.running:
            self._timer = self._reactor.callLater(self._look_s(), self.look)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
