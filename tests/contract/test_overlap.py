"""One transaction of MariaDB's is prepared while the one before it ends."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import MariaDatabase, Node, a_report, a_state, derive
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.threads import deferToThread

from overc.daemon.intake import Intake
from overc.daemon.recording import Recorded
from overc.daemon.store import mysql, records
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.errors import StorageError
from overc.model import Report, State

LIMIT_S = 30


@pytest.fixture
def store(maria: MariaDatabase, stores: Stores) -> Store:
    opened: Store = pytest_twisted.blockon(ensureDeferred(stores.open(maria)))
    return opened


class Gate:
    """Holds the first call of a function of the store's, in its thread, before it does anything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls = 0
        self.held = threading.Event()
        self.go = threading.Event()
        self.tx: Transaction | None = None
        self._real: Callable[..., Any] = getattr(records, name)
        monkeypatch.setattr(records, name, self._call)

    def _call(self, tx: Transaction, *args: object) -> object:
        self.calls += 1
        if self.calls == 1:
            self.tx = tx
            self.held.set()
            assert self.go.wait(LIMIT_S)
        return self._real(tx, *args)


class Count:
    """Tells when a function of the store's has returned so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
        self.reached = threading.Event()
        self._left = times
        self._real: Callable[..., Any] = getattr(records, name)
        monkeypatch.setattr(records, name, self._call)

    def _call(self, *args: object) -> object:
        result = self._real(*args)
        self._left -= 1
        if not self._left:
            self.reached.set()
        return result


@pytest.fixture
def node(store: Store) -> Node:
    """Of three services that were heard of before."""
    node = Node(store)
    for service in ("cpu", "disk", "swap"):
        pytest_twisted.blockon(ensureDeferred(node.record(said(service, "before"))))
    return node


def said(service: str, info: str, state: State = State.OK) -> Report:
    return a_report(a_state(service, state, info))


async def come(event: threading.Event) -> None:
    assert await deferToThread(event.wait, LIMIT_S)


def chain(maria: MariaDatabase, service: str) -> list[str]:
    """Return what a service said, along the chain of its states, the newest first."""
    rows = maria.rows(
        "select states.id, previous_id, info, last_state_id, state_id from states"
        " join services on services.id = service_id join latest on latest.service_id = services.id"
        " where name = ?",
        service,
    )
    states = {id_: (previous, info) for id_, previous, info, _, _ in rows}
    at, infos = rows[0][3], []
    assert rows[0][4] == at
    while at is not None:
        at, info = states[at]
        infos.append(info)
    assert len(infos) == len(states)
    return infos


@pytest.mark.parametrize("service", ["cpu", "disk"], ids=["another", "the same"])
@pytest_twisted.ensureDeferred
async def test_the_next_batch_is_prepared_before_the_end_of_one_that_says_nothing_new(
    maria: MariaDatabase, node: Node, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewing = Gate(monkeypatch, "renew")
    prepared = Count(monkeypatch, "add_states", 2)
    # Several, since those before the last one are looked for in another way.
    first = ensureDeferred(node.record(said("swap", "1"), said("disk", "1")))
    await come(renewing.held)
    second = ensureDeferred(node.record(said(service, "2")))
    # Its states are there before the first batch has done what it still has to do.
    await come(prepared.reached)
    assert not first.called
    assert renewing.calls == 1
    renewing.go.set()
    await gatherResults([first, second])
    # Neither had to run again: they don't lock each other out.
    assert renewing.calls == 2
    disk = ["2", "1", "before"] if service == "disk" else ["1", "before"]
    assert chain(maria, "disk") == disk
    assert chain(maria, "cpu") == (["before"] if service == "disk" else ["2", "before"])


@pytest_twisted.ensureDeferred
async def test_behind_a_batch_with_news_the_next_one_waits(
    maria: MariaDatabase, node: Node, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = Gate(monkeypatch, "save_services")
    looking = Count(monkeypatch, "find_servers", 2)
    first = ensureDeferred(node.record(said("disk", "1", State.FAIL)))
    await come(saving.held)
    second = ensureDeferred(node.record(said("cpu", "2")))
    waiting = store._writer.succession._waiting
    while len(waiting) < 2:
        await deferToThread(waiting.__len__)
    assert not looking.reached.is_set()
    saving.go.set()
    await gatherResults([first, second])
    assert looking.reached.is_set()
    assert chain(maria, "disk") == ["1", "before"]


@pytest.mark.parametrize("service", ["cpu", "disk"], ids=["another", "the same"])
@pytest_twisted.ensureDeferred
async def test_where_the_first_one_fails_nothing_is_lost(
    maria: MariaDatabase, node: Node, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewing = Gate(monkeypatch, "renew")
    prepared = Count(monkeypatch, "add_states", 2)
    first = ensureDeferred(node.record(said("disk", "1")))
    await come(renewing.held)
    second = ensureDeferred(node.record(said(service, "2")))
    await come(prepared.reached)
    assert renewing.tx is not None
    maria.schema.server.admin(f"kill {renewing.tx._cursor.connection.thread_id()}")
    renewing.go.set()
    # Both are told that they are stored, so both have to be, each once.
    assert await gatherResults([first, second]) == [Recorded(("derived$secret",), 0)] * 2
    if service == "cpu":
        assert chain(maria, "cpu") == ["2", "before"]
        assert chain(maria, "disk") == ["1", "before"]
    else:
        assert sorted(chain(maria, "disk")) == ["1", "2", "before"]
    # And what is in memory is what the database holds.
    await node.record(said("disk", "3"), said("cpu", "3"))
    assert chain(maria, "disk")[0] == chain(maria, "cpu")[0] == "3"


@pytest_twisted.ensureDeferred
async def test_a_first_one_that_does_not_end(
    maria: MariaDatabase, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewing = Gate(monkeypatch, "renew")
    first = ensureDeferred(node.record(said("disk", "1")))
    await come(renewing.held)
    monkeypatch.setattr(mysql, "WAIT_S", 0.2)
    with pytest.raises(
        StorageError, match=r"^Unable to store a report: the database did not answer in time$"
    ):
        await node.record(said("cpu", "2"))
    monkeypatch.undo()
    renewing.go.set()
    await first
    await node.record(said("cpu", "3"))
    assert chain(maria, "disk") == ["1", "before"]
    assert chain(maria, "cpu") == ["3", "before"]


@pytest_twisted.ensureDeferred
async def test_other_transactions_wait_for_the_end(
    node: Node, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewing = Gate(monkeypatch, "renew")
    first = ensureDeferred(node.record(said("disk", "1")))
    await come(renewing.held)
    begun = threading.Event()

    def newest(tx: Transaction) -> Sequence[tuple[Any, ...]]:
        begun.set()
        return tx.fetch("select info from states join latest on states.id = state_id")

    looked = ensureDeferred(store.write("look", newest))
    await come(begun)
    assert not looked.called
    renewing.go.set()
    await first
    assert sorted(await looked) == [("1",), ("before",), ("before",)]


@pytest_twisted.ensureDeferred
async def test_many_hosts_at_once(maria: MariaDatabase, store: Store) -> None:
    """Each report is stored once and in its host's order, and each change is told once."""
    node = Node(store)
    intake = Intake(reactor, store, node.clock, node.recorder, lambda: None)
    dice = random.Random(20261123)
    said_by: dict[str, list[str]] = {}

    async def host(name: str) -> None:
        for number in range(30):
            state = State.FAIL if dice.random() < 0.1 else State.OK
            said_by.setdefault(name, []).append(f"{state.word} {number}")
            services = [a_state(service, state, f"{state.word} {number}") for service in "abc"]
            await intake.submit(a_report(*services, name=name))

    names = [f"web{n}" for n in range(12)]
    for name in names:
        await node.record(a_report(name=name))
    intake._proved = _Proved()  # type: ignore[assignment]
    intake.startService()
    await gatherResults([ensureDeferred(host(name)) for name in names])
    await intake.stopService()
    rows = maria.rows(
        "select servers.name, services.name, states.id, previous_id, info, last_state_id,"
        " (select count(*) from alerts where alerts.state_id = states.id) from states"
        " join services on services.id = service_id join servers on servers.id = server_id"
        " join latest on latest.service_id = services.id order by states.id"
    )
    assert len(rows) == len(names) * 30 * 3
    for name in names:
        for service in "abc":
            history = [row[2:] for row in rows if row[:2] == (name, service)]
            assert [info for _, _, info, _, _ in history] == said_by[name]
            ids = [id_ for id_, *_ in history]
            assert [previous for _, previous, *_ in history] == [None, *ids[:-1]]
            assert history[-1][3] == ids[-1]
            states = [info.split()[0] for info in said_by[name]]
            changes = [a != b for a, b in zip(["OK", *states], states, strict=False)]
            assert [bool(alerts) for *_, alerts in history] == changes


class _Proved:
    """Knows all keys already."""

    def recall(self, name: str, key: str) -> str:
        return derive(key)

    def remember(self, name: str, key: str, derivation: str) -> None:
        pass

    def forget(self, name: str) -> None:
        pass
