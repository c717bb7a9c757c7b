"""What people do with servers, services and keys shows on open pages as soon as a commit does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support_daemon import a_database, in_transaction
from twisted.internet.defer import Deferred
from web.test_live import Desk

from overc.daemon.store import rejected_keys
from overc.web.live import LEAST_S, TICK_S


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(a_database(tmp_path))


def ask(desk: Desk, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    sent = b"" if body is None else json.dumps(body).encode()
    assert desk.web.ask(method, f"/ui/api/{path}", sent).code == 200


@pytest.mark.parametrize(
    "method, path, body, told",
    [
        ("PATCH", "item/service/2", {"title": "CPU"}, [{"label": "CPU"}]),
        ("DELETE", "item/service/2", None, {"services": [2]}),
        ("DELETE", "item/server/2", None, {"services": [3], "servers": [2]}),
        ("POST", "forget", {"services": [2, 3]}, {"services": [2, 3]}),
    ],
)
def test_what_people_rename_and_delete_shows_soon(
    desk: Desk, method: str, path: str, body: dict[str, Any] | None, told: Any
) -> None:
    stream = desk.opened("?rows=yes")
    desk.wait(TICK_S)
    ask(desk, method, path, body)
    desk.wait(LEAST_S)
    [event] = stream.new("rows")
    if isinstance(told, dict):
        assert {kind: sorted(ids) for kind, ids in event.data["gone"].items()} == told
    else:
        assert [{"label": row["label"]} for row in event.data["services"]] == told


def test_a_renamed_server_shows_soon(desk: Desk) -> None:
    rows, page = desk.opened("?rows=yes"), desk.opened("?server=2")
    desk.wait(TICK_S + LEAST_S)
    page.new()
    ask(desk, "PATCH", "item/server/2", {"title": "The shop"})
    desk.wait(LEAST_S)
    [event] = rows.new("rows")
    assert [one["label"] for one in event.data["servers"]] == ["The shop"]
    assert page.kinds() == ["changed"]


def test_a_rename_while_a_round_is_under_way_shows_soon(desk: Desk) -> None:
    """What that round has read by then is older."""
    stream = desk.opened("?rows=yes")
    held: Deferred[None] = Deferred()
    real = desk.web.store.read

    async def read(description: str, *arguments: Any, **named: Any) -> Any:
        found = await real(description, *arguments, **named)
        if description == "read the status" and not held.called:
            await held
        return found

    desk.web.store.read = read  # type: ignore[method-assign]
    desk.wait(TICK_S)
    ask(desk, "PATCH", "item/server/2", {"title": "The shop"})
    held.callback(None)
    desk.wait(LEAST_S)
    [event] = stream.new("rows")
    assert [one["label"] for one in event.data["servers"]] == ["The shop"]


@pytest.mark.parametrize("method, path", [("POST", "/accept"), ("DELETE", "")])
def test_a_refused_key_that_is_looked_after_is_no_banner_any_more(
    desk: Desk, method: str, path: str
) -> None:
    now_at = desk.clock.wall()
    tried = [rejected_keys.Tried(1, "new", "192.0.2.66", now_at, now_at, 1)]
    in_transaction(desk.path, rejected_keys.note, tried, now_at)
    stream = desk.stream()
    desk.wait(TICK_S)
    assert stream.new("now")[-1].data["banners"] != []
    ask(desk, method, f"rejected-keys/1{path}")
    desk.wait(LEAST_S)
    [event] = stream.new("now")
    assert event.data["banners"] == []
