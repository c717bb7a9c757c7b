"""The forms of the pages: what a browser sends without any script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

import pytest
from support_daemon import (
    WALL_AT,
    FakeClock,
    Reply,
    a_database,
    a_recorder,
    a_report,
    a_state,
    change,
    record,
    rows,
)
from twisted.internet.defer import maybeDeferred
from web.attention_doubles import silences
from web.doubles import API, CROSS, UI, Fixture, basic, populate
from web.page_doubles import Page

from overc.model import State
from overc.web import dashboard as dashboard_module
from overc.web.forms import FIELDS_MAX
from overc.web.pages import SPAN_CHOICES
from overc.web.site import FORMS
from overc.web.words import as_sentence

ACKS = "select service_id, author, reason, acked_at from acks"
ORIGIN = {"Host": "mon", "Origin": "http://mon"}
HOSTILE = "<b onclick=alert(1)>\u202e & \"'"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With web1/disk (1), which warns."""
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    populate(path)
    return path


@pytest.fixture
def web(database: str) -> Fixture:
    return Fixture(database)


def submit(web: Fixture, path: str, headers: Mapping[str, str] = ORIGIN, /, **fields: str) -> Reply:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return web.ask("POST", path, urlencode(fields).encode(), {**kind, **headers})


def follow(web: Fixture, path: str, answer: Reply) -> tuple[str, Page]:
    """Go where an answer leads to, as a browser does behind a proxy."""
    assert (answer.code, answer.body) == (303, b"")
    folder = "http://proxy.example/deep/mon"
    target = urljoin(folder + path, answer.headers["location"])
    assert target.startswith(folder)
    place = target.removeprefix(folder)
    page = web.ask("GET", place.partition("#")[0])
    assert page.code == 200
    return place, Page(page.body.decode())


def refused(answer: Reply) -> tuple[int, str]:
    """Return the code and the sentence of a page that refuses."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.body.decode())
    [at] = [place for place, text in enumerate(page.texts) if text == str(answer.code)]
    # What happened, then why.
    _, sentence, *_ = [text for text in page.texts[at + 1 :] if text.strip()]
    return answer.code, sentence


def forms(page: Page) -> list[dict[str, str]]:
    return [attrs for tag, attrs in page.elements if tag == "form" and "action" in attrs]


def test_acknowledge_and_take_it_back(web: Fixture) -> None:
    path = "/ui/service/1/ack"
    answer = submit(web, path, reason=HOSTILE, author="Ann Ö")
    place, page = follow(web, path, answer)
    assert place == "/ui/service/1"
    assert rows(web.path, ACKS) == [(1, "Ann Ö", HOSTILE, WALL_AT)]
    assert "Acknowledged by Ann Ö" in page.text
    assert HOSTILE in page.texts
    assert web.changes == 1
    actions = [form["action"] for form in forms(page)]
    assert actions == ["../service/1/unack", "../service/1/silence", "../service/1/rename"]

    path = "/ui/service/1/unack"
    place, page = follow(web, path, submit(web, path))
    assert place == "/ui/service/1"
    assert rows(web.path, ACKS) == []
    assert [form["action"] for form in forms(page)] == [
        "../service/1/ack", "../service/1/silence", "../service/1/rename",
    ]  # fmt: skip


@pytest.mark.parametrize("span", SPAN_CHOICES)
def test_silence_a_service_and_end_that(web: Fixture, span: str) -> None:
    path = "/ui/service/1/silence"
    answer = submit(web, path, **{"for": span}, reason="disk swap", author="ann")
    place, page = follow(web, path, answer)
    assert place == "/ui/service/1"
    length_s = {"m": 60, "h": 3600, "d": 86400}[span[-1]] * int(span[:-1])
    assert silences(web) == [("web1", "disk", "ann", "disk swap", WALL_AT, WALL_AT + length_s)]
    assert "Silenced until" in page.text
    assert "by ann: disk swap" in page.text

    page = Page(web.ask("GET", "/ui/silences").body.decode())
    assert [form["action"] for form in forms(page)] == [
        "./silences/1/extend", "./silences/1/end", "./silences"
    ]  # fmt: skip
    web.clock.advance(5)
    path = "/ui/silences/1/end"
    place, page = follow(web, path, submit(web, path))
    assert place == "/ui/silences"
    assert silences(web)[0][-1] == WALL_AT + 5
    assert [form["action"] for form in forms(page)] == ["./silences"]


def test_a_silence_of_one_service_is_of_no_other_one(web: Fixture) -> None:
    report = a_report(a_state("a*[b]", State.WARN), a_state("ab", State.WARN))
    record(web.path, a_recorder(), FakeClock(), report)
    [(id_,)] = rows(web.path, "select id from services where name = 'a*[b]'")
    answer = submit(web, f"/ui/service/{id_}/silence", **{"for": "2h"}, reason="x")
    assert answer.code == 303
    page = Page(web.ask("GET", "/ui/services").body.decode())
    assert page.text.count("silenced until") == 1
    assert re.search(r"a\*\[b\] ?silenced until", page.text)


def test_the_author_is_who_came_in(database: str) -> None:
    web = Fixture(database, API, UI)
    user = {**ORIGIN, **basic(UI.user, UI.password)}
    for author in ({}, {"author": ""}):
        assert submit(web, "/ui/service/1/ack", user, reason="x", **author).code == 303
        assert rows(web.path, ACKS) == [(1, UI.user, "x", WALL_AT)]


@pytest.mark.parametrize(
    "path, fields, code, sentence",
    [
        (
            "/ui/service/1/ack",
            {"reason": " "},
            400,
            "a reason is missing: say who you are and why, others will read it",
        ),
        (
            "/ui/service/1/ack",
            {"author": "ann"},
            400,
            "a reason is missing: say who you are and why, others will read it",
        ),
        (
            "/ui/service/1/ack",
            {"reason": "x" * 501},
            400,
            "a reason has 500 characters at most, this one has 501",
        ),
        (
            "/ui/service/9/ack",
            {"reason": "x"},
            404,
            "there is no service 9: it may have been deleted",
        ),
        (
            "/ui/service/1/unack",
            {},
            409,
            "nobody has acknowledged a problem of this service",
        ),
        (
            "/ui/service/9/silence",
            {"for": "2h", "reason": "x"},
            404,
            "there is no service 9: it may have been deleted",
        ),
        (
            "/ui/service/1/silence",
            {"reason": "x"},
            400,
            'give either "for", such as "2h", or "until", a time in UTC',
        ),
        (
            "/ui/service/1/silence",
            {"for": "400d", "reason": "x"},
            400,
            "for: expected more than 0 seconds and at most 366 days",
        ),
        ("/ui/silences/9/end", {}, 404, "there is no silence 9"),
    ],
)
def test_what_is_refused(
    web: Fixture, path: str, fields: dict[str, str], code: int, sentence: str
) -> None:
    assert refused(submit(web, path, **fields)) == (code, as_sentence(sentence))
    assert (rows(web.path, ACKS), silences(web), web.changes) == ([], [], 0)


def test_a_problem_that_is_over_is_not_acknowledged(web: Fixture) -> None:
    change(web.path, "update services set state = 'OK'")
    answer = submit(web, "/ui/service/1/ack", reason="x")
    sentence = 'Nothing is wrong with "disk": only a problem can be acknowledged'
    assert refused(answer) == (409, as_sentence(sentence))


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"reason",
        b"reason=%ff",
        b'{"reason": "x"}',
        "reason=ö".encode(),
        b"&".join(b"a%d=1" % number for number in range(FIELDS_MAX + 1)),
    ],
)
def test_what_is_no_form(web: Fixture, body: bytes) -> None:
    sentence = "this is no form of a page: reload the page and try again"
    answer = web.ask("POST", "/ui/service/1/ack", body, ORIGIN)
    assert refused(answer) == (400, as_sentence(sentence))
    assert rows(web.path, ACKS) == []


PATHS = [re.sub("<[^>]*>", "1", path) for path, _ in FORMS]
FIELDS: dict[str, Any] = {"for": "2h", "reason": "x"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        CROSS,
        {"Sec-Fetch-Site": "same-site", **ORIGIN},
        {"Host": "mon", "Origin": "http://evil.example"},
        {"Host": "mon", "Origin": "null"},
    ],
)
def test_forms_of_other_sites_change_nothing(
    web: Fixture, path: str, headers: Mapping[str, str]
) -> None:
    assert submit(web, "/ui/service/1/silence", **FIELDS).code == 303
    before = silences(web)
    web.clock.advance(1)
    answer = submit(web, path, headers, **FIELDS)
    assert refused(answer) == (403, "This request came from another site's page.")
    assert (rows(web.path, ACKS), silences(web)) == ([], before)


@pytest.mark.parametrize("path", PATHS)
def test_forms_want_the_password(database: str, path: str) -> None:
    web = Fixture(database, API, UI)
    for headers in ({}, basic(API.user, API.password)):
        answer = submit(web, path, {**ORIGIN, **headers}, **FIELDS)
        assert answer.code == 401
        assert "www-authenticate" in answer.headers
    assert (rows(web.path, ACKS), silences(web)) == ([], [])


@pytest.mark.parametrize("path", PATHS)
def test_forms_are_posted(web: Fixture, path: str) -> None:
    asks_first = path.endswith(("/delete", "/forget", "/ui/silences"))
    assert web.ask("GET", path).code == (200 if asks_first else 405)


def test_every_field_has_a_label(web: Fixture) -> None:
    page = Page(web.ask("GET", "/ui/service/1").body.decode())
    fields = [attrs["id"] for tag, attrs in page.elements if tag in {"input", "select"}]
    labels = [attrs["for"] for tag, attrs in page.elements if tag == "label"]
    assert fields == labels
    assert len(set(fields)) == 6


def test_no_form_for_what_is_not_wrong(web: Fixture) -> None:
    record(web.path, a_recorder(), FakeClock(), a_report(a_state("disk")))
    page = Page(web.ask("GET", "/ui/service/1").body.decode())
    actions = [form["action"] for form in forms(page)]
    assert actions == ["../service/1/silence", "../service/1/rename"]
