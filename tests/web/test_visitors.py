"""Who is let in, as whom, and who may change things."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from support_daemon import Reply, a_database, rows
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress
from web.doubles import API, PING, UI, Fixture, basic, populate, post

from overc.daemon.access_settings import Access, Credentials, parse_proxies
from overc.daemon.patterns import Patterns
from overc.web import dashboard

READER = Credentials("anna", "looks ü")
SECOND = Credentials("ben", "too")
PROXY = IPv4Address("TCP", "10.0.0.1", 4711)
STRANGER = IPv4Address("TCP", "192.0.2.7", 4711)
UNIX = UNIXAddress(None)
HEADER = "X-Remote-User"
READERS = Access(readers=(READER, SECOND))
REMOTE = Access(
    readers=(READER,),
    proxies=parse_proxies("10.0.0.0/8 unix"),
    remote_user_header=HEADER.lower(),
    remote_writers=Patterns("!guest*"),
)
ACK = json.dumps({"service_id": 1, "reason": "on it"}).encode()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(dashboard, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    populate(path)
    return path


def as_reader(user: Credentials = READER) -> dict[str, str]:
    return basic(user.user, user.password)


def as_admin() -> dict[str, str]:
    return basic(UI.user, UI.password)


def ask(
    web: Fixture,
    method: str,
    path: str,
    headers: Mapping[str, str | bytes] = {},
    peer: IAddress = PROXY,
    body: bytes = b"",
) -> Reply:
    return web.wire(peer).ask(method, path, body, headers)


@pytest.mark.parametrize("user", [READER, SECOND])
@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/services", "/ui/service/1", "/ui/api/status/", "/ui/static/overc.css"]
)
def test_a_reader_sees_everything(database: str, user: Credentials, path: str) -> None:
    web = Fixture(database, API, UI, access=READERS)
    assert web.ask("GET", path, headers=as_reader(user)).code == 200
    assert web.ask("HEAD", path, headers=as_reader(user)).code == 200


def writes(web: Fixture) -> list[tuple[str, str]]:
    """Return every route of the dashboard that takes anything but looks."""
    routes = web.site.resource._app.url_map.iter_rules()
    return [
        (method, re.sub(r"<\w+:\w+>", "1", rule.rule))
        for rule in routes
        for method in rule.methods - {"GET", "HEAD", "OPTIONS"}
        if rule.rule.startswith("/ui")
    ]


def test_a_reader_changes_nothing(database: str) -> None:
    web = Fixture(database, API, UI, access=READERS)
    known = writes(web)
    assert {"POST", "DELETE"} <= {method for method, _ in known}
    assert len(known) > 10
    before = rows(database, "select * from services")
    for method, path in [*known, ("POST", "/ui/"), ("PUT", "/ui/no"), ("OPTIONS", "/ui/services")]:
        answer = web.ask(method, path, b"{}", as_reader())
        assert answer.code == 403, path
        assert b"he login anna may look at everything and change nothing" in answer.body, path
    assert rows(database, "select * from services") == before
    assert web.changes == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("anna", "wrong"),
        basic("anna", UI.password),
        basic("ben", READER.password),
        basic("ANNA", READER.password),
        basic("", ""),
    ],
)
def test_nobody_else_comes_in(database: str, headers: dict[str, str]) -> None:
    web = Fixture(database, API, UI, access=READERS)
    for method in ("GET", "POST"):
        answer = web.ask(method, "/ui/", headers=headers)
        assert answer.code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")


def test_a_reader_s_pages_say_that_nothing_can_be_changed(database: str) -> None:
    web = Fixture(database, API, UI, access=READERS)
    for headers, word in ((as_reader(), b"no"), (as_admin(), b"yes")):
        for path in ("/ui/", "/ui/service/1", "/ui/silences", "/ui/service/9", "/ui/?page=x"):
            page = web.ask("GET", path, headers=headers).body
            assert b'data-can-change="%b"' % word in page, path
    assert b'method="post"' not in web.ask("GET", "/ui/service/1", headers=as_reader()).body


def test_a_reader_s_password_is_not_the_api_s(database: str) -> None:
    web = Fixture(database, API, UI, access=READERS)
    assert web.ask("POST", "/api/ping", PING, as_reader()).code == 401


def test_passwords_are_compared_all_of_them_and_in_constant_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def same(one: bytes, other: bytes) -> bool:
        compared.append(other)
        assert len(one) == len(other) == 32
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", same)
    web = Fixture(database, API, UI, access=READERS)
    for headers in (as_reader(), as_reader(SECOND), basic("x", "y")):
        compared.clear()
        web.ask("GET", "/ui/api/silences", headers=headers)
        assert len(set(compared)) == 3


def author(database: str) -> list[tuple[str]]:
    return rows(database, "select author from acks")


@pytest.mark.parametrize("peer", [PROXY, UNIX])
def test_a_trusted_proxy_names_the_user(database: str, peer: IAddress) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    assert ask(web, "GET", "/ui/", {HEADER: "zoë".encode()}, peer).code == 200
    answer = ask(web, "POST", "/ui/api/ack", {HEADER: "zoë".encode()}, peer, ACK)
    assert answer.code == 200
    assert author(database) == [("zoë",)]


def test_a_user_named_by_a_proxy_can_t_hide_behind_another_name(database: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    body = json.dumps({"service_id": 1, "reason": "on it", "author": "boss"}).encode()
    assert ask(web, "POST", "/ui/api/ack", {HEADER: "zoe"}, PROXY, body).code == 200
    assert author(database) == [("boss (zoe)",)]


@pytest.mark.parametrize("name", ["X-Remote-User", "x-remote-user", "X-REMOTE-USER"])
def test_from_anybody_else_the_header_is_ignored(database: str, name: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    assert ask(web, "GET", "/ui/", {name: "admin"}, STRANGER).code == 401
    assert ask(web, "POST", "/ui/api/ack", {name: "admin"}, STRANGER, ACK).code == 401
    headers = {name: "zoe", **as_admin()}
    assert ask(web, "POST", "/ui/api/ack", headers, STRANGER, ACK).code == 200
    assert author(database) == [(UI.user,)]


def test_a_proxy_that_is_itself_forwarded_is_not_the_peer(database: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    headers = {HEADER: "admin", "X-Forwarded-For": "10.0.0.1"}
    assert ask(web, "GET", "/ui/", headers, STRANGER).code == 401


@pytest.mark.parametrize("name", ["X-Remote-User", "Remote-User", "X-Forwarded-User"])
def test_without_the_option_no_header_counts(database: str, name: str) -> None:
    web = Fixture(database, API, UI, access=Access(proxies=REMOTE.proxies))
    assert ask(web, "GET", "/ui/", {name: "admin"}).code == 401


def test_another_header(database: str) -> None:
    chosen = Access(proxies=REMOTE.proxies, remote_user_header="x-forwarded-user")
    web = Fixture(database, API, UI, access=chosen)
    assert ask(web, "GET", "/ui/", {"X-Forwarded-User": "zoe"}).code == 200
    assert ask(web, "GET", "/ui/", {HEADER: "zoe"}).code == 401


def test_who_may_only_look_among_the_proxy_s_users(database: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    guest = {HEADER: "guest7"}
    page = ask(web, "GET", "/ui/service/1", guest)
    assert page.code == 200
    assert b'data-can-change="no"' in page.body
    answer = ask(web, "POST", "/ui/api/ack", guest, PROXY, ACK)
    assert answer.code == 403
    assert answer.error.startswith("the login guest7 may look at everything and change nothing")
    # The header wins: the proxy sends the browser's credentials on.
    both = {**guest, **as_admin()}
    assert ask(web, "POST", "/ui/api/ack", both, PROXY, ACK).code == 403


@pytest.mark.parametrize(
    "writers, user, code",
    [
        ("!guest*", "guest7", 403),
        # Who checks passwords often takes a name in any case.
        ("!guest*", "Guest7", 403),
        ("!guest*", "GUEST7", 403),
        ("!Guest*", "guest7", 403),
        ("!Stra\u00dfe", "STRASSE", 403),
        ("!guest*", "zoe", 200),
        ("zoe", "zoe", 200),
        ("zoe", "Zoe", 403),
        ("Zoe, !ben", "Zoe", 200),
        ("*, !ben", "Ben", 403),
    ],
)
def test_whoever_may_not_change_things_may_not_in_capitals_either(
    database: str, writers: str, user: str, code: int
) -> None:
    access = Access(
        proxies=REMOTE.proxies,
        remote_user_header=HEADER.lower(),
        remote_writers=Patterns(writers),
    )
    web = Fixture(database, API, UI, access=access)
    assert ask(web, "POST", "/ui/api/ack", {HEADER: user}, PROXY, ACK).code == code
    page = ask(web, "GET", "/ui/", {HEADER: user})
    assert (b'data-can-change="yes"' in page.body) is (code == 200)


def test_a_proxy_that_names_nobody(database: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    for value in ("", "  "):
        assert ask(web, "GET", "/ui/", {HEADER: value}).code == 401
        assert ask(web, "GET", "/ui/", {HEADER: value, **as_admin()}).code == 200
    assert ask(web, "GET", "/ui/", as_reader()).code == 200


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_without_ui_auth_the_proxy_is_the_only_door(database: str, peer: IAddress) -> None:
    web = Fixture(database, access=Access(proxies=REMOTE.proxies, remote_user_header="x-user"))
    answer = ask(web, "GET", "/ui/api/status/", {}, peer)
    assert answer.code == 403
    assert answer.error == "log in: the proxy in front of this server has to say who it is"
    code = 200 if peer is PROXY else 403
    assert ask(web, "GET", "/ui/api/status/", {"X-User": "zoe"}, peer).code == code


def test_a_header_that_came_twice_is_refused(database: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    wire = web.wire(PROXY)
    wire.send(b"GET /ui/ HTTP/1.1\r\nHost: x\r\nX-Remote-User: a\r\nX-Remote-User: b\r\n\r\n")
    assert [reply.code for reply in wire.replies()] == [403]


@pytest.mark.parametrize("value", [b"a\tb", b"\xe2\x80\xae", b"a" * 256, b"\x01"])
def test_what_is_no_user_s_name(database: str, value: bytes) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    assert ask(web, "GET", "/ui/", {HEADER: value}).code in (400, 403)


def test_the_api_knows_no_users_of_proxies(database: str) -> None:
    web = Fixture(database, API, UI, access=REMOTE)
    for path in ("/api/ping", "/api/%70ing"):
        assert web.wire(PROXY).ask("POST", path, PING, {HEADER: "zoe"}).code == 401


@pytest.mark.parametrize("path", ["/api/ping", "/api/%70ing"])
@pytest.mark.parametrize("peer, ip", [(PROXY, "203.0.113.9"), (STRANGER, "192.0.2.7")])
def test_where_reports_come_from(database: str, path: str, peer: IAddress, ip: str) -> None:
    web = Fixture(database, access=REMOTE)
    wire = web.wire(peer)
    wire.send(post(path, PING, "X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.9.9.9"))
    assert [report.peer_ip for report in web.intake.reports] == [ip]


@pytest.mark.parametrize(
    "headers, url, peer, code",
    [
        ({"Origin": "https://mon.example.com"}, None, PROXY, 403),
        ({"Origin": "https://mon.example.com", "Host": "mon.example.com"}, None, PROXY, 200),
        ({"Origin": "https://mon.example.com"}, "https://mon.example.com/overc", PROXY, 200),
        ({"Origin": "https://mon.example.com"}, "https://mon.example.com", STRANGER, 200),
        ({"Origin": "https://evil.example"}, "https://mon.example.com", PROXY, 403),
        ({"Origin": "https://a.example", "X-Forwarded-Host": "a.example"}, None, PROXY, 200),
        ({"Origin": "https://a.example", "X-Forwarded-Host": "a.example"}, None, STRANGER, 403),
        ({"Origin": "https://a.example", "X-Forwarded-Host": "b.example"}, None, PROXY, 403),
        ({"Origin": "null", "X-Forwarded-Host": "null"}, None, PROXY, 403),
        ({"Sec-Fetch-Site": "cross-site"}, "https://mon.example.com", PROXY, 403),
        ({"Sec-Fetch-Site": "same-origin"}, None, PROXY, 200),
    ],
)
def test_the_check_for_other_sites_behind_a_proxy(
    database: str, headers: dict[str, str], url: str | None, peer: IAddress, code: int
) -> None:
    """The proxy puts its own name for us into `Host`, unless the case says otherwise."""
    names = Patterns("mon.example.com, a.example")
    web = Fixture(database, access=Access(proxies=REMOTE.proxies, names=names), url=url)
    sent = {"Host": "127.0.0.1:5000", **headers}
    assert ask(web, "POST", "/ui/api/ack", sent, peer, ACK).code == code


@pytest.mark.parametrize(
    "headers, url, peer, base",
    [
        ({}, None, STRANGER, "http://mon:5000/"),
        ({}, "https://mon.example.com/overc", STRANGER, "https://mon.example.com/overc/"),
        ({"X-Forwarded-Host": "a.example"}, None, PROXY, "http://a.example/"),
        (
            {"X-Forwarded-Host": "a.example", "X-Forwarded-Proto": "https"},
            None,
            PROXY,
            "https://a.example/",
        ),
        (
            {"X-Forwarded-Host": "a.example", "X-Forwarded-Prefix": "/m"},
            None,
            PROXY,
            "http://a.example/m/",
        ),
        ({"X-Forwarded-Host": "a.example"}, None, STRANGER, "http://mon:5000/"),
    ],
)
def test_the_curl_line_has_the_address_that_people_use(
    database: str, headers: dict[str, str], url: str | None, peer: IAddress, base: str
) -> None:
    web = Fixture(database, access=Access(proxies=REMOTE.proxies), url=url)
    page = ask(web, "GET", "/ui/service/1", {"Host": "mon:5000", **headers}, peer)
    assert f"curl {base}api/set/service/status".encode() in page.body
