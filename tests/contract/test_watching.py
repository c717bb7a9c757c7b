"""What those who look at alerts ask for again and again."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from contract.nodes import WALL_AT, Node
from contract.test_explain import a_row, insert
from contract.test_told import add_alerts

from overc.daemon.store import silences, watching
from overc.daemon.store.watching import Attempted, SilenceTimes, watch


def an_attempt(outbox_id: int) -> dict[str, Any]:
    return {
        "outbox_id": outbox_id, "tried_at": WALL_AT, "took_s": 0.5, "delivered": 0, "words": "no",
    }  # fmt: skip


async def look(node: Node, after: int | None, ended_since_at: float = WALL_AT) -> Any:
    return await node.store.read("look", watch, after, ended_since_at)


@pytest_twisted.ensureDeferred
async def test_attempts_that_came(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await look(node, None) == (None, 0, [])
    assert await look(node, 0) == ([], 0, [])
    [alert] = await add_alerts(node, 1)
    mail, own = await insert(
        node.store,
        "outbox",
        a_row(alert, "mail", "pending", server_id=1, service_id=1),
        a_row(alert, "chat", "pending", server_id=None, service_id=None),
    )
    first, second, third = await insert(node.store, "attempts", *map(an_attempt, (mail, own, mail)))
    found = await look(node, 0)
    assert found.attempts == [
        Attempted(first, 1, 1), Attempted(second, None, None), Attempted(third, 1, 1),
    ]  # fmt: skip
    assert found.last_attempt_id == third
    assert (await look(node, second)).attempts == [Attempted(third, 1, 1)]
    assert await look(node, third) == ([], third, [])
    assert await look(node, None) == (None, third, [])
    # More than are told one by one.
    monkeypatch.setattr(watching, "ATTEMPTS_MAX", 2)
    assert await look(node, 0) == (None, third, [])
    assert (await look(node, first)).attempts is not None


@pytest_twisted.ensureDeferred
async def test_silences_that_are_not_long_over(node: Node) -> None:
    spans = [(-100.0, -50.0), (-100.0, 50.0), (50.0, 100.0)]
    ids = [
        await node.store.write(
            "silence", silences.add, "*", "*", "ann", "work",
            WALL_AT + begin, WALL_AT + end, WALL_AT,
        )
        for begin, end in spans
    ]  # fmt: skip
    found = (await look(node, 0)).silences
    assert found == [
        SilenceTimes(id_, WALL_AT + begin, WALL_AT + end)
        for id_, (begin, end) in zip(ids, spans, strict=True)
        if end > 0
    ]
