"""Rejected keys and the settings page: what is told, what is hidden, what can be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    WALL_AT,
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    in_transaction,
    our_log,
    record,
    rows,
)
from twisted.internet.defer import maybeDeferred
from web.attention_doubles import Always, asked, refused
from web.doubles import SET_UP, UI, Fixture, basic
from web.page_doubles import HOSTILE, Page
from web.test_forms import follow, submit

from overc.daemon.access_settings import Access, Credentials
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.routing import Maintenance, Route
from overc.daemon.patterns import Patterns
from overc.daemon.store import deliveries, rejected_keys
from overc.daemon.store.deliveries import Failing
from overc.daemon.store.engine import Transaction
from overc.daemon.store.rejected_keys import Tried
from overc.web import dashboard as dashboard_module
from overc.web import settings_view
from overc.web.about import SetUp

DERIVATION = "scrypt$4096$8$1$c2FsdA==$aGFzaA=="
IP = "192.0.2.66"
PLUGINS = (
    AlertPlugin("mail", command=("./mail.sh", "--password", "s3cret")),
    AlertPlugin("chat", webhook="https://me:s3cret@chat.example/hooks/T0K3N?key=s3cret"),
    AlertPlugin(
        "phone",
        notify="tgram://T0K3N/s3cret",
        route=Route(
            "phone", servers=Patterns("web*"), events=Patterns("service:state/FAIL"),
            delay_s=300, remind_s=14400,
        ),
    ),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With web1 (1), whose key was refused."""
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    record(path, a_recorder(), FakeClock(), a_report(a_state("disk")))
    refuse(path)
    return path


def refuse(path: str, at: float = WALL_AT - 30, derivation: str = DERIVATION) -> None:
    tried = Tried(1, derivation, IP, at, at + 20, 3)
    in_transaction(path, rejected_keys.note, [tried], at)


def set_up(**more: Any) -> SetUp:
    known = {name: getattr(SET_UP, name) for name in SetUp.__slots__}
    return SetUp(**{**known, **more})


def page(web: Fixture, path: str = "/ui/settings") -> Page:
    answer = web.ask("GET", path)
    assert answer.code == 200, answer.body
    return Page(answer.body.decode())


def test_they_are_told_without_the_key(path: str) -> None:
    web = Fixture(path)
    answer = web.ask("GET", "/ui/api/rejected-keys")
    assert answer.json["rejected_keys"] == [
        {
            "id": 1,
            "server_id": 1,
            "server": "web1",
            "title": "web1",
            "ip": IP,
            "first": "2026-03-01 09:59:30.000000",
            "last": "2026-03-01 09:59:50.000000",
            "tries": 3,
            "dismissed": False,
            "known_ip": "192.0.2.1",
            "reported": "2026-03-01 10:00:00.000000",
            "both_report": True,
        }
    ]
    assert b"scrypt" not in answer.body + web.ask("GET", "/ui/settings").body


def test_accept_by_json(path: str) -> None:
    web = Fixture(path)
    with our_log() as log:
        found = asked(web, "POST", "/ui/api/rejected-keys/1/accept")
    assert found == {"ok": 1, "server_id": 1, "server": "web1"}
    assert rows(path, "select key_derivation from servers") == [(DERIVATION,)]
    assert web.accepted == [(1, "web1")]
    assert asked(web, "GET", "/ui/api/rejected-keys") == {"rejected_keys": []}
    assert log == ["warn: 192.0.2.7 accepted another key for web1"]
    for method, way in (("POST", "/accept"), ("DELETE", "")):
        gone = "there is no refused key 1: somebody may have looked after it already"
        assert refused(web.ask(method, f"/ui/api/rejected-keys/1{way}")) == (404, gone)
    assert web.accepted == [(1, "web1")]


def test_accept_by_form(path: str) -> None:
    web = Fixture(path)
    assert "web1 reports with another key" in page(web).text
    way = "/ui/rejected-keys/1/accept"
    place, after = follow(web, way, submit(web, way))
    assert place == "/ui/settings#rejected"
    assert "another key" not in after.text
    assert rows(path, "select key_derivation from servers") == [(DERIVATION,)]


def test_dismiss(path: str) -> None:
    web = Fixture(path)
    banner = "web1 reports with another key than before and is refused."
    assert banner in page(web, "/ui/").text
    way = "/ui/rejected-keys/1/dismiss"
    _, after = follow(web, way, submit(web, way))
    assert "1 key dismissed" in after.text
    assert banner not in page(web, "/ui/").text
    assert asked(web, "GET", "/ui/api/rejected-keys")["rejected_keys"][0]["dismissed"] is True
    assert asked(web, "DELETE", "/ui/api/rejected-keys/1") == {"ok": 1, "server": "web1"}
    # It can still be accepted.
    assert asked(web, "POST", "/ui/api/rejected-keys/1/accept")["ok"] == 1


def test_the_page_warns_where_two_hosts_report(path: str) -> None:
    web = Fixture(path)
    assert "Both keys report." in page(web).text
    refuse(path, at=WALL_AT + 60, derivation="another")
    web.clock.advance(120)
    text = page(web).text
    assert "Accept the new key if you have set this host up anew." in text
    assert text.count("reports with another key") >= 2


def test_a_reader_may_look_and_change_nothing(path: str) -> None:
    reader = Credentials("anna", "looks")
    web = Fixture(path, None, UI, access=Access(readers=(reader,)))
    headers = basic(reader.user, reader.password)
    answer = web.ask("GET", "/ui/settings", headers=headers)
    shown = Page(answer.body.decode())
    assert "web1 reports with another key" in shown.text
    assert not [tag for tag, _ in shown.elements if tag in {"form", "input"}]
    assert web.ask("POST", "/ui/api/rejected-keys/1/accept", headers=headers).code == 403
    assert rows(path, "select count(*) from rejected_keys") == [(1,)]
    for place in ("service/1", "server/1", "service/1/delete", "forget?silent=0"):
        shown = Page(web.ask("GET", f"/ui/{place}", headers=headers).body.decode())
        assert not [a for tag, a in shown.elements if tag == "form" and a.get("method") == "post"]


def test_settings_tell_no_secret(path: str) -> None:
    web = Fixture(path, set_up=set_up(plugins=PLUGINS))
    told = web.ask("GET", "/ui/api/settings")
    shown = web.ask("GET", "/ui/settings")
    for secret in (b"s3cret", b"T0K3N", b"--password", b"scrypt"):
        assert secret not in told.body + shown.body
    channels = told.json["channels"]
    assert [(one["name"], one["kind"], one["where"]) for one in channels] == [
        ("mail", "command", "./mail.sh"),
        ("chat", "webhook", "https://chat.example"),
        ("phone", "notify", "tgram://"),
    ]
    assert (channels[2]["servers"], channels[2]["services"]) == ("web*", "*")
    text = Page(shown.body.decode()).text
    for words in (
        "mail command ./mail.sh", "every alert", "servers web*", "after 5 min, again every 4 h",
        "nothing sent lately", "OverC2.", "mon1 tcp:5000", "SQLite 3.", "schema version",
        "states for 30 d, alerts for 1 year, hourly and daily sums for 5 years",
        "/etc/overc/server.ini", "on time, looked 0.1 s ago",
    ):  # fmt: skip
        assert words in text


def test_how_channels_do(path: str) -> None:
    in_transaction(path, deliveries.set_failing, Failing("chat", WALL_AT - 7200, False))
    add = (
        "insert into alerts (id, raised_at, channel, event, severity, message)"
        " values (9, 0, 'api', 'alert', 'FAIL', 'x')"
    )
    in_transaction(path, lambda tx: tx.execute(add))
    attempt = ("outbox_id", "tried_at", "took_s", "delivered", "words")
    for plugin, delivered, words in (("mail", 1, "queued"), ("chat", 0, "no such host")):
        row = (9, plugin, "sent" if delivered else "pending")
        columns = ("alert_id", "plugin", "status")
        [id_] = in_transaction(path, Transaction.insert, "outbox", columns, [row])
        tried = (id_, WALL_AT - 60, 0.1, delivered, words)
        in_transaction(path, Transaction.insert, "attempts", attempt, [tried])
    web = Fixture(path, set_up=set_up(plugins=PLUGINS))
    mail, chat, phone = asked(web, "GET", "/ui/api/settings")["channels"]
    assert (mail["sent"], mail["failing_since"], mail["waiting"]) == (
        "2026-03-01 09:59:00.000000", None, 0,
    )  # fmt: skip
    assert (chat["failing_since"], chat["failed_words"], chat["waiting"]) == (
        "2026-03-01 08:00:00.000000", "no such host", 1,
    )  # fmt: skip
    assert (phone["sent"], phone["failed"], phone["waiting"]) == (None, None, 0)
    text = page(web).text
    assert "works, last sent" in text
    assert "failing for 2 h, 1 message waiting" in text
    assert "no such host" in text


def test_settings_tell_what_is_wrong(path: str) -> None:
    window = Maintenance("backups", Always(WALL_AT + 3600), reason="nightly")
    told = set_up(warnings=("set ui-auth",), maintenances=(window,), path=None)
    web = Fixture(path, set_up=told)
    web.watch.lag = 40.0
    text = page(web).text
    assert "behind by 40 s: look at the load of its machine" in text
    assert "set ui-auth" in text
    assert "backups nightly" in text
    assert "open until" in text
    assert "built-in defaults" in text
    assert "Nobody is told of anything." in text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(path: str, name: str) -> None:
    text = HOSTILE[name]
    title = text[:200]
    plugin = AlertPlugin(text, command=(text,), route=Route(text, servers=Patterns("x" + text)))
    window = Maintenance(text, Always(None), Patterns("x" + text), reason=text)
    told = set_up(plugins=(plugin,), warnings=(text,), node=text, maintenances=(window,))
    in_transaction(
        path, lambda tx: tx.execute("update servers set title = ?, ip = ?", title, title)
    )
    web = Fixture(path, set_up=told)
    shown = page(web)
    assert not {"b", "i"} & {tag for tag, _ in shown.elements}
    assert not {attr for _, attrs in shown.elements for attr in attrs if attr.startswith("on")}
    json.dumps(asked(web, "GET", "/ui/api/settings"))


@pytest.mark.parametrize(
    "size, words",
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (197_000, "197 kB"), (2.5e9, "2.5 GB")],
)
def test_sizes(size: float, words: str) -> None:
    assert settings_view.size_words(int(size)) == words


@pytest.mark.parametrize(
    "span_s, words",
    [(0.5, "0.5 s"), (90, "90 s"), (3600, "1 h"), (30 * 86400, "30 d"), (365 * 86400, "1 year"),
     (730 * 86400, "2 years"), (400 * 86400, "400 d")],
)  # fmt: skip
def test_spans(span_s: float, words: str) -> None:
    assert settings_view.span_exact(span_s) == words
