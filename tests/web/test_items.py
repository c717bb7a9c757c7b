"""Other titles, deleting and forgetting, by JSON and by the forms of pages."""

from __future__ import annotations

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
    record,
    rows,
)
from twisted.internet.defer import maybeDeferred
from web.attention_doubles import asked, refused, send
from web.doubles import Fixture
from web.page_doubles import HOSTILE, Page
from web.test_forms import follow, submit

from overc.daemon.store import items as store_items
from overc.model import AlertReport, State
from overc.web import dashboard as dashboard_module
from overc.web import items as items_module

TITLES = "select title from services order by id"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    """With web1 (1): disk (1) and cpu (2), and web2 (2): disk (3)."""
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    alerts = [AlertReport("the roof", "disk")]
    report = a_report(a_state("disk", State.FAIL), a_state("cpu"), alerts=alerts)
    record(path, a_recorder(), FakeClock(), report, a_report(a_state("disk"), name="web2"))
    return Fixture(path)


def fall_late(web: Fixture, *ids: int) -> None:
    web.clock.advance(120)
    assert in_transaction(web.path, a_recorder().mark_late, ids, web.clock.times()) == len(ids)


def shown_titles(web: Fixture) -> list[str]:
    servers = asked(web, "GET", "/ui/api/status/")["servers"]
    return [item["title"] for one in servers for item in (one, *one["services"])]


def test_a_title_is_changed_and_shown(web: Fixture) -> None:
    assert shown_titles(web) == ["web1", "cpu", "disk", "web2", "disk"]
    for path, title, before in (
        ("service/1", "Disk 💾", "disk"),
        ("server/2", "Web of Bern", "web2"),
    ):
        found = asked(web, "PATCH", f"/ui/api/item/{path}", {"title": f" {title} "})
        assert found == {"ok": 1, "title": title, "before": before}
    assert shown_titles(web) == ["web1", "cpu", "Disk 💾", "Web of Bern", "disk"]
    found = asked(web, "PATCH", "/ui/api/item/service/1", {"title": ""})
    assert found == {"ok": 1, "title": "disk", "before": "Disk 💾"}
    assert shown_titles(web) == ["web1", "cpu", "disk", "Web of Bern", "disk"]


CONTROL = (400, "title: leave out line breaks and other control characters")


@pytest.mark.parametrize(
    "path, content, answer",
    [
        ("service/1", {"title": "x" * 255}, None),
        ("service/1", {"title": HOSTILE["bidi"]}, None),
        ("service/1", {"title": HOSTILE["markup"]}, None),
        (
            "service/1",
            {"title": "x" * 256},
            (400, "title: expected 255 characters at most, got 256"),
        ),
        ("service/1", {"title": "a\nb"}, CONTROL),
        ("service/1", {"title": "a\x7fb"}, CONTROL),
        ("service/1", {"title": "a\x1b[31mb"}, CONTROL),
        ("service/1", {"title": "a\x85b"}, CONTROL),
        ("service/1", {"title": "a\u2028b"}, CONTROL),
        ("service/9", {"title": "x"}, (404, "there is no service 9: it may have been deleted")),
        ("server/9", {"title": "x"}, (404, "there is no server 9: it may have been deleted")),
    ],
)
def test_titles(
    web: Fixture, path: str, content: dict[str, Any], answer: tuple[int, str] | None
) -> None:
    found = send(web, "PATCH", f"/ui/api/item/{path}", content)
    if answer is None:
        assert found.code == 200
        assert rows(web.path, TITLES)[0] == (content["title"].strip(),)
    else:
        assert refused(found) == answer
        assert rows(web.path, TITLES) == [("disk",), ("cpu",), ("disk",)]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"title": null}', b'{"title": "\x00"}'])
def test_what_is_no_title(web: Fixture, body: bytes) -> None:
    assert web.ask("PATCH", "/ui/api/item/service/1", body).code == 400


def test_half_of_a_pair_is_no_title(web: Fixture) -> None:
    answer = web.ask("PATCH", "/ui/api/item/service/1", b'{"title": "a\\ud800"}')
    assert answer.code == 400
    assert rows(web.path, TITLES)[0] == ("disk",)


def test_what_a_deletion_removes(web: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(web, "GET", "/ui/api/item/server/1/extent")
    assert found == {
        "server_id": 1,
        "server": "web1",
        "service": None,
        "title": "web1",
        "services": 2,
        "states": 2,
        "states_more": False,
        "alerts": 2,
        "series": 0,
        "last_report": "2026-03-01 10:00:00.000000",
        "awaited": 2,
    }
    monkeypatch.setattr(store_items, "COUNTED_MAX", 1)
    found = asked(web, "GET", "/ui/api/item/service/1/extent")
    assert (found["states"], found["states_more"]) == (1, True)
    answer = web.ask("GET", "/ui/api/item/service/9/extent")
    assert refused(answer) == (404, "there is no service 9: it may have been deleted")


def test_delete(web: Fixture) -> None:
    assert asked(web, "DELETE", "/ui/api/item/server/1") == {"ok": 1}
    assert web.forgotten == ["web1"]
    assert shown_titles(web) == ["web2", "disk"]
    assert web.ask("DELETE", "/ui/api/item/server/1").code == 404
    assert asked(web, "DELETE", "/ui/api/item/service/3") == {"ok": 1}
    assert web.forgotten == ["web1"]
    assert shown_titles(web) == ["web2"]
    assert web.ask("DELETE", "/ui/api/item/service/3").code == 404


def test_forget(web: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "FORGOTTEN_AT_ONCE", 2)
    shown_titles(web)
    content = {"services": [1, 3, 99, 1, 2**63, -4]}
    found = asked(web, "POST", "/ui/api/forget", content)
    assert found == {"ok": 1, "forgotten": 2, "kept": 0}
    assert asked(web, "POST", "/ui/api/forget", content)["forgotten"] == 0
    assert shown_titles(web) == ["web1", "cpu", "web2"]
    assert asked(web, "POST", "/ui/api/forget", {"services": []})["forgotten"] == 0


@pytest.mark.parametrize("since", [WALL_AT + 60, "2026-03-01 10:01:00", "2026-03-01T10:01:00Z"])
def test_only_what_is_silent_is_forgotten(web: Fixture, since: float | str) -> None:
    fall_late(web, 1, 3)
    content = {"services": [1, 2, 3], "silent_since": since}
    record(web.path, a_recorder(), web.clock, a_report(a_state("disk"), name="web2"))
    found = asked(web, "POST", "/ui/api/forget", content)
    assert found == {"ok": 1, "forgotten": 1, "kept": 2}
    assert shown_titles(web) == ["web1", "cpu", "web2", "disk"]


def test_too_many_at_once(web: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "FORGOTTEN_MAX", 2)
    answer = send(web, "POST", "/ui/api/forget", {"services": [1, 2, 3]})
    assert refused(answer) == (400, "services: expected 2 at most: forget them in parts")
    assert len(rows(web.path, TITLES)) == 3


def test_silence_by_id(web: Fixture) -> None:
    for which, patterns in (
        ({"service_id": 1}, ("web1", "disk")),
        ({"server_id": 2}, ("web2", "*")),
    ):
        asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "x", **which})
        found = rows(web.path, "select servers, services from silences order by id")[-1]
        assert found == patterns
    bad: list[tuple[dict[str, Any], int]] = [
        ({"service_id": 9}, 404),
        ({"server_id": 9}, 404),
        ({"server_id": 1, "service_id": 1}, 400),
        ({"server_id": 1, "services": "disk"}, 400),
        ({"server_id": 10**18}, 404),
        ({"server_id": None}, 404),
    ]
    for sent, code in bad:
        content = {"for": "1h", "reason": "x", **sent}
        assert send(web, "POST", "/ui/api/silences", content).code == code
    assert rows(web.path, "select count(*) from silences") == [(2,)]


def test_rename_by_form(web: Fixture) -> None:
    path = "/ui/service/1/rename"
    place, page = follow(web, path, submit(web, path, title=HOSTILE["markup"]))
    assert place == "/ui/service/1"
    assert HOSTILE["markup"] in page.texts
    path = "/ui/server/1/rename"
    place, page = follow(web, path, submit(web, path, title="Web of Bern"))
    assert place == "/ui/server/1"
    assert "Web of Bern" in page.text
    path = "/ui/service/1/rename"
    follow(web, path, submit(web, path, title=""))
    assert rows(web.path, TITLES)[0] == ("disk",)


def test_silence_a_server_by_form(web: Fixture) -> None:
    path = "/ui/server/1/silence"
    place, _ = follow(web, path, submit(web, path, reason="disks", **{"for": "2h"}))
    assert place == "/ui/server/1"
    found = rows(web.path, "select servers, services, reason from silences")
    assert found == [("web1", "*", "disks")]


@pytest.mark.parametrize(
    "path, back, words",
    [
        (
            "/ui/service/1/delete",
            "/ui/server/1",
            ["Delete the service disk of web1?", "1 state of its history", "2 alerts with their"],
        ),
        ("/ui/server/1/delete", "/ui/", ["Delete the server web1?", "2 services", "2 alerts"]),
    ],
)
def test_deletion_asks_first(web: Fixture, path: str, back: str, words: list[str]) -> None:
    page = Page(web.ask("GET", path).body.decode())
    for phrase in [*words, "It still reports", "There is no way back."]:
        assert phrase in page.text
    form = page.element("form")
    assert form["method"] == "post"
    hidden = {a["name"]: a["value"] for tag, a in page.elements if tag == "input"}
    place, after = follow(web, path, submit(web, path, **hidden))
    assert place == back
    assert "disk" not in after.text.replace("web2", "").split("Services")[0] or back != "/ui/"
    assert web.ask("GET", path).code == 404


def test_what_is_silent_is_said_to_come_back_new(web: Fixture) -> None:
    fall_late(web, 3)
    page = Page(web.ask("GET", "/ui/service/3/delete").body.decode())
    assert "It last reported 2 min ago. Should it report again, it comes back new." in page.text


def test_forget_by_form(web: Fixture) -> None:
    fall_late(web, 1, 3)
    page = Page(web.ask("GET", "/ui/forget?silent=3600").body.decode())
    assert "No service is silent for so long." in page.text
    page = Page(web.ask("GET", "/ui/forget?silent=60").body.decode())
    assert "2 services of 2 servers are late and were not heard of in this time" in page.text
    page = Page(web.ask("GET", "/ui/forget?silent=0&server=1").body.decode())
    assert "1 service is late:" in page.text
    assert "Forget 1 service" in page.text
    hidden = {a["name"]: a["value"] for tag, a in page.elements if tag == "input"}
    assert hidden["services"] == "1"
    place, _ = follow(web, "/ui/forget", submit(web, "/ui/forget", **hidden))
    assert place == "/ui/server/1"
    assert rows(web.path, "select id from services order by id") == [(2,), (3,)]
    for fields in ({}, {"services": "x", "silent_since": "1"}, {"services": "3"}):
        assert submit(web, "/ui/forget", **fields).code == 400
    assert web.ask("GET", "/ui/forget?silent=x").code == 400


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_that_ask_show_names_as_text(web: Fixture, name: str) -> None:
    text = HOSTILE[name][:200]
    report = a_report(a_state(text), name=text)
    record(web.path, a_recorder(), web.clock, report)
    [(server_id,)] = rows(web.path, "select id from servers where name = ?", text)
    [(service_id,)] = rows(web.path, "select id from services where name = ?", text)
    fall_late(web, service_id)
    plain = {
        path: Page(web.ask("GET", path).body.decode()).skeleton
        for path in ("/ui/service/2/delete", "/ui/server/2/delete")
    }
    for path, like in (
        (f"/ui/service/{service_id}/delete", "/ui/service/2/delete"),
        (f"/ui/server/{server_id}/delete", "/ui/server/2/delete"),
        (f"/ui/forget?silent=0&server={server_id}", None),
    ):
        page = Page(web.ask("GET", path).body.decode())
        tags = {tag for tag, _ in page.elements}
        assert not {"b", "i"} & tags
        if like is not None:
            assert len(page.skeleton) <= len(plain[like]) + 2
