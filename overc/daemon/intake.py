"""Takes reports in, and answers each once it is durable.

Note [Group commit]
~~~~~~~~~~~~~~~~~~~
A commit costs a sync of the disk, whatever is in it. While one transaction runs, further reports
queue up, and all of them go into the next one. There is no timer: an idle server answers at once, a
busy one batches by itself.

The next transaction stands ready while one runs, and the writer's thread takes it up without asking
the reactor, which may be busy. So it is only when a transaction begins that its reports are chosen,
in that thread. Where the database can prepare one transaction while it ends another (see Note
[Overlapping transactions]), it begins as soon as it may.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore, ensureDeferred, fail
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from overc.clock import Clock
from overc.daemon import keys
from overc.daemon.recording import Recorded, Recorder, Submission, Times, WrongKey
from overc.daemon.store import records
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.errors import StorageError
from overc.logging import get_logger
from overc.model import Report, ServerIdentity

QUEUE_MAX = 5_000
"""Reports that may wait; more are turned away, since they would wait for too long."""

BATCH_MAX = 500
"""Reports in one transaction, so that the first of them is not kept waiting by the last."""

BATCHES_MAX = 2
"""On their way at once: one that runs, and one that stands ready or overlaps with it."""

PROOFS_MAX = 5
"""Keys that are derived at a time: pages are made by the same ten threads, and need not wait for
all that somebody tries."""

ANSWER_S = 30.0
"""A report waits at most so long for its commit."""

log = get_logger(__name__)


class Overloaded(Exception):
    """More reports are waiting than the server takes; the sender should try again soon."""


class _Waiting(NamedTuple):
    submission: Submission
    answer: Deferred[None]
    recalled: bool
    """The key was known to fit already."""


class _Batch:
    """Reports that share a transaction."""

    def __init__(self) -> None:
        self.reports: list[_Waiting] = []
        self.now: Times | None = None
        self.begun = False
        """Its reports are chosen; who comes now needs another one."""

    def begin(self, queue: deque[_Waiting], clock: Clock) -> None:
        """Choose its reports, if that was not done. In any thread."""
        if self.begun:
            return
        # In this order: whoever is not taken any more sees that, since he looks after he came.
        self.begun = True
        self.now = Times(clock.wall(), clock.steady())
        self.reports = _taken(queue, BATCH_MAX)


class Intake(Service):
    """The one way into the store for everything that hosts say."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        recorder: Recorder,
        alerts_raised: Callable[[], None],
        store_failed: Callable[[], None] = lambda: None,
        queue_max: int = QUEUE_MAX,
        key_refused: Callable[[int, str, str, str], None] = lambda *refused: None,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        """`stored` is called after each commit, `alerts_raised` after one that added some.

        `store_failed` is called when reports could not be stored. `key_refused` is called with the
        id of the server whose key another one is, with what would be stored for the one that was
        sent, with the peer's address, and with the one that the server was known from.
        """
        self._reactor = reactor
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._alerts_raised = alerts_raised
        self._store_failed = store_failed
        self._queue_max = queue_max
        self._key_refused = key_refused
        self._stored = stored
        self._queue: deque[_Waiting] = deque()
        self._proved = keys.ProvedKeys()
        self._proving = 0
        self._proofs = DeferredSemaphore(PROOFS_MAX)
        self._next: _Batch | None = None
        """The last one that was asked for."""
        self._on_their_way = 0
        """How many batches are."""
        self._idle: Deferred[None] | None = None
        """Fires when none is any more; None while nobody waits for that."""

    def submit(self, report: Report) -> Deferred[None]:
        """Return a Deferred that fires when the report and all that follows from it is durable.

        It fails with WrongKey, Overloaded or StorageError; nothing of the report is stored then,
        but for a StorageError that says that the database did not answer in time.
        """
        if not self.running:
            return fail(Overloaded("the server is not ready: send the report again soon"))
        if len(self._queue) + self._proving >= self._queue_max:
            return fail(Overloaded("the server is busy: send the report again in a few seconds"))
        name, key = report.server
        derivation = self._proved.recall(name, key)
        if derivation is None:
            return ensureDeferred(self._prove_and_queue(report))
        return self._enqueue(Submission(report, derivation), recalled=True)

    def forget(self, server_name: str) -> None:
        """Forget the key of a server that was deleted, or has another one."""
        self._proved.forget(server_name)

    async def stopService(self) -> None:
        super().stopService()
        if self._on_their_way:
            self._idle = Deferred()
            await self._idle

    async def _prove_and_queue(self, report: Report) -> None:
        self._proving += 1
        try:
            derivation = await self._prove(report.server, report.peer_ip)
        finally:
            self._proving -= 1
        if not self.running:
            raise Overloaded("the server is stopping: send the report again soon")
        await self._enqueue(Submission(report, derivation), recalled=False)

    async def _prove(self, server: ServerIdentity, peer_ip: str) -> str:
        """Return the derivation that a key fits, or a new one for a name that is not known.

        Derivations are slow, so they run neither on the reactor nor in the writer's thread.
        """
        found = await self._store.read("look a server up", records.find_servers, [server.name])
        if not found:
            return await self._proofs.run(deferToThread, keys.derive, server.key)
        stored = found[0].key_derivation
        derivation = await self._proofs.run(deferToThread, keys.derive_like, stored, server.key)
        if not keys.same(derivation, stored):
            self._key_refused(found[0].id, derivation, peer_ip, found[0].ip)
            raise WrongKey(server.name)
        return stored

    def _enqueue(self, submission: Submission, *, recalled: bool) -> Deferred[None]:
        waiting = _Waiting(submission, Deferred(), recalled)
        self._queue.append(waiting)
        self._begin_next()
        return waiting.answer

    def _begin_next(self) -> None:
        """Ask for a transaction for those who wait, if none stands ready."""
        stands_ready = self._next is not None and not self._next.begun
        if self._queue and not stands_ready and self._on_their_way < BATCHES_MAX:
            self._next = _Batch()
            ensureDeferred(self._flush(self._next))

    async def _flush(self, batch: _Batch) -> None:
        self._on_their_way += 1
        try:
            answer = await self._record_in_time(batch)
        finally:
            self._on_their_way -= 1
            # The next batch is on its way while this one is answered.
            self._begin_next()
        answer()
        if not self._on_their_way and self._idle is not None:
            self._idle.callback(None)

    async def _record_in_time(self, batch: _Batch) -> Callable[[], None]:
        # Again and again: while a transaction is stuck others come and wait behind it.
        timer = LoopingCall(self._give_up, batch)
        timer.clock = self._reactor
        timer.start(ANSWER_S, now=False)
        try:
            return await self._record(batch)
        finally:
            timer.stop()

    def _give_up(self, batch: _Batch) -> None:
        """Answer those who have waited for long enough; their transaction may still succeed."""
        waiting = [*batch.reports, *_taken(self._queue, QUEUE_MAX)]
        if all(one.answer.called for one in waiting):
            return
        error = StorageError(f"the database did not answer within {ANSWER_S:g} s")
        log.error("{error}", error=error)
        self._store_failed()
        _refuse(waiting, error)

    async def _record(self, batch: _Batch) -> Callable[[], None]:
        """Record a batch; return what answers it."""
        try:
            recorded = await self._store.write("store a report", self._begin_and_record, batch)
        except Exception as e:
            # A transaction that did not come to its beginning fails those who waited for it.
            batch.begin(self._queue, self._clock)
            if isinstance(e, StorageError):
                log.error("{error}", error=e)
                self._store_failed()
            elif len(batch.reports) > 1:
                # One of them is at fault; the others must not suffer for it.
                answers = [await self._record(_alone(one, batch)) for one in batch.reports]
                return partial(_all, answers)
            else:
                log.failure("a report could not be recorded")
            return partial(_refuse, batch.reports, e)
        if recorded.alerts:
            self._alerts_raised()
        if batch.reports:
            self._stored()
        return partial(self._answer, batch.reports, recorded)

    def _begin_and_record(self, tx: Transaction, batch: _Batch) -> Recorded:
        """In the writer's thread, and once more if the transaction has to run again."""
        batch.begin(self._queue, self._clock)
        if batch.now is None or not batch.reports:
            return Recorded((), 0)
        return self._recorder.record(tx, [one.submission for one in batch.reports], batch.now)

    def _answer(self, batch: list[_Waiting], recorded: Recorded) -> None:
        for waiting, outcome in zip(batch, recorded.outcomes, strict=True):
            name, key = waiting.submission.report.server
            if isinstance(outcome, WrongKey):
                self._proved.forget(name)
                _refuse([waiting], outcome)
                continue
            if not waiting.recalled or outcome != waiting.submission.key_derivation:
                self._proved.remember(name, key, outcome)
            if not waiting.answer.called:
                waiting.answer.callback(None)


def _taken(queue: deque[_Waiting], most: int) -> list[_Waiting]:
    """Take the first ones out of a queue. In any thread, also while another one does."""
    taken: list[_Waiting] = []
    with suppress(IndexError):
        while len(taken) < most:
            taken.append(queue.popleft())
    return taken


def _alone(one: _Waiting, batch: _Batch) -> _Batch:
    alone = _Batch()
    alone.reports, alone.now, alone.begun = [one], batch.now, True
    return alone


def _all(answers: list[Callable[[], None]]) -> None:
    for answer in answers:
        answer()


def _refuse(batch: list[_Waiting], error: Exception) -> None:
    for one in batch:
        if not one.answer.called:
            one.answer.errback(error)
