"""What the server has not confirmed yet: kept on disk before it is sent, and until then.

Note [Going on without the file]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
The agent watches disks too, so a disk that is full, broken or hung must not end it. What fails in
the file is done once more in memory, and from then on reports are kept there, within narrower
bounds. Every REOPEN_S the file is tried again; what memory holds goes into it then. A corrupt file
is renamed, and a new one takes its place. A call that gets no answer in DISK_S counts as a failure;
its thread is left to itself and lets go of the file when it comes back.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TwistedTimeout

from overc.agent.delivery_settings import MEMORY_BYTES, SpoolSettings
from overc.agent.kept import Kept
from overc.agent.spool import Figures, Limits, Spool, Waiting, open_spool
from overc.agent.spool_errors import SpoolCorrupt, SpoolError, SpoolInUse
from overc.agent.spool_file import set_corrupt_aside
from overc.agent.troubles import Troubles
from overc.agent.worker import Here, Thread, Worker
from overc.clock import Clock, SystemClock
from overc.logging import get_logger
from overc.model import AlertReport, ServiceReport, Spooled
from overc.wording import span

REPORT_BYTES = 512 * 1024
"""How much goes into one report, unless one state is larger; servers take 1 MiB."""
REPORT_LEAST_BYTES = 16 * 1024

STATE_BYTES = 100
"""What a state has on the wire beside its words, about."""

REOPEN_S = 60.0
DISK_S = 20.0

_IN_MEMORY = SpoolSettings()

T = TypeVar("T")

log = get_logger(__name__)


class Condition(NamedTuple):
    """How the outbox is, for the agent's own state."""

    reports: int
    """That wait."""
    states: int
    oldest_s: float | None
    """How long the oldest of them has been waiting."""
    bytes: int
    path: str | None
    """None: they are in memory."""
    dropped: int
    """States, of late."""
    troubles: tuple[str, ...]


class _Store(NamedTuple):
    spool: Spool
    worker: Worker


class Outbox(Service):
    """Holds reports until they are delivered. Nothing is taken out before that, but for bounds.

    States and alerts gather in memory until `keep` makes reports of them. What the server refuses
    is set aside, so that it does not keep the rest from being sent.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        settings: SpoolSettings = _IN_MEMORY,
        *,
        clock: Clock | None = None,
        refused: Callable[[str], None] = lambda sentence: None,
        make_worker: Callable[[Any, str], Worker] = Thread,
    ) -> None:
        """`host`: whose reports these are. `refused` is told why the agent can't run at all."""
        self._reactor = reactor
        self._host = host
        self._settings = settings
        self._clock = clock or SystemClock()
        self._refused = refused
        self._make_worker = make_worker
        self._store = self._in_memory()
        self._figures = Figures()
        self._lock = DeferredLock()
        self._reopen_at: float | None = None
        self._states: dict[str, ServiceReport] = {}
        self._alerts: list[AlertReport] = []
        self._suspects: set[str] = set()
        self._report_bytes = REPORT_BYTES
        self.spool = str(uuid.uuid4())
        """See Note [Names of reports] in `overc.agent.spool`."""
        self._seq = 0
        self._last_id = 0
        self._made: list[Kept] = []
        self._troubles = Troubles()

    def __len__(self) -> int:
        """Return how many states and alerts wait."""
        made = sum(report.size() for report in self._made)
        return len(self._states) + len(self._alerts) + made + self._figures.states

    def startService(self) -> None:
        """Open the file, which may take a moment at its first start after a crash."""
        super().startService()
        path = self._settings.path
        if path is None:
            return
        try:
            spool, incident = self._open()
        except SpoolInUse as e:
            self._refused(str(e))
        except SpoolError as e:
            self._break(str(e))
        else:
            self._take(_Store(spool, self._make_worker(self._reactor, "spool")), incident)

    def stopService(self) -> Deferred[None]:
        """Keep what has gathered, and close the file."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.keep()
        store = self._store
        if store.spool.path is not None:
            closed = store.worker.call(store.spool.close)
            closed.addTimeout(DISK_S, self._reactor)
            try:
                await closed
            except TwistedTimeout:
                log.warn("the spool {path} could not be closed in time", path=store.spool.path)
        store.worker.stop()

    def put_state(self, report: ServiceReport) -> None:
        """Take a state in."""
        if report.seen_at is None:
            report = report._replace(seen_at=round(self._clock.wall(), 3))
        # A service has one state in a report; the one before it is not lost for that.
        if report.name in self._states:
            self._make_reports()
        self._states[report.name] = report

    def put_alert(self, alert: AlertReport) -> None:
        """Take an alert in."""
        self._alerts.append(alert)

    async def keep(self) -> None:
        """Make reports of what has gathered; they may be sent once they are on disk."""
        self._make_reports()
        kept = [report._replace(id=self._next_id()) for report in self._made]
        self._made = []
        if kept:
            now = self._clock.steady()
            self._drop(await self._do(lambda spool: spool.add(kept, now)), self._too_much())
        await self._reopen()

    def _make_reports(self) -> None:
        self._made += [self._report(services=part) for part in self._parts()]
        if self._alerts:
            self._made.append(self._report(alerts=self._alerts))
        self._states, self._alerts = {}, []

    def _report(
        self, services: Sequence[ServiceReport] = (), alerts: Sequence[AlertReport] = ()
    ) -> Kept:
        self._seq += 1
        spooled = Spooled(self.spool, self._seq)
        steady = self._clock.steady()
        # The id is given later: before the file is open nobody knows which ones are taken.
        return Kept(0, spooled, steady, tuple(services), tuple(alerts))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _parts(self) -> Iterator[list[ServiceReport]]:
        """Yield the states in as many parts as requests are needed."""
        part: list[ServiceReport] = []
        part_bytes = 0
        for report in self._states.values():
            size = STATE_BYTES + len(report.name.encode()) + len(report.info.encode())
            alone = report.name in self._suspects
            if part and (alone or part_bytes + size > self._report_bytes):
                yield part
                part, part_bytes = [], 0
            part.append(report)
            part_bytes += size
            if alone:
                yield part
                part, part_bytes = [], 0
        if part:
            yield part

    async def next_urgent(self, now: float) -> Waiting | None:
        """Return what is to be sent now; None when there is nothing. See `Spool.next_urgent`."""
        if self._figures.urgent_at is None or self._figures.urgent_at > now:
            return None
        return await self._do(lambda spool: spool.next_urgent(now))

    async def next_of_backlog(self) -> Waiting | None:
        """Return what is to be sent when nothing is urgent; None when there is nothing."""
        if not self._figures.backlog:
            return None
        return await self._do(lambda spool: spool.next_of_backlog())

    def urgent_at(self, now: float) -> float | None:
        """Return when something urgent may be sent: now, or later; None when there is nothing."""
        at = self._figures.urgent_at
        return None if at is None else max(now, at)

    def has_backlog(self) -> bool:
        """Say whether there is something that is not urgent."""
        return self._figures.backlog > 0

    def where(self) -> str:
        """Say what becomes of what is not sent."""
        path = self._store.spool.path
        return "they were in memory" if path is None else f"they stay in {path}"

    async def last_seq(self, spool: str) -> int:
        """Return the highest number of a spool among its reports that wait."""
        return await self._do(lambda store: store.last_seq(spool))

    async def confirm(self, report: Kept, known_at: Mapping[str, float]) -> None:
        """Forget a report that the server has; see `Spool.confirm`."""
        self._suspects.difference_update(known_at)
        self._troubles.heard(self._clock.steady())
        await self._do(lambda spool: spool.confirm(report.id, known_at))

    async def refuse(self, report: Kept, until: float) -> None:
        """Don't send a report before a time that the server objects to; drop it if it is old."""
        if len(report.services) == 1:
            self._suspects.add(report.services[0].name)
        dropped = await self._do(lambda spool: spool.set_aside(report.id, until))
        self._drop(dropped, "the server refuses them")

    async def split(
        self,
        report: Kept,
        known_at: Mapping[str, float],
        refused: Sequence[tuple[ServiceReport, Spooled]],
        until: float,
    ) -> None:
        """Forget the part of a report that the server has, and set the rest aside, each for itself.

        The names of the rest are those that it was sent under.
        """
        rest = []
        for service, spooled in refused:
            self._suspects.add(service.name)
            rest.append(Kept(self._next_id(), spooled, report.kept_at, (service,)))
        dropped = await self._do(lambda spool: spool.split(report.id, known_at, rest))
        for one in rest:
            await self._do(lambda spool, id_=one.id: spool.set_aside(id_, until))  # type: ignore[misc]
        self._drop(dropped, "the server refuses them")

    def make_smaller(self, refused_bytes: int) -> None:
        """Make smaller reports from now on: the server refuses them for their size."""
        self._report_bytes = max(min(self._report_bytes, refused_bytes) // 2, REPORT_LEAST_BYTES)

    def condition(self) -> Condition:
        """Return how it is now."""
        oldest_at = self._figures.oldest_at
        return Condition(
            self._figures.reports,
            len(self),
            None if oldest_at is None else max(self._clock.steady() - oldest_at, 0.0),
            self._figures.bytes,
            self._store.spool.path,
            self._troubles.dropped(self._clock.steady()),
            tuple(self.troubles()),
        )

    def troubles(self) -> list[str]:
        """Return what people should know of, in sentences: none when all is well."""
        return self._troubles.sentences(self._clock.steady())

    def _drop(self, states: int, reason: str) -> None:
        if states and self._troubles.drop(states, reason, self._clock.steady()):
            log.warn("reports are dropped: {reason}", reason=reason)

    def _too_much(self) -> str:
        most = self._settings.max_bytes
        if self._store.spool.path is None:
            most = min(most, MEMORY_BYTES)
        age = span(self._settings.max_age_s)
        return f"the spool takes {most / 1024**2:.3g} MiB, and reports up to {age} old"

    def _in_memory(self) -> _Store:
        limits = Limits(self._settings.max_age_s, min(MEMORY_BYTES, self._settings.max_bytes))
        return _Store(Spool(None, self._host, limits), Here())

    def _open(self) -> tuple[Spool, str | None]:
        limits = Limits(self._settings.max_age_s, self._settings.max_bytes)
        return open_spool(self._settings.path, self._host, limits)

    def _take(self, store: _Store, incident: str | None) -> None:
        if incident is not None:
            log.error("{sentence}", sentence=incident)
            self._troubles.note(incident)
        self._store = store
        self._troubles.broken = self._reopen_at = None
        self._figures = store.spool.figures()
        self._last_id = max(self._last_id, self._figures.last_id)

    def _break(self, sentence: str) -> None:
        log.error("{sentence}; reports are kept in memory", sentence=sentence)
        self._troubles.broken = sentence
        self._reopen_at = self._clock.steady() + REOPEN_S

    async def _do(self, run: Callable[[Spool], T]) -> T:
        """Run something in the spool's thread: see Note [Going on without the file]."""
        await self._lock.acquire()
        try:
            try:
                return await self._call(run)
            except SpoolCorrupt as e:
                self._replace_corrupt(e)
            except SpoolError as e:
                self._leave(str(e))
            except TwistedTimeout:
                self._leave(f"the spool {self._settings.path} does not answer")
            return await self._call(run)
        finally:
            self._lock.release()

    async def _call(self, run: Callable[[Spool], T]) -> T:
        spool = self._store.spool

        def job() -> tuple[T, Figures]:
            return run(spool), spool.figures()

        answer = self._store.worker.call(job)
        if spool.path is not None:
            answer.addTimeout(DISK_S, self._reactor)
        result, self._figures = await answer
        return result

    def _leave(self, sentence: str) -> None:
        """Go on in memory."""
        store, self._store = self._store, self._in_memory()
        store.worker.call(store.spool.close)
        store.worker.stop()
        self._break(sentence)
        self._figures = self._store.spool.figures()

    def _replace_corrupt(self, error: SpoolCorrupt) -> None:
        path = self._store.spool.path
        assert path is not None
        self._leave(str(error))
        try:
            incident = set_corrupt_aside(path)
            spool, _ = self._open()
            self._take(_Store(spool, self._make_worker(self._reactor, "spool")), incident)
        except SpoolError as e:
            self._break(str(e))

    async def _reopen(self) -> None:
        """Go back to the file if it can be used again."""
        if self._reopen_at is None or self._clock.steady() < self._reopen_at:
            return
        self._reopen_at = self._clock.steady() + REOPEN_S
        await self._lock.acquire()
        try:
            worker = self._make_worker(self._reactor, "spool")
            memory = self._store.spool
            opened: list[Spool] = []

            def reopen() -> tuple[Spool, str | None]:
                spool, incident = self._open()
                opened.append(spool)
                spool.absorb(memory)
                return spool, incident

            opening = worker.call(reopen)
            opening.addTimeout(DISK_S, self._reactor)
            try:
                spool, incident = await opening
            except (SpoolError, TwistedTimeout):
                worker.call(lambda: _close(opened))
                worker.stop()
                return
            self._take(_Store(spool, worker), incident)
            memory.close()
            log.info("the spool {path} can be used again", path=spool.path)
        finally:
            self._lock.release()


def _close(spools: Sequence[Spool]) -> None:
    for spool in spools:
        spool.close()
