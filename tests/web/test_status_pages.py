from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timezone
from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    change,
    record,
    rows,
)
from twisted.internet.defer import Deferred, maybeDeferred
from web.doubles import API, UI, Fixture
from web.page_doubles import HOSTILE, Page

from overc.daemon.calendars import Calendar
from overc.daemon.expectations import Rule
from overc.daemon.page_settings import PublicPieces, StatusPage
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.rollups import DAY_S
from overc.daemon.store.errors import StorageError
from overc.model import State
from overc.web.public import status_pages
from overc.web.public.strips import first_day

WORK = ("disk", "web2", "web10")


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """web1, web2 and web10 are all well; on secret1 something fails."""
    monkeypatch.setattr(status_pages, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    for name in ("web10", "web1", "web2"):
        states = (a_state("queue", info="7 items"), a_state("disk", info="1 % used"))
        record(path, a_recorder(), FakeClock(), a_report(*states, name=name, key=f"key of {name}"))
    bad = a_state("vault", State.FAIL, "password is hunter2")
    record(path, a_recorder(), FakeClock(), a_report(bad, name="secret1", key="k"))
    return path


def a_page(servers: str = "*", services: str = "*", **more: bool) -> StatusPage:
    return StatusPage("shop", "Our shop", Patterns(servers), Patterns(services), **more)


def a_web(database: str, *pages: StatusPage) -> Fixture:
    return Fixture(database, API, UI, public=PublicPieces(pages))


def shown(web: Fixture, name: str = "shop") -> Page:
    answer = web.ask("GET", f"/status/{name}")
    assert answer.code == 200
    return Page(answer.body.decode())


def as_json(web: Fixture, name: str = "shop") -> dict[str, Any]:
    answer = web.ask("GET", f"/status/{name}.json")
    assert answer.code == 200
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json
    return found


def test_a_page_needs_no_login(database: str) -> None:
    web = a_web(database, a_page(servers="web*"))
    answer = web.ask("GET", "/status/shop")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=10"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    text = Page(answer.body.decode()).text
    assert "Our shop" in text
    assert "All systems work" in text
    assert text.index("web1") < text.index("web2") < text.index("web10")
    found = as_json(web)
    assert found == {
        "title": "Our shop",
        "at": "2026-03-01 10:00:00.000000",
        "state": "OK",
        "sentence": "All systems work",
        "problems": 0,
        "maintenance": 0,
        "services": 6,
        "groups": [
            {
                "title": name,
                "state": "OK",
                "services": [
                    {"title": "disk", "state": "OK", "since": "2026-03-01 10:00:00.000000"},
                    {"title": "queue", "state": "OK", "since": "2026-03-01 10:00:00.000000"},
                ],
            }
            for name in ("web1", "web2", "web10")
        ],
    }


def test_nothing_beyond_what_was_chosen_shows(database: str) -> None:
    change(database, "update servers set title = 'The ' || id where name like 'web%'")
    change(database, "update services set title = 'Part ' || name")
    page = a_page(servers="web*, secret1", services="disk")
    web = a_web(database, page)
    for path in ("/status/shop", "/status/shop.json"):
        body = web.ask("GET", path).body.decode()
        assert "Part disk" in body
        for leak in (
            "secret1", "vault", "hunter2", "queue", "1 % used", "192.0.2", "web1", "key of",
            "service_id", "server_id", '"id"', "server/", "/ui/",
        ):  # fmt: skip
            assert leak not in body, leak


@pytest.mark.parametrize(
    "options, there, absent",
    [
        ({"infos": True}, ["1 % used"], []),
        ({"full_names": True}, ["The host", "web1"], []),
        ({}, ["The host"], ["web1", "1 % used"]),
        ({"groups": False}, ["disk"], ["The host", "web1", "web2"]),
    ],
)
def test_what_may_show(
    database: str, options: dict[str, bool], there: list[str], absent: list[str]
) -> None:
    change(database, "update servers set title = 'The host' where name = 'web1'")
    web = a_web(database, a_page(servers="web1, web2", services="disk", **options))
    for body in (shown(web).text, json.dumps(as_json(web))):
        for word in there:
            assert word in body
        for word in absent:
            assert word not in body


def put(path: str, state: State, late: bool = False) -> None:
    record(path, a_recorder(), FakeClock(), a_report(a_state("disk", state), name="web1", key="k1"))
    change(path, "update services set timed_out = ? where name = 'disk'", int(late))


@pytest.mark.parametrize(
    "state, late, word, sentence",
    [
        (State.OK, False, "OK", "All systems work"),
        (State.WARN, False, "warning", "1 problem"),
        (State.FAIL, False, "failing", "1 problem"),
        (State.UNK, False, "unknown", "1 problem"),
        (State.OK, True, "not reporting", "1 problem"),
        (State.FAIL, True, "not reporting", "1 problem"),
    ],
)
def test_how_a_service_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: State,
    late: bool,
    word: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(status_pages, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    put(path, state, late)
    web = a_web(path, a_page())
    web.clock.advance(300)
    text = shown(web).text
    assert word in text
    assert sentence in text
    assert ("for 5 min" in text) is (word != "OK")
    assert as_json(web)["groups"][0]["services"][0]["state"] == ("late" if late else state.value)


@pytest.mark.parametrize("state", [None, "FAIL"])
def test_several_problems_and_none_at_all(database: str, state: str | None) -> None:
    if state is None:
        change(database, "delete from services where name = 'disk'")
    else:
        change(database, "update services set state = ? where name = 'disk'", state)
    text = shown(a_web(database, a_page(services="disk"))).text
    assert ("No data yet" if state is None else "3 problems") in text


def test_a_watchdog_that_is_behind_is_told(database: str) -> None:
    web = a_web(database, a_page(services="disk"))
    web.watch.lag = 31.0
    assert "what it shows may be old" in shown(web).text


@pytest.mark.parametrize(
    "path",
    [
        "", "other", "other.json", "shop/", "shop.html", "shop.json.json", "SHOP", "shop%00",
        "shop%2F", "/shop", "..", "%2e%2e/shop", "..%2f..%2fetc%2fpasswd", "overc.css", ".json",
        "public.css/", "..%2fstatic%2foverc.css", "%252e", "a" * 3000,
    ],
)  # fmt: skip
def test_pages_that_there_are_not(database: str, path: str) -> None:
    answer = a_web(database, a_page(servers="web*")).ask("GET", f"/status/{path}")
    assert answer.code == 404
    assert b"web1" not in answer.body
    assert b"root:" not in answer.body


def test_without_configuration_there_is_no_page(database: str) -> None:
    web = a_web(database)
    assert web.ask("GET", "/status/shop").code == 404
    assert rows(database, "select count(*) from servers") == [(4,)]


@pytest.mark.parametrize("name", ["public.css", "public.js", "icon.svg"])
def test_what_a_page_loads_needs_no_login_either(database: str, name: str) -> None:
    web = a_web(database, a_page(services="disk"))
    assert web.ask("GET", f"/status/{name}").code == 200
    loaded = shown(web).values("href", "src")
    assert name in loaded
    assert not [one for one in loaded if one.startswith(("/", "http", ".."))]


def test_a_page_is_rendered_at_most_once_in_five_seconds(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[object] = []

    def render(call: Callable[..., str], *values: object) -> Deferred[str]:
        rendered.append(call)
        return maybeDeferred(call, *values)

    monkeypatch.setattr(status_pages, "deferToThread", render)
    web = a_web(database, a_page(services="disk"))
    first = web.ask("GET", "/status/shop")
    put(database, State.FAIL)
    web.clock.advance(4.9)
    for _ in range(20):
        again = web.ask("GET", "/status/shop")
        assert again.body == first.body
        assert as_json(web)["problems"] == 0
    assert len(rendered) == 1
    web.clock.advance(0.2)
    assert "1 problem" in shown(web).text
    assert len(rendered) == 2


def test_those_who_come_together_share_one_page(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: Deferred[None] = Deferred()
    rendered: list[object] = []

    def render(call: Callable[..., str], *values: object) -> Deferred[str]:
        rendered.append(call)
        return waits.addCallback(lambda _: call(*values))

    monkeypatch.setattr(status_pages, "deferToThread", render)
    web = a_web(database, a_page(services="disk"))
    wires = [web.wire() for _ in range(3)]
    for wire in wires:
        wire.send(b"GET /status/shop HTTP/1.1\r\nHost: a\r\n\r\n")
    # The first one goes away; the others still get their page.
    wires[0].hang_up()
    waits.callback(None)
    assert len(rendered) == 1
    for wire in wires[1:]:
        [reply] = wire.replies()
        assert (reply.code, b"All systems work" in reply.body) == (200, True)


def test_a_storage_that_is_away_is_told_without_details(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = a_web(database, a_page(services="disk"))

    async def refresh() -> None:
        raise StorageError("Unable to read the status: /var/lib/overc.db is gone")

    monkeypatch.setattr(web.snapshot, "refresh", refresh)
    answer = web.ask("GET", "/status/shop")
    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    assert b"The status can&#39;t be read just now" in answer.body
    assert b"/var/lib" not in answer.body
    monkeypatch.undo()
    monkeypatch.setattr(status_pages, "deferToThread", maybeDeferred)
    assert web.ask("GET", "/status/shop").code == 200


def test_the_client_s_copy(database: str) -> None:
    web = a_web(database, a_page(services="disk"))
    tag = web.ask("GET", "/status/shop").headers["etag"]
    again = web.ask("GET", "/status/shop", headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.code, again.body) == (304, b"")


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_and_infos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(status_pages, "deferToThread", maybeDeferred)
    text = HOSTILE[kind].replace("\x00", "")
    skeletons = []
    for number, name in enumerate((text[:255], "plain")):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = a_database(folder)
        info = text if number == 0 else "plain"
        states = a_state(name, State.FAIL, info)
        record(path, a_recorder(), FakeClock(), a_report(states, name=name))
        page = StatusPage("shop", info[:200], infos=True, full_names=True)
        skeletons.append(shown(a_web(path, page)).skeleton)
    assert skeletons[0] == skeletons[1]


def test_strips_of_ninety_days(database: str) -> None:
    web = a_web(database, a_page(servers="web1", services="disk"))
    [(service_id,)] = rows(
        database,
        "select services.id from services join servers on servers.id = server_id"
        " where servers.name = 'web1' and services.name = 'disk'",
    )
    begins_at = first_day(web.clock.wall())
    change(
        database,
        "update rollup_progress set up_to = ? where name = 'state_days'",
        begins_at + 89 * DAY_S,
    )
    day_ms = DAY_S * 1000
    for number in range(10, 89):
        sums = (day_ms, 0, 0, 0) if number != 50 else (day_ms - 3_600_000, 0, 3_600_000, 0)
        change(
            database,
            "insert into state_days values (?, ?, ?, ?, ?, ?)",
            begins_at + number * DAY_S, service_id, *sums,
        )  # fmt: skip
    found = shown(web)
    [picture] = [attrs for tag, attrs in found.elements if tag == "svg" and "aria-label" in attrs]
    assert picture["aria-label"] == "99.95 % OK in the last 90 days"
    assert "failing 1 h" in found.text
    # They are drawn anew after some minutes only.
    change(database, "delete from state_days")
    web.clock.advance(60)
    assert "failing 1 h" in shown(web).text
    web.clock.advance(300)
    assert "failing 1 h" not in shown(web).text


def strips_of(page: Page) -> list[tuple[str | None, int]]:
    """Return what is said of each strip, and how many of its days have no data."""
    pictures = [one for tag, one in page.elements if tag == "svg" and "aria-label" in one]
    empty = [one for tag, one in page.elements if tag == "path" and one.get("class") == "none"]
    return [
        (picture["aria-label"], (path["d"] or "").count("M"))
        for picture, path in zip(pictures, empty, strict=True)
    ]


@pytest.mark.parametrize(
    "late, n_empty",
    [
        # From Sunday until now, which is Saturday.
        (False, 83),
        # Until its time on Wednesday, and no longer.
        (True, 86),
    ],
)
def test_a_strip_has_what_is_in_no_roll_up_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool, n_empty: int
) -> None:
    """The one state that a service has reported, as long as its calendar lets it hold."""
    monkeypatch.setattr(status_pages, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    record(path, a_recorder(), FakeClock(), a_report(a_state("backup")))
    calendar = Calendar.parse("0 12 * * 3", timezone.utc)
    rule = Rule("weekly", EVERYTHING, EVERYTHING, {"calendar": calendar})
    page = StatusPage("shop", "Our shop")
    web = Fixture(path, API, UI, public=PublicPieces((page,)), rules=[rule])
    assert strips_of(shown(web)) == []
    change(path, "update services set timed_out = ?", int(late))
    web.clock.advance(6 * DAY_S)
    assert strips_of(shown(web)) == [("100 % OK in the last 90 days", n_empty)]


def test_a_page_of_very_many_services(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_pages, "STRIPS_MAX", 3)
    monkeypatch.setattr("overc.web.public.view.LISTED_MAX", 4)
    web = a_web(database, a_page())
    found = as_json(web)
    assert (found["services"], found["problems"]) == (7, 1)
    listed = [one for group in found["groups"] for one in group["services"]]
    assert len(listed) == 4
    assert "FAIL" in [one["state"] for one in listed]
    assert "And 3 more, which are in no worse state." in shown(web).text
