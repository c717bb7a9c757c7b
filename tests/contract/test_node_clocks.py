"""Processes on one database whose clocks are apart."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import Database, MariaDatabase, Node
from support_daemon import our_log
from twisted.internet.defer import ensureDeferred

from overc.daemon.node_clocks import FORGET_S, GONE_S, HEARD, LOOK_S, TELL_S, Lead, NodeClocks
from overc.daemon.store import clocks
from overc.daemon.store.clocks import Told
from overc.daemon.store.engine import Store
from overc.daemon.store.errors import StorageError

APART_S = 30.0
NOBODY = Lead(0.0, False)


class Processes:
    """Some that share a database, for whom time passes alike. They look one after the other."""

    def __init__(self, stores: list[Store]) -> None:
        self.stores = stores
        self.nodes = [Node(store) for store in stores]
        self.clocks = [
            NodeClocks(node.store, node.clock, f"node{number}")
            for number, node in enumerate(self.nodes, 1)
        ]

    def set_clock(self, number: int, by_s: float) -> None:
        self.nodes[number].clock.advance(by_s)

    async def pass_time(self, span_s: float, *numbers: int) -> list[Lead]:
        """Have those of these numbers look as often as they do; return what each found last, and
        whether anything was lost on the way.
        """
        found = [NOBODY] * len(self.nodes)
        lost = [False] * len(self.nodes)
        for _ in range(round(span_s / LOOK_S)):
            for node in self.nodes:
                node.clock.advance(LOOK_S)
            for number in numbers:
                found[number] = await self.clocks[number].look()
                lost[number] |= found[number].lost
        return [Lead(round(lead.lead_s, 3), lost[number]) for number, lead in enumerate(found)]


@pytest.fixture
def two(maria: MariaDatabase, stores: Stores) -> Processes:
    opening = [ensureDeferred(stores.open(maria)) for _ in range(2)]
    return Processes([pytest_twisted.blockon(one) for one in opening])


@pytest_twisted.ensureDeferred
async def test_where_nobody_else_can_write_nothing_is_told(database: Database, node: Node) -> None:
    others = NodeClocks(node.store, node.clock, "node1")
    assert await others.look() == NOBODY
    if not database.shared:
        told = await node.store.read("look", clocks.told)
        assert told is None
    else:
        assert len(database.rows("select * from clocks")) == 1
    await others.leave()
    if database.shared:
        assert database.rows("select * from clocks") == []


@pytest_twisted.ensureDeferred
async def test_the_one_that_is_ahead_knows_it(two: Processes) -> None:
    two.set_clock(1, APART_S)
    assert await two.pass_time(5, 0, 1) == [NOBODY, Lead(APART_S, False)]


@pytest.mark.parametrize("apart_s", [0.0, 0.7, -0.7])
@pytest_twisted.ensureDeferred
async def test_a_little_is_nothing(two: Processes, apart_s: float) -> None:
    two.set_clock(1, apart_s)
    with our_log() as lines:
        assert await two.pass_time(5, 0, 1) == [NOBODY, NOBODY]
    assert lines == []


@pytest_twisted.ensureDeferred
async def test_it_is_said_once_by_both(two: Processes) -> None:
    two.set_clock(1, APART_S)
    with our_log() as lines:
        await two.pass_time(20, 0, 1)
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        " the clock of node node1 is 30.0 s behind ours",
        # It was heard at the next look.
        " the clock of node node2 is 29.8 s ahead of ours",
    ]


@pytest_twisted.ensureDeferred
async def test_what_was_long_on_its_way_is_no_lead(two: Processes) -> None:
    await two.pass_time(TELL_S * HEARD, 0, 1)
    # What the first one says now is heard much later, time and again, but not always.
    for _ in range(HEARD - 1):
        await two.pass_time(TELL_S + LOOK_S, 0)
        assert await two.pass_time(3 * LOOK_S, 1) == [NOBODY, NOBODY]


@pytest_twisted.ensureDeferred
async def test_one_that_ended_long_ago(two: Processes) -> None:
    store = two.stores[0]
    before = Told("old", "node0", two.nodes[0].clock.steady() - 3600)
    await store.write("tell", clocks.tell, before)
    with our_log() as lines:
        # It may run, for all that is known.
        [lead, _] = await two.pass_time(GONE_S - 1, 0)
        assert lead.lead_s > 3600 - 1
        assert await two.pass_time(2, 0) == [NOBODY, NOBODY]
        told = await store.read("look", clocks.told)
        assert told is not None
        assert {one.node for one in told} == {"node0", "node1"}
        await two.pass_time(FORGET_S, 0)
    told = await store.read("look", clocks.told)
    assert told is not None
    assert [one.node for one in told] == ["node1"]
    assert lines == []


@pytest.mark.parametrize("leaves", [True, False])
@pytest_twisted.ensureDeferred
async def test_one_that_was_behind_is_gone(two: Processes, leaves: bool) -> None:
    two.set_clock(1, APART_S)
    await two.pass_time(5, 0, 1)
    if leaves:
        await two.clocks[0].leave()
        assert await two.pass_time(LOOK_S, 1) == [NOBODY, Lead(0.0, True)]
    else:
        found = await two.pass_time(GONE_S - TELL_S, 1)
        assert found[1] == Lead(APART_S, False)
        assert await two.pass_time(TELL_S + 1, 1) == [NOBODY, Lead(0.0, True)]
    assert await two.pass_time(30, 1) == [NOBODY, NOBODY]


@pytest_twisted.ensureDeferred
async def test_that_it_is_gone_is_told_when_the_database_is_back(
    two: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.set_clock(1, APART_S)
    await two.pass_time(5, 0, 1)
    await two.clocks[0].leave()

    async def fail(*_: object) -> None:
        raise StorageError("the node is gone")

    two.nodes[1].clock.advance(TELL_S)
    with monkeypatch.context() as patch:
        patch.setattr(two.stores[1], "write", fail)
        with pytest.raises(StorageError):
            await two.clocks[1].look()
    assert await two.pass_time(LOOK_S, 1) == [NOBODY, Lead(0.0, True)]
    assert await two.pass_time(LOOK_S, 1) == [NOBODY, NOBODY]


@pytest_twisted.ensureDeferred
async def test_one_that_was_right_or_ahead_leaves_nothing(two: Processes) -> None:
    two.set_clock(1, APART_S)
    await two.pass_time(5, 0, 1)
    assert await two.pass_time(30, 0) == [NOBODY, NOBODY]


@pytest_twisted.ensureDeferred
async def test_one_that_hung_comes_back(two: Processes) -> None:
    two.set_clock(1, APART_S)
    await two.pass_time(5, 0, 1)
    await two.pass_time(20, 1)
    # Its clock went on meanwhile.
    assert await two.pass_time(5, 0, 1) == [NOBODY, Lead(APART_S, False)]


@pytest_twisted.ensureDeferred
async def test_who_could_not_listen_misses_nobody(two: Processes) -> None:
    two.set_clock(1, APART_S)
    await two.pass_time(5, 0, 1)
    await two.pass_time(30, 0)
    assert await two.pass_time(5, 0, 1) == [NOBODY, Lead(APART_S, False)]
    await two.pass_time(30)
    assert await two.pass_time(LOOK_S, 1) == [NOBODY, Lead(APART_S, False)]


@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_database_that_is_away(two: Processes, stores: Stores) -> None:
    await two.pass_time(LOOK_S, 0)
    store = two.stores[0]
    two.set_clock(0, 1)
    stores.close(store)
    with pytest.raises(StorageError):
        await two.clocks[0].look()
    asked: list[str] = []

    async def write(description: str, *_: object) -> None:
        asked.append(description)

    store.write = write  # type: ignore[method-assign,assignment]
    await two.clocks[0].leave()
    assert asked == []
