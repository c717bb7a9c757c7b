from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import WALL_AT, a_database, change, our_log, result_of
from twisted.internet.defer import Deferred
from web.attention_doubles import HOUR_S, NOW, WHICH, Always, asked, refused, send
from web.doubles import TIMEOUT_S, Fixture, populate

from overc.daemon.alerting.messages import Kind
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.alerting.senders import Attempt
from overc.daemon.patterns import Patterns
from overc.web.shapes import utc
from overc.web.site import ALERT_TEST_S


@pytest.fixture
def database(tmp_path: Path) -> str:
    """With web1/disk (1), which warns."""
    path = a_database(tmp_path)
    populate(path)
    return path


@pytest.fixture
def web(database: str) -> Fixture:
    return Fixture(database)


def test_explain(web: Fixture) -> None:
    change(
        web.path,
        "insert into outbox (alert_id, plugin, status, due_at, tries) values"
        " (1, 'chat', 'pending', ?, 1)",
        WALL_AT + 15,
    )
    change(
        web.path,
        "insert into attempts (outbox_id, tried_at, took_s, delivered, words)"
        " values (1, ?, 0.5, 0, 'no route')",
        WALL_AT + 1,
    )
    asked(web, "POST", "/ui/api/ack", {"service_id": 1, "reason": "on it", "author": "ann"})
    asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "swap", "servers": "web*"})
    asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "no", "servers": "db*"})
    asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "no", "services": "!disk"})
    change(web.path, "update latest set deadline_at = ?", web.clock.steady() + 60)
    web.clock.advance(2)
    found = asked(web, "GET", "/ui/api/explain/service/1")
    assert found == asked(web, "GET", "/ui/api/explain?server=web1&service=disk")
    assert found["text"] == [
        "WARN since 10:00:00: 90 %. Last report 10:00:00; the next one is awaited until 10:01:00"
        " (1m).",
        "Alerted: chat 10:00:01 failed (no route), try 2 at 10:00:15."
        " Acknowledged 10:00:00 by ann: on it."
        " Silenced until 11:00:00 by 192.0.2.7 (silence 1): swap.",
    ]
    assert found["alerts"] == [
        {
            "id": 1,
            "ctime": NOW,
            "channel": "service:state",
            "event": "WARN",
            "severity": "WARN",
            "message": 'State changed: "(?)" -> "WARN"',
            "phase": found["alerts"][0]["phase"],
            "topic": found["alerts"][0]["topic"],
            "since": found["alerts"][0]["since"],
            "deliveries": [
                {
                    "plugin": "chat",
                    "status": "pending",
                    "due": utc(WALL_AT + 15),
                    "tries": 1,
                    "reminder": False,
                    "silence_id": None,
                    "outcome": None,
                    "attempts": [
                        {
                            "time": utc(WALL_AT + 1),
                            "took_s": 0.5,
                            "delivered": False,
                            "words": "no route",
                        }
                    ],
                }
            ],
        }
    ]
    expected = {
        "id": 1,
        "name": "disk",
        "server": "web1",
        "server_id": 1,
        "state": "WARN",
        "info": "90 %",
        "since": NOW,
        "late": False,
        "late_since": None,
        "last_report": NOW,
        "period": 60,
        "grace": 0.0,
        "due": None,
        "deadline": utc(WALL_AT + 60),
        "standing": [],
        "ack": {"author": "ann", "reason": "on it", "time": NOW},
        "silenced_by": [
            {
                "name": "silence 1",
                "until": utc(WALL_AT + HOUR_S),
                "author": "192.0.2.7",
                "reason": "swap",
            }
        ],
    }
    assert {name: found[name] for name in expected} == expected


def test_explain_by_the_readers_clock(web: Fixture) -> None:
    for offset, since in [(60, "11:00:00"), (-330, "04:30:00"), (0, "10:00:00")]:
        found = asked(web, "GET", f"/ui/api/explain/service/1?utc_offset={offset}")
        assert found["text"][0].startswith(f"WARN since {since}: ")


@pytest.mark.parametrize(
    "offset", ["", "x", "1.5", "-", "--5", "1440", "-1440", "99999", "%D9%A5", "%ff"]
)
def test_no_clock_of_a_reader(web: Fixture, offset: str) -> None:
    answer = web.ask("GET", f"/ui/api/explain/service/1?utc_offset={offset}")
    assert answer.code == 400
    assert answer.error.startswith("utc_offset: expected minutes such as 60 or -300, got '")


@pytest.mark.parametrize(
    "path, code, sentence",
    [
        ("/service/9", 404, "there is no service 9: it may have been deleted"),
        ("", 400, WHICH),
        ("?server=web1", 400, WHICH),
        ("?server=web1&service=x", 404, "'web1' has no service 'x'"),
    ],
)
def test_nothing_to_explain(web: Fixture, path: str, code: int, sentence: str) -> None:
    assert refused(web.ask("GET", f"/ui/api/explain{path}")) == (code, sentence)


@pytest.mark.parametrize(
    "known, window, names",
    [
        (None, Maintenance("backups", Always(WALL_AT + 60)), ["maintenance backups"]),
        ("maintenance backups", Maintenance("backups", Always(WALL_AT + 60)), ["silence 1"]),
        (None, Maintenance("backups", Always(None)), []),
        (None, Maintenance("backups", Always(WALL_AT + 60), Patterns("db*")), []),
        (None, Maintenance("backups", Always(WALL_AT + 60), services=Patterns("b*")), []),
    ],
)
def test_maintenance_explains_too(
    database: str, known: str | None, window: Maintenance, names: list[str]
) -> None:
    web = Fixture(database, maintenances=[window])
    if known is not None:
        sent = {"for": 60, "reason": "x", "author": known}
        asked(web, "POST", "/ui/api/silences", sent)
    found = asked(web, "GET", "/ui/api/explain/service/1")
    assert [one["name"] for one in found["silenced_by"]] == names


@pytest.mark.parametrize("body", [b"", b"{}", b' {"plugin": null}'])
def test_a_test_through_all_alert_plugins(web: Fixture, body: bytes) -> None:
    web.senders["chat"].attempt = Attempt(False, "exit status 1: no")
    answer = web.ask("POST", "/ui/api/alert-test", body)
    assert answer.json == {
        "results": [
            {"plugin": "mail", "delivered": True, "words": "queued", "took_s": 0.0},
            {"plugin": "chat", "delivered": False, "words": "exit status 1: no", "took_s": 0.0},
        ]
    }
    for sender in web.senders.values():
        assert [message.kind for message in sender.messages] == [Kind.TEST]


def test_a_test_through_one(web: Fixture) -> None:
    found = asked(web, "POST", "/ui/api/alert-test", {"plugin": "chat"})
    assert [one["plugin"] for one in found["results"]] == ["chat"]
    assert web.senders["mail"].messages == []
    answer = send(web, "POST", "/ui/api/alert-test", {"plugin": "pager"})
    sentence = "there is no alert channel 'pager'; configured: mail, chat"
    assert refused(answer) == (404, sentence)


def test_a_test_may_take_longer_than_other_requests(web: Fixture) -> None:
    slow: Deferred[Attempt] = Deferred()
    web.senders["mail"].attempt = slow
    wire = web.wire()
    wire.send(b"POST /ui/api/alert-test HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    answer = web.ask("POST", "/ui/api/alert-test")
    assert refused(answer) == (409, "a test is under way already: wait for its end")
    web.reactor.advance(ALERT_TEST_S - 1)
    assert wire.replies() == []
    assert ALERT_TEST_S > 10 * TIMEOUT_S
    slow.callback(Attempt(True, ""))
    [reply] = wire.replies()
    assert reply.json["results"][0]["delivered"] is True


def test_whoever_asks_for_a_test_and_goes_away_ends_it(web: Fixture) -> None:
    cancelled: list[Deferred[Attempt]] = []
    web.senders["mail"].attempt = Deferred(cancelled.append)
    wire = web.wire()
    with our_log() as lines:
        wire.send(b"POST /ui/api/alert-test HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        wire.hang_up()
    assert len(cancelled) == 1
    assert [line for line in lines if not line.startswith("info")] == []
    web.senders["mail"].attempt = Attempt(True, "")
    assert web.ask("POST", "/ui/api/alert-test").code == 200


def test_a_server_that_stops_ends_a_test(web: Fixture) -> None:
    web.senders["mail"].attempt = Deferred()
    wire = web.wire()
    with our_log() as lines:
        wire.send(b"POST /ui/api/alert-test HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        result_of(web.trial.stopService())
    [reply] = wire.replies()
    assert refused(reply) == (503, "the server stops: try again soon")
    assert [line for line in lines if not line.startswith("info")] == []
    answer = web.ask("POST", "/ui/api/alert-test")
    assert refused(answer) == (503, "the server is not ready: try again soon")
