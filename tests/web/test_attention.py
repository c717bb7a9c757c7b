from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support_daemon import WALL_AT, a_database, change, rows
from web.attention_doubles import HOUR_S, NOW, WHICH, Always, asked, refused, send, silences
from web.doubles import Fixture, basic, populate

from overc.daemon.alerting.routing import Maintenance
from overc.daemon.patterns import Patterns
from overc.web.shapes import utc


@pytest.fixture
def database(tmp_path: Path) -> str:
    """With web1/disk (1), which warns."""
    path = a_database(tmp_path)
    populate(path)
    return path


@pytest.fixture
def web(database: str) -> Fixture:
    return Fixture(database)


def acks(web: Fixture) -> list[tuple[Any, ...]]:
    return rows(web.path, "select service_id, author, reason, acked_at from acks")


@pytest.mark.parametrize("which", [{"service_id": 1}, {"server": "web1", "service": "disk"}])
def test_acknowledge_and_take_it_back(web: Fixture, which: dict[str, Any]) -> None:
    sent = {**which, "author": "ann", "reason": "on it"}
    assert asked(web, "POST", "/ui/api/ack", sent) == {"ok": 1, "service_id": 1}
    assert acks(web) == [(1, "ann", "on it", WALL_AT)]
    assert web.changes == 1
    assert asked(web, "DELETE", "/ui/api/ack", which) == {"ok": 1, "service_id": 1}
    assert acks(web) == []
    assert web.changes == 2
    sentence = "nobody has acknowledged a problem of this service"
    assert refused(send(web, "DELETE", "/ui/api/ack", which)) == (409, sentence)
    assert web.changes == 2


def test_only_a_problem_can_be_acknowledged(web: Fixture) -> None:
    change(web.path, "update services set state = 'OK'")
    answer = send(web, "POST", "/ui/api/ack", {"service_id": 1, "reason": "x"})
    sentence = 'Nothing is wrong with "disk": only a problem can be acknowledged'
    assert refused(answer) == (409, sentence)
    assert acks(web) == []


@pytest.mark.parametrize(
    "which, code, sentence",
    [
        ({}, 400, WHICH),
        ({"server": "web1"}, 400, WHICH),
        ({"service": "disk"}, 400, WHICH),
        ({"server": "web1", "service": ""}, 400, WHICH),
        ({"service_id": None}, 400, WHICH),
        ({"service_id": 2}, 404, "there is no service 2: it may have been deleted"),
        ({"service_id": -1}, 404, "there is no service -1: it may have been deleted"),
        ({"service_id": 10**30}, 404, "there is no service of this id: it may have been deleted"),
        ({"server": "web1", "service": "d'"}, 404, "'web1' has no service \"d'\""),
        ({"server": "web2", "service": "disk"}, 404, "'web2' has no service 'disk'"),
        (
            {"service_id": "1"},
            400,
            "service_id: expected a whole number, got a string",
        ),
        ({"server": 1}, 400, "server: expected a string, got a number"),
    ],
)
def test_a_service_that_is_not_there(
    web: Fixture, which: dict[str, Any], code: int, sentence: str
) -> None:
    for method, more in (("POST", {"reason": "x"}), ("DELETE", {})):
        answer = send(web, method, "/ui/api/ack", {**which, **more})
        assert refused(answer) == (code, sentence)


@pytest.mark.parametrize(
    "method, path, body, code, sentence",
    [
        ("POST", "/ui/api/ack", b"", 400, "the body is empty: expected a JSON object"),
        ("POST", "/ui/api/ack", b"[]", 400, "the body: expected an object, got a list"),
        ("POST", "/ui/api/ack", b'{"service_id": 1}', 400, "reason: is missing"),
        (
            "POST",
            "/ui/api/ack",
            b'{"service_id": 1, "service_id": 2, "reason": "x"}',
            400,
            'the key "service_id" stands twice in one object',
        ),
        (
            "POST",
            "/ui/api/ack",
            b'{"service_id": 1, "reason": "\\u0000"}',
            400,
            "reason: a NUL character (\\u0000) can't be stored: remove it",
        ),
        (
            "POST",
            "/ui/api/silences",
            b'{"for": 1,}',
            400,
            "the body is not JSON: remove the trailing comma at byte 10",
        ),
        ("POST", "/ui/api/silences", b'{"for": 60}', 400, "reason: is missing"),
        ("POST", "/api/set/silence", b"{}", 400, "server: is missing"),
        (
            "POST",
            "/ui/api/alert-test",
            b'{"plugin": 1}',
            400,
            "plugin: expected a string, got a number",
        ),
    ],
)
def test_malformed_bodies(
    web: Fixture, method: str, path: str, body: bytes, code: int, sentence: str
) -> None:
    assert refused(web.ask(method, path, body)) == (code, sentence)
    assert (acks(web), silences(web), web.changes) == ([], [], 0)


def test_an_encoded_body_is_not_taken(web: Fixture) -> None:
    answer = send(
        web, "POST", "/ui/api/silences", {"for": 60, "reason": "x"}, **{"Content-Encoding": "gzip"}
    )
    assert refused(answer) == (415, "Content-Encoding 'gzip' is not taken: send the body as it is")


@pytest.mark.parametrize(
    "given, headers, author",
    [
        ("ann", basic("bob", "x"), "ann"),
        (None, basic("bob", "x"), "bob"),
        ("", basic("bob", "x"), "bob"),
        (None, {"Authorization": "Basic %"}, "192.0.2.7"),
        (None, {"Authorization": "Bearer x"}, "192.0.2.7"),
        (None, {}, "192.0.2.7"),
    ],
)
def test_who_says_so(web: Fixture, given: str | None, headers: dict[str, str], author: str) -> None:
    sent = {"service_id": 1, "reason": "x", "author": given}
    assert send(web, "POST", "/ui/api/ack", sent, **headers).code == 200
    assert acks(web)[0][1] == author


@pytest.mark.parametrize(
    "sent, starts_at, ends_at",
    [
        ({"for": 60}, WALL_AT, WALL_AT + 60),
        ({"for": "2h"}, WALL_AT, WALL_AT + 2 * HOUR_S),
        ({"for": 0.5}, WALL_AT, WALL_AT + 0.5),
        ({"until": WALL_AT + 5}, WALL_AT, WALL_AT + 5),
        ({"until": "2026-03-01 11:00"}, WALL_AT, WALL_AT + HOUR_S),
        ({"until": "2026-03-01 11:00:00.5"}, WALL_AT, WALL_AT + HOUR_S + 0.5),
        ({"until": "2026-03-01T11:00:00Z"}, WALL_AT, WALL_AT + HOUR_S),
        ({"until": "2026-03-01T13:00:00+02:00"}, WALL_AT, WALL_AT + HOUR_S),
        ({"from": "2026-03-01 12:00", "for": "1h"}, WALL_AT + 2 * HOUR_S, WALL_AT + 3 * HOUR_S),
        ({"from": "2026-03-01 09:00", "for": "1h"}, WALL_AT, WALL_AT + HOUR_S),
        ({"from": None, "until": None, "for": 1}, WALL_AT, WALL_AT + 1),
    ],
)
def test_silence(web: Fixture, sent: dict[str, Any], starts_at: float, ends_at: float) -> None:
    whole = {"servers": "web*, !web9", "services": "disk", "author": "ann", "reason": "swap"}
    found = asked(web, "POST", "/ui/api/silences", {**whole, **sent})
    assert found == {"ok": 1, "id": 1, "starts": utc(starts_at), "ends": utc(ends_at)}
    assert silences(web) == [("web*, !web9", "disk", "ann", "swap", starts_at, ends_at)]
    assert web.changes == 1


TIME = "expected a time in UTC such as 2026-12-01 06:00, got"
ONE_OF = 'give either "for", such as "2h", or "until", a time in UTC'


@pytest.mark.parametrize(
    "sent, sentence",
    [
        ({}, ONE_OF),
        ({"for": 60, "until": WALL_AT + 60}, ONE_OF),
        ({"for": 0}, "for: expected more than 0 seconds and at most 366 days"),
        ({"for": -1}, "for: expected more than 0 seconds and at most 366 days"),
        ({"for": "367d"}, "for: expected more than 0 seconds and at most 366 days"),
        ({"for": 10**400}, "for: int too large to convert to float"),
        ({"for": "soon"}, "for: expected a duration such as 90, 5m or 1h30m, got 'soon'"),
        ({"for": True}, "for: expected a number or a string, got true or false"),
        ({"until": "noon"}, f"until: {TIME} 'noon'"),
        ({"until": "2026-02-30 06:00"}, f"until: {TIME} '2026-02-30 06:00'"),
        ({"until": -1}, "until: expected epoch seconds, got another number"),
        ({"until": 10**30}, "until: expected epoch seconds, got another number"),
        ({"for": 60, "from": "x"}, f"from: {TIME} 'x'"),
        (
            {"until": "2026-03-01 10:00"},
            "the silence would end before it starts: give a later end",
        ),
        (
            {"until": "2028-03-01 10:00"},
            "a silence lasts 366d at most: for what is not to be sent at all,"
            " change the [alert:...] section",
        ),
        (
            {"for": 60, "servers": " , "},
            "servers: expected names such as web*, db1 or !web9, got ' , '",
        ),
        (
            {"for": 60, "reason": " "},
            "a reason is missing: say who you are and why, others will read it",
        ),
    ],
)
def test_no_silence(web: Fixture, sent: dict[str, Any], sentence: str) -> None:
    answer = send(web, "POST", "/ui/api/silences", {"reason": "x", **sent})
    assert refused(answer) == (400, sentence)
    assert (silences(web), web.changes) == ([], 0)


def keep_back(web: Fixture, silence_id: int, *plugins: str) -> None:
    """Have a silence keep the first alert back."""
    for plugin in plugins:
        change(
            web.path,
            "insert into outbox (alert_id, plugin, status, due_at, silence_id)"
            " values (1, ?, 'silenced', ?, ?)",
            plugin,
            WALL_AT,
            silence_id,
        )


def test_the_list_of_silences(web: Fixture) -> None:
    asked_for: list[tuple[str, dict[str, Any]]] = [
        ("running", {"for": "2h"}),
        ("coming", {"from": WALL_AT + 60, "for": 60}),
        ("over", {"for": 1}),
        ("ended", {"for": "2h"}),
    ]
    for reason, sent in asked_for:
        asked(web, "POST", "/ui/api/silences", {"reason": reason, "author": "ann", **sent})
    web.clock.advance(2)
    assert asked(web, "DELETE", "/ui/api/silences/4") == {"ok": 1}
    keep_back(web, 1, "mail", "chat")
    found = asked(web, "GET", "/ui/api/silences")
    listed = [(one["id"], one["reason"], one["status"]) for one in found["silences"]]
    assert listed == [
        (4, "ended", "ended"),
        (3, "over", "ended"),
        (2, "coming", "coming"),
        (1, "running", "running"),
    ]
    assert found["silences"][3] == {
        "id": 1,
        "status": "running",
        "servers": "*",
        "services": "*",
        "author": "ann",
        "reason": "running",
        "created": NOW,
        "starts": NOW,
        "ends": utc(WALL_AT + 2 * HOUR_S),
        "n_alerts": 1,
        "alerts": [
            {
                "id": 1,
                "server": "web1",
                "service": "disk",
                "service_id": 1,
                "ctime": NOW,
                "channel": "service:state",
                "event": "WARN",
                "message": 'State changed: "(?)" -> "WARN"',
            }
        ],
    }
    assert found["maintenance"] == []
    # What ended long ago is not listed any more.
    web.clock.advance(24 * HOUR_S + 1)
    found = asked(web, "GET", "/ui/api/silences")
    assert [one["id"] for one in found["silences"]] == [2, 1]


def test_maintenance_is_listed(database: str) -> None:
    windows = (
        Maintenance("backups", Always(WALL_AT + 60), Patterns("db*"), Patterns("backup")),
        Maintenance("never", Always(None)),
    )
    web = Fixture(database, maintenances=windows)
    assert asked(web, "GET", "/ui/api/silences")["maintenance"] == [
        {
            "name": "backups",
            "servers": "db*",
            "services": "backup",
            "running_until": utc(WALL_AT + 60),
        },
        {"name": "never", "servers": "*", "services": "*", "running_until": None},
    ]


def test_a_silence_that_can_t_be_ended(web: Fixture) -> None:
    asked(web, "POST", "/ui/api/silences", {"reason": "x", "for": 1})
    web.clock.advance(1)
    assert refused(web.ask("DELETE", "/ui/api/silences/2")) == (404, "there is no silence 2")
    answer = web.ask("DELETE", "/ui/api/silences/1")
    assert refused(answer) == (409, "Silence 1 is over already")
    assert web.changes == 1
