"""The page of silences: what it lists, begins, changes and previews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from support_daemon import WALL_AT, Reply, a_database, a_recorder, a_report, a_state, record
from twisted.internet.defer import maybeDeferred
from web.attention_doubles import HOUR_S, asked, refused, silences
from web.doubles import Fixture
from web.page_doubles import NOW_AT, PAGES, Page, silence

from overc.web import dashboard as dashboard_module
from overc.web.matching import Match
from overc.web.pages import LONGER_CHOICES
from overc.web.shapes import utc

ORIGIN = {"Host": "mon", "Origin": "http://mon"}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    """With web1 and web2, each with disk and http, and db1 with disk."""
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    fixture = Fixture(a_database(tmp_path))
    for name in ("web1", "web2"):
        report = a_report(a_state("disk"), a_state("http"), name=name)
        record(fixture.path, a_recorder(), fixture.clock, report)
    record(fixture.path, a_recorder(), fixture.clock, a_report(a_state("disk"), name="db1"))
    return fixture


def submit(web: Fixture, path: str, **fields: str) -> Reply:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return web.ask("POST", path, urlencode(fields).encode(), {**kind, **ORIGIN})


def page(web: Fixture, query: str = "") -> Page:
    return Page(web.ask("GET", f"/ui/silences{query}").body.decode())


def test_begin_and_extend_without_a_script(web: Fixture) -> None:
    fields = {"servers": "web*", "services": "http", "reason": "new", "author": "ann"}
    answer = submit(web, "/ui/silences", **fields, **{"for": "2h"})
    assert (answer.code, answer.headers["location"]) == (303, "silences#silence-1")
    shown = page(web)
    assert "http on web*" in shown.text
    assert "silence 1: 2 services on 2 servers" in shown.text
    assert "2 h left" in shown.text
    answer = submit(web, "/ui/silences/1/extend", **{"for": "4h"})
    assert (answer.code, answer.headers["location"]) == (303, "../../silences#silence-1")
    assert silences(web) == [("web*", "http", "ann", "new", WALL_AT, WALL_AT + 6 * HOUR_S)]


def test_begin_until_a_time(web: Fixture) -> None:
    # As a form without a script sends it: the span that it begins with too, and no zone.
    until = utc(WALL_AT + HOUR_S)[:16].replace(" ", "T")
    submit(web, "/ui/silences", reason="x", until=until, **{"for": "2h"})
    [(servers, services, *_, ends_at)] = silences(web)
    assert (servers, services) == ("*", "*")
    assert ends_at == pytest.approx(WALL_AT + HOUR_S, abs=60)
    assert "all services on all servers" in page(web).text


def test_a_silence_that_matches_nothing_says_so(web: Fixture) -> None:
    submit(web, "/ui/silences", servers="mail*", reason="x", **{"for": "2h"})
    assert "no service has such a name now" in page(web).text


def test_the_form_begins_with_what_the_link_says(web: Fixture) -> None:
    shown = page(web, "?" + urlencode({"servers": 'we"b*', "services": "di sk"}))
    values = {attrs["name"]: attrs.get("value") for _, attrs in shown.elements if "name" in attrs}
    assert (values["servers"], values["services"]) == ('we"b*', "di sk")


def test_every_field_has_a_name_for_ears(web: Fixture) -> None:
    submit(web, "/ui/silences", reason="x", **{"for": "2h"})
    shown = page(web)
    labels = {attrs["for"] for tag, attrs in shown.elements if tag == "label"}
    for tag, attrs in shown.elements:
        if tag in {"input", "select"} and attrs.get("type") != "hidden":
            assert attrs.get("id") in labels or attrs.get("aria-label"), attrs


def test_who_only_reads_is_offered_nothing() -> None:
    readers = PAGES.for_readers()
    reply = {"silences": [silence(1), silence(2, "coming")], "maintenance": []}
    shown = Page(readers.silences(reply, now_at=NOW_AT, matched={1: Match(3, 1, [])}))
    assert not [tag for tag, _ in shown.elements if tag == "form"]
    assert "3 services on 1 server" in shown.text


@pytest.mark.parametrize("span", LONGER_CHOICES)
def test_what_is_offered_can_be_had(web: Fixture, span: str) -> None:
    asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "x"})
    assert asked(web, "POST", "/ui/api/silences/1", {"for": span})["ok"] == 1


def test_another_end(web: Fixture) -> None:
    asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "x"})
    reply = asked(web, "POST", "/ui/api/silences/1", {"until": WALL_AT + 60})
    assert reply == {"ok": 1, "id": 1, "starts": utc(WALL_AT), "ends": utc(WALL_AT + 60)}
    assert asked(web, "POST", "/ui/api/silences/1", {"for": 60})["ends"] == utc(WALL_AT + 120)


@pytest.mark.parametrize(
    "id_, content, code, sentence",
    [
        (1, {}, 400, 'give either "for", how much longer, or "until", a time in UTC'),
        (1, {"for": "1h", "until": 1}, 400, 'give either "for", how much longer, or "until"'),
        (1, {"until": 1}, 400, "the silence would be over by then"),
        (1, {"until": WALL_AT}, 400, "the silence would be over by then"),
        (1, {"for": "366d"}, 400, "a silence lasts 366d at most"),
        (1, {"for": "x"}, 400, "for: "),
        (9, {"for": "1h"}, 404, "there is no silence 9"),
        (2, {"for": "1h"}, 409, "Silence 2 is over already: begin another one"),
    ],
)
def test_ends_that_are_refused(
    web: Fixture, id_: int, content: dict[str, Any], code: int, sentence: str
) -> None:
    for _ in range(2):
        asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "x"})
    asked(web, "DELETE", "/ui/api/silences/2")
    before = silences(web)
    answer = web.ask("POST", f"/ui/api/silences/{id_}", json.dumps(content).encode())
    found = refused(answer)
    assert found[0] == code
    assert found[1].startswith(sentence)
    assert silences(web) == before


@pytest.mark.parametrize(
    "servers, services, n_services, n_servers, names",
    [
        ("", "", 5, 3, ["web1/disk", "web1/http", "web2/disk", "web2/http", "db1/disk"]),
        ("web*, !web2", "", 2, 1, ["web1/disk", "web1/http"]),
        ("", "http", 2, 2, ["web1/http", "web2/http"]),
        ("x", "", 0, 0, []),
    ],
)
def test_preview(
    web: Fixture, servers: str, services: str, n_services: int, n_servers: int, names: list[str]
) -> None:
    query = urlencode({"servers": servers, "services": services})
    found = asked(web, "GET", f"/ui/api/silences/preview?{query}")
    assert (found["n_services"], found["n_servers"]) == (n_services, n_servers)
    assert [f"{one['server']}/{one['name']}" for one in found["services"]] == names


@pytest.mark.parametrize("pattern", ["!", ",", "x" * 2001])
def test_no_preview(web: Fixture, pattern: str) -> None:
    answer = web.ask("GET", "/ui/api/silences/preview?" + urlencode({"servers": pattern}))
    assert refused(answer)[0] == 400
    assert refused(answer)[1].startswith("servers: expected")
