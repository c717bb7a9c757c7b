"""Names are exact: what differs in one character is another name, on every engine."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import unicodedata

import pytest
import pytest_twisted
from contract.nodes import Database, Node, a_report, a_state

from overc.model import State

ALIKE = [
    ("web", "Web"),
    ("web", "wéb"),
    ("web", "web "),
    ("web", " web"),
    ("strasse", "straße"),
    (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
    ("\N{BUG}", "\N{SNAIL}"),
    ("İ", "i"),
    ("a\N{ZERO WIDTH SPACE}", "a"),
    ("x" * 254 + "a", "x" * 254 + "b"),
    ("\N{BUG}" * 255, "\N{BUG}" * 254),
    ("100%", "100%%"),
    ("a\\", "a\\\\"),
    ("?", "%s"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
@pytest_twisted.ensureDeferred
async def test_servers_that_are_alike(database: Database, node: Node, one: str, other: str) -> None:
    for name, key in [(one, "one"), (other, "other")] * 2:
        recorded = await node.record(a_report(name=name, key=key))
        assert recorded.outcomes == (f"derived${key}",)
    assert database.rows("select name from servers order by id") == [(one,), (other,)]


@pytest.mark.parametrize(("one", "other"), ALIKE)
@pytest_twisted.ensureDeferred
async def test_services_that_are_alike(
    database: Database, node: Node, one: str, other: str
) -> None:
    await node.record(a_report(a_state(one), a_state(other, State.FAIL)))
    await node.record(a_report(a_state(other, State.WARN), a_state(one, State.UNK)))
    assert database.rows("select name, state from services order by id") == [
        (one, "UNK"),
        (other, "WARN"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_number_is_another_name_than_its_like(database: Database, node: Node) -> None:
    for name in ("0", "00", "0.0", "0e1"):
        await node.record(a_report(name=name))
    assert database.rows("select count(*) from servers") == [(4,)]


@pytest.mark.parametrize(
    "text",
    ["", " ", "\0", "a\0b", "\r\n\t\x1a", "%s", "'; drop table servers; --", "\uffff", "\\'"],
)
@pytest_twisted.ensureDeferred
async def test_texts_come_back_as_they_were(database: Database, node: Node, text: str) -> None:
    await node.record(a_report(a_state("disk", info=text), name=f"web{text}"))
    assert database.rows("select info from states") == [(text,)]
    assert database.rows("select name from servers") == [(f"web{text}",)]


@pytest_twisted.ensureDeferred
async def test_times_and_numbers_come_back_as_they_were(database: Database, node: Node) -> None:
    node.clock.wall_at = 1772359200.123456
    node.clock.steady_at = 98765.4321
    await node.record(a_report(a_state("disk", period_s=2**31 - 1)))
    assert database.rows(
        "select registered_at, period_s, deadline_at, latest.seen_at, received_at"
        " from servers join services on services.server_id = servers.id"
        " join latest on latest.service_id = services.id"
        " join states on states.id = state_id"
    ) == [
        (1772359200.123456, 2**31 - 1, 98765.4321 + 2**31 - 1, 1772359200.123456, 1772359200.123456)
    ]
