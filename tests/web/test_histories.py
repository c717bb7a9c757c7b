"""The routes of timelines and graphs, and the pages that show them, over a real database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support_daemon import FakeClock, a_database, a_recorder, a_report, a_state, record
from twisted.internet.defer import Deferred, maybeDeferred
from web.doubles import TIMEOUT_S, Fixture
from web.page_doubles import Page

from overc.daemon.store import past
from overc.model import State
from overc.web import dashboard as dashboard_module
from overc.web import graphs, histories


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    path = a_database(tmp_path)
    clock, recorder = FakeClock(), a_recorder()
    for place, word in enumerate((State.OK, State.FAIL, State.OK, State.OK)):
        clock.wall_at = FakeClock().wall_at - 240 + 60 * place
        record(path, recorder, clock, a_report(a_state("disk", word, f"ok | 'a b'={place}%;80;90")))
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    return Fixture(path)


def test_timelines_and_graphs_are_json(web: Fixture) -> None:
    found = web.ask("GET", "/ui/api/timeline/service/1").json
    assert (found["tick_s"], len(found["ticks"])) == (900, 96)
    assert found["ticks"][-2]["state"] == "FAIL"
    assert found["ticks"][-2]["words"] == "FAIL 60 s, OK 3 min"
    assert found["availability"] == 75
    found = web.ask("GET", "/ui/api/timeline/server/1?hours=168").json
    assert [one["id"] for one in found["services"]] == [1]
    assert len(found["services"][0]["ticks"]) == 84
    found = web.ask("GET", "/ui/api/graphs/service/1").json
    [graph] = found["graphs"]
    assert (graph["unit"], graph["warn"], graph["crit"]) == ("%", [80], [90])
    assert graph["series"][0]["label"] == "a b"
    assert found["starts_at"] < found["now"] <= found["ends_at"]


@pytest.mark.parametrize(
    "path, code",
    [
        ("timeline/service/9", 404),
        ("timeline/server/9", 404),
        ("graphs/service/9", 404),
        ("timeline/service/1?hours=0", 400),
        ("graphs/service/1?hours=x", 400),
    ],
)
def test_refusals_say_what_is_wrong(web: Fixture, path: str, code: int) -> None:
    reply = web.ask("GET", f"/ui/api/{path}")
    assert reply.code == code
    assert re.search(r"there is no (service|server) 9|hours: ", reply.json["error"])


@pytest.mark.parametrize("hours", [1, 24, 168, 720, 2160, 87840])
def test_the_pages_take_any_range(web: Fixture, hours: int) -> None:
    for path in (f"/ui/service/1?hours={hours}", f"/ui/server/1?hours={hours}"):
        reply = web.ask("GET", path)
        assert reply.code == 200, reply.body
        assert "75 %" in Page(reply.body.decode()).text


def test_a_long_history_is_cut_and_says_so(web: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "HISTORY_MAX", 2)
    page = Page(web.ask("GET", "/ui/service/1").body.decode())
    assert "These are the newest 2 reports." in page.text
    monkeypatch.setattr(histories, "HISTORY_MAX", 4)
    assert "These are the newest" not in Page(web.ask("GET", "/ui/service/1").body.decode()).text


def test_more_states_than_can_be_shown_are_shown_by_the_hour(
    web: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "SEEN_MAX", 3)
    found = web.ask("GET", "/ui/api/timeline/service/1").json
    assert (found["tick_s"], found["availability"]) == (3600, 75)
    assert len(web.ask("GET", "/ui/api/graphs/service/1").json["graphs"]) == 1


@pytest.mark.parametrize("module, name, most", [(graphs, "VALUES_MAX", 3), (past, "CHARS_MAX", 40)])
def test_more_values_than_can_be_drawn_are_drawn_by_the_hour(
    web: Fixture, monkeypatch: pytest.MonkeyPatch, module: object, name: str, most: int
) -> None:
    def times() -> list[int]:
        [graph] = web.ask("GET", "/ui/api/graphs/service/1").json["graphs"]
        found: list[int] = graph["series"][0]["times"]
        return found

    assert len(times()) == 2
    monkeypatch.setattr(module, name, most)
    assert [at % 3600 for at in times()] == [0]


def test_a_history_of_long_infos_is_cut_and_says_so(
    web: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "CHARS_MAX", 30)
    page = Page(web.ask("GET", "/ui/service/1").body.decode())
    assert "These are the newest 2 reports." in page.text


PATHS = [
    "/ui/api/graphs/service/1",
    "/ui/api/timeline/server/1",
    "/ui/api/status/service/1/states",
    "/ui/service/1",
    "/ui/server/1",
]


def test_one_history_is_read_at_a_time(web: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when its reader has gone: a thread can't be stopped. Others would have to wait."""
    reads: list[Deferred[None]] = []

    def wait(description: str) -> Deferred[None] | None:
        if description not in ("read a history", "read timelines", "read graphs"):
            return None
        reads.append(Deferred(lambda ended: None))
        return reads[-1]

    web.store.fault = wait
    wires = [web.wire() for _ in PATHS]
    for wire, path in zip(wires, PATHS, strict=True):
        wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert len(reads) == 1
    web.reactor.advance(TIMEOUT_S)
    assert [wire.replies()[0].code for wire in wires] == [503] * len(PATHS)
    again = web.wire()
    again.send(f"GET {PATHS[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert len(reads) == 1
    reads[0].callback(None)
    # Those who have gone are passed over.
    assert len(reads) == 2
    reads[1].callback(None)
    assert again.replies()[0].code == 200


def test_too_many_who_want_histories_are_sent_away(
    web: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: Deferred[None] = Deferred()
    web.store.fault = lambda description: waits if description == "read graphs" else None
    wires = [web.wire() for _ in range(1 + histories.WAITING_MAX)]
    for wire in wires:
        wire.send(f"GET {PATHS[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for path in PATHS:
        reply = web.ask("GET", path)
        assert (reply.code, reply.headers["retry-after"]) == (503, "10")
    web.store.fault = lambda description: None
    waits.callback(None)
    assert {wire.replies()[0].code for wire in wires} == {200}
