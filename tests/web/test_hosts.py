"""By which names things can be changed where nobody logs in."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support_daemon import a_database, rows
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from web.doubles import PING, UI, Fixture, basic, populate

from overc.daemon.access_settings import Access, parse_hosts, parse_proxies
from overc.web import dashboard, hosts
from overc.web.hosts import OwnNames, host_of, is_beyond_others

EVIL = "evil.example:5000"
PROXY = IPv4Address("TCP", "10.0.0.1", 4711)
ACK = json.dumps({"service_id": 1, "reason": "on it"}).encode()
FORM = b"reason=on+it"
SENTENCE = (
    "without a login browsers change things only by a name that is known to be this server's, and"
    " 'evil.example' is none: set ui-auth, or name it in ui-hosts, in the INI file"
)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(dashboard, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    populate(path)
    return path


def from_page(netloc: str, scheme: str = "http") -> dict[str, str]:
    """Return what a browser sends for a page that it loaded from there."""
    return {"Host": netloc, "Origin": f"{scheme}://{netloc}"}


def n_acks(database: str) -> int:
    [(count,)] = rows(database, "select count(*) from acks")
    assert isinstance(count, int)
    return count


def test_a_name_that_was_made_to_lead_here_changes_nothing(database: str) -> None:
    web = Fixture(database)
    answer = web.ask("POST", "/ui/api/ack", ACK, from_page(EVIL))
    assert (answer.code, answer.error) == (403, SENTENCE)
    for method, path, body in (
        ("DELETE", "/ui/api/item/server/1", b""),
        ("PATCH", "/ui/api/item/server/1", b'{"title": "x"}'),
        ("POST", "/ui/api/rejected-keys/1/accept", b""),
        ("POST", "/ui/service/1/ack", FORM),
        ("POST", "/ui/nothing", b""),
    ):
        answer = web.ask(method, path, body, from_page(EVIL))
        assert answer.code == 403, path
        assert b"evil.example" in answer.body, path
    assert n_acks(database) == 0
    assert rows(database, "select title from servers") == [("web1",)]


def test_a_form_is_refused_with_a_page_that_says_what_to_do(database: str) -> None:
    answer = Fixture(database).ask("POST", "/ui/service/1/ack", FORM, from_page("<b>.evil.example"))
    assert answer.code == 403
    assert b"<b>" not in answer.body
    assert b"ui-hosts" in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": EVIL},
        {"Host": ""},
        from_page("127.0.0.1:5000"),
        from_page("192.0.2.7"),
        from_page("[::1]:5000"),
        from_page("localhost:5000"),
        from_page("overc.localhost:5000"),
        from_page("LOCALHOST:5000"),
        from_page("nas:5000"),
        from_page("mon.lan:5000"),
        from_page("MON.lan.:5000"),
        from_page("mon.example.com", "https"),
        from_page("a.home.arpa"),
        {"Host": "backend.example", "Origin": "https://mon.example.com"},
        {"Host": "mon.lan", "Sec-Fetch-Site": "same-origin"},
        {"Host": "mon.lan", "Sec-Fetch-Site": "same-origin", "Origin": "null"},
    ],
)
def test_programs_and_names_that_are_known(database: str, headers: Mapping[str, str]) -> None:
    """`nas` and the like can't be had by others, and programs send no Origin."""
    access = Access(names=parse_hosts("*.home.arpa, !b.home.arpa"))
    url = "https://mon.example.com/overc"
    web = Fixture(database, access=access, url=url, is_own_name="mon.lan".__eq__)
    assert web.ask("POST", "/ui/api/ack", ACK, headers).code == 200


@pytest.mark.parametrize(
    "headers",
    [
        from_page("b.home.arpa"),
        from_page("mon.example.com.evil.example"),
        from_page("127.0.0.1.evil.example"),
        from_page("localhost.evil.example"),
        from_page("evillocalhost.example"),
        from_page("mon.lan.evil.example"),
        {**from_page(EVIL), "Sec-Fetch-Site": "same-origin"},
        {"Host": EVIL, "Sec-Fetch-Site": "none"},
        {"Host": EVIL, "Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Host": "", "Sec-Fetch-Site": "same-origin"},
        {"Host": "[", "Sec-Fetch-Site": "same-origin"},
        # Any page may send this header to where it came from.
        {**from_page(EVIL), "X-Forwarded-Host": "localhost"},
    ],
)
def test_names_that_others_may_have(database: str, headers: Mapping[str, str]) -> None:
    access = Access(names=parse_hosts("*.home.arpa, !b.home.arpa"))
    url = "https://mon.example.com/overc"
    web = Fixture(database, access=access, url=url, is_own_name="mon.lan".__eq__)
    assert web.ask("POST", "/ui/api/ack", ACK, headers).code == 403
    assert n_acks(database) == 0


def test_behind_a_proxy_the_name_is_that_of_the_page(database: str) -> None:
    access = Access(proxies=parse_proxies("10.0.0.0/8"), names=parse_hosts("mon.example.com"))
    web = Fixture(database, access=access)

    def code(headers: dict[str, str]) -> int:
        return web.wire(PROXY).ask("POST", "/ui/api/ack", ACK, headers).code

    ours = {"Host": "10.0.0.2:5000", "X-Forwarded-Host": "mon.example.com"}
    assert code({**ours, "Origin": "https://mon.example.com"}) == 200
    assert code({**ours, "Sec-Fetch-Site": "same-origin"}) == 200
    forwarded = {"Host": "10.0.0.2:5000", "X-Forwarded-Host": "evil.example"}
    assert code({**forwarded, "Origin": "http://evil.example"}) == 403
    assert code({**forwarded, "Sec-Fetch-Site": "same-origin"}) == 403
    # A page on the proxy's own machine that came to us past the proxy.
    assert code({**from_page(EVIL), "X-Forwarded-Host": "mon.example.com"}) == 403


def test_with_a_login_any_name_will_do(database: str) -> None:
    headers = {**from_page(EVIL), **basic(UI.user, UI.password)}
    web = Fixture(database, ui_auth=UI)
    assert web.ask("POST", "/ui/api/ack", ACK, headers).code == 200
    named = Access(proxies=parse_proxies("10.0.0.0/8"), remote_user_header="x-user")
    headers = {**from_page(EVIL), "X-User": "zoe"}
    wire = Fixture(database, access=named).wire(PROXY)
    assert wire.ask("POST", "/ui/api/ack", ACK, headers).code == 200


def test_reading_and_reporting_are_as_ever(database: str) -> None:
    web = Fixture(database)
    for path in ("/ui/", "/ui/api/status/", "/healthz"):
        assert web.ask("GET", path, headers=from_page(EVIL)).code == 200
    for path in ("/api/ping", "/api/%70ing"):
        assert web.ask("POST", path, PING, from_page(EVIL)).code == 200


@pytest.mark.parametrize(
    "origin, host, name",
    [
        (None, None, ""),
        ("", "", ""),
        ("http://A.example:1", "b.example", "a.example"),
        ("http://a.example.", None, "a.example"),
        ("null", "b.example:1", "b.example"),
        ("http://[", "b.example:1", "b.example"),
        (None, "[::1]:5000", "::1"),
        (None, "[", ""),
        ("null", None, ""),
    ],
)
def test_by_which_name(origin: str | None, host: str | None, name: str) -> None:
    assert host_of(origin, host) == name


@pytest.mark.parametrize("name", ["a", "localhost", "a.b.localhost", "192.0.2.1", "::1", "fd00::1"])
def test_names_that_nobody_else_can_have(name: str) -> None:
    assert is_beyond_others(name)


@pytest.mark.parametrize("name", ["", "a.b", "localhost.b", "xlocalhost.b", "1.2.3", "1.2.3.4.b"])
def test_names_that_anybody_can_have(name: str) -> None:
    assert not is_beyond_others(name)


def test_what_this_machine_calls_itself() -> None:
    later: list[Callable[[], None]] = []
    own = OwnNames("Mon", {"mon": "MON.example.com."}.get, later.append)
    assert own.know("mon")
    assert own.know("mon.local")
    own.startService()
    # The name server takes its time.
    assert not own.know("mon.example.com")
    [look] = later
    look()
    assert own.know("mon.example.com")
    assert own.know("mon")
    assert not own.know("example.com")


def test_a_whole_name_that_is_not_to_be_had() -> None:
    own = OwnNames("mon.example.com", lambda name: None, lambda work: work())
    own.startService()
    assert [name for name in ("mon.example.com", "mon.local", "mon") if own.know(name)] == [
        "mon.example.com",
        "mon.local",
    ]


def test_the_whole_name_is_looked_up_beside_everything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, done = threading.Event(), threading.Event()

    def slow(name: str) -> str | None:
        assert go.wait(10)
        done.set()
        return None

    monkeypatch.setattr(hosts, "whole_name", slow)
    OwnNames("mon").startService()
    assert not done.is_set()
    go.set()
    assert done.wait(10)


@pytest.mark.parametrize("error", [socket.gaierror(-3, "no name server"), UnicodeError("long")])
def test_a_name_server_that_is_away(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert hosts.whole_name("mon") is None


@pytest.mark.parametrize("found, name", [("mon.lan", "mon.lan"), ("", None)])
def test_what_a_name_server_says(
    monkeypatch: pytest.MonkeyPatch, found: str, name: str | None
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, found, ("::1", 0))])
    assert hosts.whole_name("mon") == name
