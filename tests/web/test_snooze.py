from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support_daemon import WALL_AT, Reply, a_database
from web.attention_doubles import NOW, asked, refused, send, silences
from web.doubles import API, UI, Fixture, basic, populate

from overc.daemon.patterns import Patterns
from overc.daemon.recording import WrongKey
from overc.model import Report, ServerIdentity
from overc.web.shapes import utc

WEB1 = {"name": "web1", "key": "k"}


@pytest.fixture
def database(tmp_path: Path) -> str:
    """With web1/disk (1), which warns."""
    path = a_database(tmp_path)
    populate(path)
    return path


@pytest.fixture
def web(database: str) -> Fixture:
    return Fixture(database)


def snooze(web: Fixture, **sent: Any) -> Reply:
    return send(web, "POST", "/api/set/silence", {"server": WEB1, **sent})


def test_a_host_silences_itself(web: Fixture) -> None:
    answer = snooze(web, reason="new disk", **{"for": "20m"})
    ends_at = WALL_AT + 1200
    assert answer.json == {"ok": 1, "id": 1, "starts": NOW, "ends": utc(ends_at)}
    assert silences(web) == [("web1", "*", "web1", "new disk", WALL_AT, ends_at)]
    # Its key was proved, as a ping's is.
    assert web.intake.reports == [Report(ServerIdentity("web1", "k"), "192.0.2.7")]
    assert web.changes == 1


def test_a_host_silences_nobody_else(web: Fixture) -> None:
    body = {"server": {"name": "w*", "key": "k"}, "for": 60, "reason": "x", "servers": "*"}
    assert send(web, "POST", "/api/set/silence", {**body, "services": "d*"}).code == 200
    [(servers, services, author, *_)] = silences(web)
    assert (services, author) == ("d*", "w*")
    assert not Patterns(servers).match("web1")
    assert Patterns(servers).match("w*")


@pytest.mark.parametrize("name", [",,,,", "a,b", " web", "web ", "!web", "!"])
def test_a_name_that_would_silence_others_too(web: Fixture, name: str) -> None:
    body = {"server": {"name": name, "key": "k"}, "for": 60, "reason": "x"}
    answer = send(web, "POST", "/api/set/silence", body)
    assert answer.code == 409
    assert answer.error.startswith("a name with a comma, with white space at an end or a ! at its")
    assert (silences(web), web.intake.reports) == ([], [])


@pytest.mark.parametrize("name", ["web?", "[web]", "w*", "we b", "web!", "-o", "größe ☃"])
def test_any_other_name_silences_itself_exactly(web: Fixture, name: str) -> None:
    body = {"server": {"name": name, "key": "k"}, "for": 60, "reason": "x"}
    assert send(web, "POST", "/api/set/silence", body).code == 200
    servers = Patterns(silences(web)[0][0])
    assert servers.match(name)
    assert not any(servers.match(other) for other in ("web1", "w", "e", "web", "we-b", "weXb"))


def test_a_host_ends_its_own_silences_only(web: Fixture) -> None:
    for author, servers in [("ann", "web1"), ("web1", "*")]:
        sent = {"for": "1h", "reason": "x", "author": author, "servers": servers}
        asked(web, "POST", "/ui/api/silences", sent)
    snooze(web, reason="x", **{"for": 1})
    web.clock.advance(1)
    for _ in range(2):
        snooze(web, reason="x", **{"for": 600})
    web.clock.advance(5)
    assert snooze(web, end=True).json == {"ok": 1, "ended": 2}
    now_at = WALL_AT + 6
    ends = [ends_at - now_at for *_, ends_at in silences(web)]
    assert ends == [3594, 3594, -5, 0, 0]
    assert snooze(web, end=True).json == {"ok": 1, "ended": 0}


SNOOZE = 'give "for", such as "20m", and "reason"; or "end": true alone'


@pytest.mark.parametrize(
    "sent, sentence",
    [
        ({}, SNOOZE),
        ({"for": 60}, SNOOZE),
        ({"for": 60, "reason": ""}, SNOOZE),
        ({"reason": "x"}, SNOOZE),
        ({"for": 60, "reason": "x", "end": True}, SNOOZE),
        ({"for": "400d", "reason": "x"}, "for: expected more than 0 seconds and at most 366 days"),
        ({"end": 1}, "end: expected true or false, got a number"),
    ],
)
def test_a_host_that_does_not_say_for_how_long(
    web: Fixture, sent: dict[str, Any], sentence: str
) -> None:
    assert refused(snooze(web, **sent)) == (400, sentence)
    assert (silences(web), web.intake.reports) == ([], [])


def test_a_host_with_a_bad_pattern(web: Fixture) -> None:
    answer = snooze(web, reason="x", services="!", **{"for": 60})
    assert refused(answer)[0] == 400
    assert silences(web) == []


@pytest.mark.parametrize("sent", [{"for": 60, "reason": "x"}, {"end": True}])
def test_a_host_with_a_wrong_key_silences_nothing(web: Fixture, sent: dict[str, Any]) -> None:
    web.intake.error = WrongKey("web1")
    answer = snooze(web, **sent)
    assert answer.code == 403
    assert answer.error.startswith('Invalid server key for "web1"')
    assert (silences(web), web.changes) == ([], 0)


def test_snooze_is_for_hosts_and_all_else_for_people(database: str) -> None:
    web = Fixture(database, API, UI)
    sent = {"server": WEB1, "for": 60, "reason": "x"}
    for path, right, wrong in [
        ("/api/set/silence", API, UI),
        ("/ui/api/silences", UI, API),
    ]:
        assert send(web, "POST", path, sent, **basic(wrong.user, wrong.password)).code == 401
        assert send(web, "POST", path, sent, **basic(right.user, right.password)).code in (200, 400)
