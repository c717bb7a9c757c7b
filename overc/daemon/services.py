"""The services that the writer's thread works on, kept from one transaction to the next.

Note [Cached services]
~~~~~~~~~~~~~~~~~~~~~~
Nearly every report is about services that reported a minute ago. Their rows are kept in memory, and
nothing is read before it is written again. The rows in memory may be ahead of the database when a
transaction failed after they were changed. Where this process is the only writer, each transaction
leaves a mark of where the database then stood, and the next one drops everything when it finds
another mark.

With several writers (`Transaction.sole_writer` is false) another one may have written meanwhile.
Each row that is written is then compared first with what it was in memory (`records.renew`,
`records.check`): whoever stores a state sets last_state_id, whoever finds a service late sets
timed_out, so these two tell. What differs ends the transaction as Stale; it is run again with
nothing in memory. Where hosts report to another node each time it nearly always would be, so for
the next BATCHES_DISTRUSTED nothing is kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from overc.daemon import judge
from overc.daemon.expectations import Expectation
from overc.daemon.judge import Times
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import ServiceRow
from overc.model import Alert, ServiceReport, ServiceStatus, State

BATCHES_DISTRUSTED = 100


class Service:
    """A service as it stands within a transaction."""

    __slots__ = (
        "_promise", "_status", "deadline_at", "expected", "id", "last_state_id", "name",
        "seen_at", "server_id", "since_at", "state_id",
    )  # fmt: skip

    def __init__(self, row: ServiceRow) -> None:
        (
            self.id, self.server_id, self.name, status,
            self.state_id, self.since_at, self.seen_at, self.last_state_id,
        ) = row  # fmt: skip
        if status.memory is None:
            implied = judge.implied_memory(status, self.since_at, self.seen_at)
            status = status._replace(memory=implied)
        self._status: ServiceStatus = status
        self.deadline_at: float | None = status.deadline_at
        self.expected: Expectation | None = None
        """None: nobody has asked the rules yet."""
        self._promise: tuple[State, int, float | None, float] | None = None
        """What the next report has to say, with the grace that it asks for, to be a renewal, and
        how far away the deadline is then. None: it has to be judged."""

    @property
    def status(self) -> ServiceStatus:
        # Most reports change the deadline and nothing else, so it is kept apart.
        return self._status._replace(deadline_at=self.deadline_at)

    @status.setter
    def status(self, status: ServiceStatus) -> None:
        self._status = status
        self.deadline_at = status.deadline_at
        self._promise = None

    def renew(
        self, state: State, period_s: int, asked_grace_s: float | None, steady_at: float
    ) -> bool:
        """Move the deadline if a report says what the one before said; False: judge it."""
        if self._promise is None:
            return False
        former, former_s, former_grace_s, lasts_s = self._promise
        if state is not former or period_s != former_s or asked_grace_s != former_grace_s:
            return False
        self.deadline_at = steady_at + lasts_s
        return True

    def judge(self, report: ServiceReport, now: Times, expected: Expectation) -> tuple[Alert, ...]:
        """Become what a report makes of it; return the alerts that it raises."""
        verdict = judge.on_report(self.status, report, now, expected)
        self.status = verdict.service
        self._note_promise(report.grace_s)
        return verdict.alerts

    def trust(self) -> None:
        """Let it be renewed before it is judged, if no rule can have had a part in what it is."""
        status = self._status
        told = status.memory.told if status.memory else status.state
        if status.due_at is None and status.grace_s == 0 and told is status.state:
            self._note_promise(None)

    def _note_promise(self, asked_grace_s: float | None) -> None:
        promise = judge.promise(self._status)
        if promise is not None:
            self._promise = _shared(promise.state, promise.period_s, asked_grace_s, promise.lasts_s)

    @property
    def state(self) -> State | None:
        return self._status.state

    def is_well(self) -> bool:
        return judge.is_well(self._status)

    def row(self) -> ServiceRow:
        return ServiceRow(
            self.id, self.server_id, self.name, self.status,
            self.state_id, self.since_at, self.seen_at, self.last_state_id,
        )  # fmt: skip


@functools.lru_cache(maxsize=1000)
def _shared(
    state: State, period_s: int, asked_grace_s: float | None, lasts_s: float
) -> tuple[State, int, float | None, float]:
    """Return one tuple for all services that promise the same: there are many of them."""
    return state, period_s, asked_grace_s, lasts_s


class ServiceCache:
    """Services by server and name, and by id. For one thread only."""

    def __init__(self, *, without_rules: bool = True) -> None:
        """`without_rules`: there are none, so what is plain need not be judged to be renewed."""
        self._without_rules = without_rules
        self._by_name: dict[int, dict[str, Service]] = {}
        self._by_id: dict[int, Service] = {}
        self._mark: object = None
        self._distrusted = 0

    def begin(self, tx: Transaction) -> None:
        """Drop everything that may not be what the database holds."""
        if self._mark is None or self._mark != self._present_mark(tx):
            self.clear()
        # Until the end is reached, nothing can be said of what is in memory.
        self._mark = None

    def end(self, tx: Transaction) -> None:
        """Note where the database stands, for the next transaction."""
        if self._distrusted:
            self._distrusted -= 1
        else:
            self._mark = self._present_mark(tx)

    def distrust(self) -> None:
        """What is in memory was not what the database holds: keep nothing for a while."""
        self._distrusted = BATCHES_DISTRUSTED
        self._mark = None

    def forget(self, ids: Iterable[int]) -> None:
        for id_ in ids:
            service = self._by_id.pop(id_, None)
            if service is not None:
                del self._by_name[service.server_id][service.name]

    def clear(self) -> None:
        self._by_name.clear()
        self._by_id.clear()
        self._mark = None

    def find_names(
        self, tx: Transaction, server_id: int, names: Iterable[str]
    ) -> dict[str, Service]:
        """Return a server's services by name, at least those named; unknown ones are created."""
        known = self._by_name.setdefault(server_id, {})
        missing = [name for name in names if name not in known]
        if missing:
            self._keep(records.find_services(tx, server_id, missing))
            unknown = [name for name in missing if name not in known]
            self._keep(records.add_services(tx, server_id, unknown))
        return known

    def find_ids(self, tx: Transaction, ids: Iterable[int]) -> list[Service]:
        """Return the services of these ids that exist."""
        wanted = list(ids)
        self._keep(
            records.find_services_by_id(tx, [id_ for id_ in wanted if id_ not in self._by_id])
        )
        return [self._by_id[id_] for id_ in wanted if id_ in self._by_id]

    def _present_mark(self, tx: Transaction) -> object:
        return records.mark(tx) if tx.sole_writer else True

    def _keep(self, rows: Iterable[ServiceRow]) -> None:
        for row in rows:
            service = Service(row)
            if self._without_rules:
                service.trust()
            self._by_name.setdefault(service.server_id, {})[service.name] = service
            self._by_id[service.id] = service
