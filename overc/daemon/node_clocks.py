"""How far apart the clocks are of the processes that share a database.

Note [Clocks of several nodes]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A deadline is counted on the steady clock of the process that took the report, and every process
looks for deadlines that have passed. A steady clock begins with the wall clock of its machine, and
that may be wrong, or set later. Where one process is ahead of another by more than is left of a
period, it would find services late that have just reported to the other one, again and again.

So each process tells every TELL_S what time it has, and each looks for late services by the clock
that is furthest behind of those that run. Wrong clocks make alerts late by as much, and never
false. A process that has ended leaves deadlines of its clock; if that was behind, all periods begin
anew when it is gone.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from overc.clock import Clock
from overc.daemon.store import clocks
from overc.daemon.store.clocks import Told
from overc.daemon.store.engine import Store
from overc.daemon.store.errors import StorageError
from overc.logging import get_logger

LOOK_S = 0.2
"""At least between two looks at the others' clocks."""

TELL_S = 2.0
"""Between two times that a process tells what time it has."""

GONE_S = 10.0
"""A process that has told nothing for so long has ended, or can't count on being waited for."""

FORGET_S = 60.0
"""What a process has told is deleted when nothing has followed for so long."""

APART_S = 1.0
"""What clocks are apart by less than this is no more than the way through the database."""

WARN_S = 2.0
"""Clocks that are apart by so much are worth a line in the log."""

HEARD = 5
"""So often a process is heard; what took least time on its way tells how far the clocks are apart.
"""

log = get_logger(__name__)


class Lead(NamedTuple):
    """How this process's clock stands to those of the others."""

    lead_s: float = 0.0
    """By so much it is ahead of the one that is furthest behind."""
    lost: bool = False
    """A process that was behind is gone since the last look."""


class OtherClocks(Protocol):
    """What the watchdog asks of `NodeClocks`."""

    async def look(self) -> Lead: ...

    async def leave(self) -> None: ...


class NodeClocks:
    """Tells the others what time it is here, and hears what they tell."""

    def __init__(self, store: Store, clock: Clock, node: str) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._process = str(uuid.uuid4())
        self._alone = False
        self._others: dict[str, _Other] = {}
        self._looked_at: float | None = None
        self._told_at: float | None = None
        self._lead_s = 0.0
        self._lost = False
        """A process that was behind is gone, and nobody was told yet."""
        self._failed = False

    async def look(self) -> Lead:
        """Hear the others, and tell them if it is time to. Raises StorageError."""
        now_at = self._clock.steady()
        if self._alone or (self._looked_at is not None and now_at - self._looked_at < LOOK_S):
            return Lead(self._lead_s)
        self._failed = True
        told = await self._store.read("read the clocks of other nodes", clocks.told)
        if told is None:
            self._alone = True
            return Lead()
        heard_at = self._clock.steady()
        self._hear([one for one in told if one.process != self._process], heard_at)
        self._looked_at = heard_at
        if self._told_at is None or heard_at - self._told_at >= TELL_S:
            await self._tell()
        self._failed = False
        leads_s = [one.lead_s for one in self._others.values() if not one.gone]
        lead_s = max(leads_s, default=0.0)
        self._lead_s = lead_s if lead_s >= APART_S else 0.0
        lost, self._lost = self._lost, False
        return Lead(self._lead_s, lost)

    async def leave(self) -> None:
        """Tell the others that this process ends."""
        # Where the database is away nobody waits for it: the others find out by themselves.
        if self._told_at is not None and not self._failed:
            with contextlib.suppress(StorageError):
                await self._store.write("leave the other nodes", clocks.forget, [self._process])

    async def _tell(self) -> None:
        at = self._clock.steady()
        mine = Told(self._process, self._node, at)
        await self._store.write("tell other nodes the time", clocks.tell, mine)
        self._told_at = at
        ended = [process for process, one in self._others.items() if one.silent_s(at) > FORGET_S]
        if ended:
            await self._store.write("forget nodes that have ended", clocks.forget, ended)

    def _hear(self, told: Sequence[Told], heard_at: float) -> None:
        """Take in what was told, and notice whether one is gone that was behind."""
        if self._looked_at is not None and heard_at - self._looked_at > TELL_S:
            # Nobody could be heard meanwhile.
            for other in self._others.values():
                other.heard_at = heard_at
        for process, node, steady_at in told:
            known = self._others.get(process)
            if known is None:
                self._others[process] = _Other(node, steady_at, heard_at)
            elif steady_at != known.steady_at:
                known.hear(steady_at, heard_at)
        present = {one.process for one in told}
        for process, other in list(self._others.items()):
            left = process not in present
            if left or other.silent_s(heard_at) > GONE_S:
                self._lost |= not other.gone and other.runs and other.lead_s >= APART_S
                other.gone = True
            if left:
                del self._others[process]


class _Other:
    """Another process."""

    def __init__(self, node: str, steady_at: float, heard_at: float) -> None:
        self.node = node
        self.steady_at = steady_at
        self.heard_at = heard_at
        self.runs = False
        """It has told something while we listened."""
        self.gone = False
        self._warned = False
        self._leads_s = deque([heard_at - steady_at], HEARD)

    @property
    def lead_s(self) -> float:
        """By how much we are ahead of it."""
        return min(self._leads_s)

    def silent_s(self, now_at: float) -> float:
        return now_at - self.heard_at

    def hear(self, steady_at: float, heard_at: float) -> None:
        self.steady_at = steady_at
        self.heard_at = heard_at
        if not self.runs or self.gone:
            # What was found first may have been old.
            self._leads_s.clear()
        self.runs, self.gone = True, False
        self._leads_s.append(heard_at - steady_at)
        if abs(self.lead_s) >= WARN_S and not self._warned:
            self._warned = True
            log.warn(
                "the clock of node {node} is {apart:.1f} s {how} ours: have both set by NTP and"
                " restart the server that was wrong; until then silence may be told so much later",
                node=self.node,
                apart=abs(self.lead_s),
                how="behind" if self.lead_s > 0 else "ahead of",
            )
