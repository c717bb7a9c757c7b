"""What can be asked of the event stream."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import a_database
from web.doubles import UI, Fixture, basic, populate

from overc.web.access import Refusal
from overc.web.live import read_wanted
from overc.web.live_topics import Selected

LIVE = "/ui/api/live"


@pytest.fixture
def web(tmp_path: Path) -> Fixture:
    return Fixture(a_database(tmp_path))


@pytest.mark.parametrize(
    "query",
    [
        "rows=1",
        "topic=all",
        "server=x",
        "service=-1",
        "since=x",
        "since=" + "9" * 30,
        "rows=yes&server=1",
        "server=1&service=1",
        "topic=alerts&service=1",
    ],
)
def test_what_can_not_be_asked_for(web: Fixture, query: str) -> None:
    refused = web.ask("GET", f"{LIVE}?{query}")
    assert refused.code == 400
    assert refused.error
    with pytest.raises(Refusal):
        read_wanted({k.encode(): [v.encode()] for k, v in _pairs(query)}, None)


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(one.partition("=")[0], one.partition("=")[2]) for one in query.split("&")]


def test_what_can_be_asked_for() -> None:
    wanted = read_wanted({b"service": [b"3"], b"since": [b"7"]}, None)
    assert (wanted.selected, wanted.rows, wanted.since) == (Selected(service_id=3), False, 7)
    assert read_wanted({b"since": [b"7"]}, "9").since == 9
    assert read_wanted({}, None).since is None


def test_the_head_of_a_stream(web: Fixture) -> None:
    found = web.ask("HEAD", LIVE)
    assert (found.code, found.body) == (200, b"")
    assert found.headers["content-type"] == "text/event-stream"
    assert web.store.calls == []


def test_other_methods_and_strangers(tmp_path: Path) -> None:
    path = a_database(tmp_path)
    populate(path)
    guarded = Fixture(path, ui_auth=UI)
    assert guarded.ask("GET", LIVE).code == 401
    assert guarded.ask("HEAD", LIVE).code == 401
    assert guarded.ask("HEAD", LIVE, headers=basic("ui", "two")).code == 200
    assert Fixture(path).ask("POST", LIVE).code == 405
