"""Several nodes on one MariaDB database, at the same time."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import collections
import threading

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import MariaDatabase, Node, a_report, a_state
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from overc.daemon import keys
from overc.daemon.recording import Recorded, Submission, Times, WrongKey
from overc.daemon.store.engine import Transaction
from overc.model import State

ROUNDS = 25


@pytest.fixture
def nodes(maria: MariaDatabase, stores: Stores) -> list[Node]:
    opening = [ensureDeferred(stores.open(maria)) for _ in range(3)]
    return [Node(pytest_twisted.blockon(one)) for one in opening]


@pytest_twisted.ensureDeferred
async def test_the_same_services_lose_no_update(maria: MariaDatabase, nodes: list[Node]) -> None:
    async def report(node: Node, number: int) -> None:
        for round_ in range(ROUNDS):
            # In different orders, so that they would lock each other out if that mattered.
            names = [f"s{n}" for n in range(12)]
            names = names[number * 4 :] + names[: number * 4]
            state = State.FAIL if round_ % 2 else State.OK
            await node.record(
                *(a_report(a_state(name, state, f"{number} {round_}")) for name in names)
            )

    await gatherResults([ensureDeferred(report(node, n)) for n, node in enumerate(nodes)])
    rows = maria.rows(
        "select services.name, states.id, previous_id, info, states.state, last_state_id, state_id,"
        " services.state, (select count(*) from alerts where alerts.state_id = states.id)"
        " from states join services on services.id = states.service_id"
        " join latest on latest.service_id = services.id order by states.id"
    )
    assert len(rows) == 12 * ROUNDS * len(nodes)
    by_service = collections.defaultdict(list)
    for row in rows:
        by_service[row[0]].append(row)
    for history in by_service.values():
        # Each of all the reports is there once, and each node's in its order.
        for number in range(len(nodes)):
            mine = [info for _, _, _, info, *_ in history if info.startswith(f"{number} ")]
            assert mine == [f"{number} {round_}" for round_ in range(ROUNDS)]
        # All of them are one chain, and the service is as the last of them says.
        chained = {row[1]: row for row in history}
        at, chain = history[0][5], []
        while at is not None:
            chain.append(chained[at])
            at = chained[at][2]
        assert len(chain) == len(history)
        assert chain[0][6] == chain[0][1]
        assert chain[0][7] == chain[0][4]
        # Each change was seen by somebody, and by one only.
        before = "OK"
        for row in reversed(chain):
            assert row[8] == (row[4] != before), row
            before = row[4]


class Meeting:
    """Has all nodes begin their transactions before any of them goes on."""

    def __init__(self, nodes: list[Node]) -> None:
        self._barrier = threading.Barrier(len(nodes))
        self._met: set[int] = set()

    def record(
        self, tx: Transaction, node: Node, submissions: list[Submission], now: Times
    ) -> Recorded:
        tx.fetch("select 1 from servers")
        if id(node) not in self._met:
            self._met.add(id(node))
            self._barrier.wait(30)
        return node.recorder.record(tx, submissions, now)


def at_once(nodes: list[Node], batches: list[list[Submission]]) -> Deferred[list[Recorded]]:
    meeting = Meeting(nodes)
    return gatherResults(
        [
            ensureDeferred(
                node.store.write("store a report", meeting.record, node, batch, node.times())
            )
            for node, batch in zip(nodes, batches, strict=True)
        ]
    )


@pytest_twisted.ensureDeferred
async def test_one_key_wins_a_new_name(maria: MariaDatabase, nodes: list[Node]) -> None:
    for attempt in range(5):
        name = f"web{attempt}"
        batches = [
            [Submission(a_report(a_state(key), name=name, key=key), keys.derive(key))]
            for key in ("one", "two", "three")
        ]
        found = await at_once(nodes, batches)
        outcomes = [one.outcomes[0] for one in found]
        assert sum(isinstance(outcome, WrongKey) for outcome in outcomes) == 2
        [(winner, stored)] = maria.rows(
            "select services.name, key_derivation from services"
            " join servers on servers.id = server_id where servers.name = ?",
            name,
        )
        assert keys.verify(winner, stored)
        assert stored in outcomes


@pytest_twisted.ensureDeferred
async def test_a_new_name_with_one_key_is_one_server(
    maria: MariaDatabase, nodes: list[Node]
) -> None:
    for attempt in range(5):
        name = f"web{attempt}"
        # Each node has derived the key with a salt of its own.
        batches = [
            [
                Submission(
                    a_report(a_state("disk"), a_state(str(n)), name=name), keys.derive("secret")
                )
            ]
            for n in range(3)
        ]
        found = await at_once(nodes, batches)
        assert len({one.outcomes[0] for one in found}) == 1
        assert maria.rows(
            "select services.name, count(*) from states join services on services.id = service_id"
            " join servers on servers.id = server_id where servers.name = ? group by services.name"
            " order by services.name",
            name,
        ) == [("0", 1), ("1", 1), ("2", 1), ("disk", 3)]


@pytest_twisted.ensureDeferred
async def test_a_report_resent_to_another_node_is_stored_once(
    maria: MariaDatabase, nodes: list[Node]
) -> None:
    await nodes[0].record(a_report(a_state("disk")))
    for seq in range(1, 6):
        report = a_report(a_state("disk", info=str(seq)), spooled=("spool", seq))
        await at_once(nodes, [[Submission(report, "derived$secret")]] * 3)
    infos = maria.rows("select info from states order by id")
    assert infos == [("fine",), *((str(seq),) for seq in range(1, 6))]
    assert maria.rows("select seqs from spools") == [("1-5",)]


@pytest_twisted.ensureDeferred
async def test_a_late_service_is_marked_by_one_node(
    maria: MariaDatabase, nodes: list[Node]
) -> None:
    await nodes[0].record(*(a_report(a_state(f"s{n}")) for n in range(30)))
    ids = [id_ for (id_,) in maria.rows("select id from services")]
    for node in nodes:
        node.clock.advance(61)
    raised = await gatherResults([ensureDeferred(node.mark_late(*ids)) for node in nodes])
    assert sum(raised) == 30
    assert maria.rows("select count(*) from alerts where event = 'offline'") == [(30,)]


@pytest_twisted.ensureDeferred
async def test_a_server_deleted_amid_reports_comes_back_whole(
    maria: MariaDatabase, nodes: list[Node]
) -> None:
    reporting, deleting, _ = nodes
    batches = 40

    async def report() -> None:
        for n in range(batches):
            await reporting.record(a_report(a_state("disk", info=str(n)), spooled=("spool", n + 1)))

    def delete_all(tx: Transaction) -> None:
        for (id_,) in tx.fetch("select id from servers"):
            deleting.recorder.delete_server(tx, id_)

    async def delete() -> None:
        while not reported.called:
            await deleting.store.write("delete", delete_all)

    reported = ensureDeferred(report())
    await gatherResults([reported, ensureDeferred(delete())])
    await reporting.record(a_report(a_state("disk", info="last")))
    joined = "services join latest on latest.service_id = services.id"
    joined += " join states on states.id = state_id"
    assert maria.rows(f"select services.state, info from {joined}") == [("OK", "last")]
    assert maria.rows("select count(*) from services where name = ''") == [(0,)]
