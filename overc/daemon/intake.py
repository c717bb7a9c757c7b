"""Takes reports in, and answers each once it is durable.

Note [Group commit]
~~~~~~~~~~~~~~~~~~~
A commit costs a sync of the disk, whatever is in it. While one transaction runs, further reports
queue up; as soon as it ends all of them go into the next one. There is no timer: an idle server
answers at once, a busy one batches by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread

from overc.clock import Clock
from overc.daemon import keys
from overc.daemon.recording import Recorded, Submission, Times, WrongKey, record
from overc.daemon.store import records
from overc.daemon.store.engine import Store
from overc.daemon.store.errors import StorageError
from overc.logging import get_logger
from overc.model import Report, ServerIdentity

QUEUE_MAX = 5_000
"""Reports that may wait; more are turned away, since they would wait for too long."""

BATCH_MAX = 500
"""Reports in one transaction, so that the first of them is not kept waiting by the last."""

log = get_logger(__name__)


class Overloaded(Exception):
    """More reports are waiting than the server takes; the sender should try again soon."""


@dataclass(slots=True)
class _Waiting:
    submission: Submission
    answer: Deferred[None]


class Intake(Service):
    """The one way into the store for everything that hosts say."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        plugins: Sequence[str],
        alerts_raised: Callable[[], None],
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """`plugins`: the alert plugins that get a row in the outbox for each alert.

        `alerts_raised` is called after a commit that added some.
        """
        self._store = store
        self._clock = clock
        self._plugins = tuple(plugins)
        self._alerts_raised = alerts_raised
        self._queue_max = queue_max
        self._queue: list[_Waiting] = []
        self._proved = keys.ProvedKeys()
        self._proving = 0
        self._flushing: Deferred[None] | None = None

    async def submit(self, report: Report) -> None:
        """Return when the report and all that follows from it is durable.

        Raises WrongKey, Overloaded or StorageError; nothing of the report is stored then.
        """
        if len(self._queue) + self._proving >= self._queue_max:
            raise Overloaded("the server is busy: send the report again in a few seconds")
        derivation = self._proved.recall(report.server.name, report.server.key)
        if derivation is None:
            self._proving += 1
            try:
                derivation = await self._prove(report.server)
            finally:
                self._proving -= 1
        waiting = _Waiting(Submission(report, derivation), Deferred())
        self._queue.append(waiting)
        if self._flushing is None:
            self._flushing = Deferred()
            ensureDeferred(self._flush())
        await waiting.answer

    def forget(self, server_name: str) -> None:
        """Forget the key of a server that was deleted."""
        self._proved.forget(server_name)

    async def stopService(self) -> None:
        super().stopService()
        while self._flushing is not None:
            await self._flushing

    async def _prove(self, server: ServerIdentity) -> str:
        """Return the derivation that a key fits, or a new one for a name that is not known.

        Derivations are slow, so they run neither on the reactor nor in the writer's thread.
        """
        found = await self._store.read("look a server up", records.find_servers, [server.name])
        if not found:
            return await deferToThread(keys.derive, server.key)
        stored = found[0].key_derivation
        if not await deferToThread(keys.verify, server.key, stored):
            raise WrongKey(server.name)
        return stored

    async def _flush(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
                await self._record(batch)
        finally:
            flushed, self._flushing = self._flushing, None
            assert flushed is not None
            flushed.callback(None)

    async def _record(self, batch: list[_Waiting]) -> None:
        now = Times(self._clock.wall(), self._clock.steady())
        submissions = [one.submission for one in batch]
        try:
            recorded: Recorded = await self._store.write(
                "store a report", record, submissions, now, self._plugins
            )
        except StorageError as e:
            log.error("{error}", error=e)
            for one in batch:
                one.answer.errback(e)
        except Exception as e:
            if len(batch) == 1:
                log.failure("a report could not be recorded")
                batch[0].answer.errback(e)
                return
            # One of them is at fault; the others must not suffer for it.
            for one in batch:
                await self._record([one])
        else:
            self._answer(batch, recorded)

    def _answer(self, batch: list[_Waiting], recorded: Recorded) -> None:
        for one, outcome in zip(batch, recorded.outcomes, strict=True):
            server = one.submission.report.server
            if isinstance(outcome, WrongKey):
                self._proved.forget(server.name)
                one.answer.errback(outcome)
            else:
                self._proved.remember(server.name, server.key, outcome)
                one.answer.callback(None)
        if recorded.alerts:
            self._alerts_raised()
