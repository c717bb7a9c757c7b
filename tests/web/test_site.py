from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_daemon import a_database, our_log, rows
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from web.doubles import API, CROSS, PING, UI, Fixture, basic, populate, post

from overc.daemon.access_settings import Access
from overc.daemon.intake import Overloaded
from overc.daemon.patterns import Patterns
from overc.daemon.recording import WrongKey
from overc.daemon.store.errors import StorageError
from overc.model import AlertReport, Report, ServerIdentity, ServiceReport, State
from overc.web import dashboard as dashboard_module
from overc.web.actions import Actions
from overc.web.answers import ALWAYS
from overc.web.reports import DECODERS
from overc.web.site import ATTENTION_API, DASHBOARD_API, PAGES


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = a_database(tmp_path)
    populate(path)
    return path


@pytest.fixture
def web(database: str, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    return Fixture(database)


@pytest.fixture
def guarded(database: str, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    return Fixture(database, API, UI)


STATUS = {"server": {"name": "web1", "key": "k"}, "period": 60}
WEB1 = ServerIdentity("web1", "k")


@pytest.mark.parametrize(
    "path, body, reply, report",
    [
        ("/api/ping", PING, {"pong": 1}, Report(WEB1, "192.0.2.7")),
        (
            "/api/set/service/status",
            json.dumps({**STATUS, "services": [{"name": "ё", "state": "ERR"}]}).encode(),
            {"ok": 1},
            Report(WEB1, "192.0.2.7", (ServiceReport("ё", State.FAIL, "", 60),)),
        ),
        (
            "/api/set/alerts",
            json.dumps({**STATUS, "alerts": [{"message": "x"}]}).encode(),
            {"ok": 1},
            Report(WEB1, "192.0.2.7", alerts=(AlertReport("x"),)),
        ),
    ],
)
def test_reporting(
    web: Fixture, path: str, body: bytes, reply: dict[str, int], report: Report
) -> None:
    answer = web.ask("POST", path, body)
    assert (answer.code, answer.json) == (200, reply)
    assert answer.headers["content-type"] == "application/json"
    assert web.intake.reports == [report]


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "", 'text/plain;x="y']
)
def test_the_type_of_a_body_does_not_matter(web: Fixture, kind: str) -> None:
    assert web.ask("POST", "/api/ping", PING, {"Content-Type": kind}).json == {"pong": 1}


@pytest.mark.parametrize(
    "peer, ip", [(IPv6Address("TCP", "2001:db8::1", 5), "2001:db8::1"), (UNIXAddress(None), "")]
)
def test_the_peer(web: Fixture, peer: IAddress, ip: str) -> None:
    web.wire(peer).ask("POST", "/api/ping", PING)
    assert web.intake.reports[0].peer_ip == ip


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_nobody_says_where_he_comes_from(web: Fixture, name: str) -> None:
    web.ask("POST", "/api/ping", PING, {name: "203.0.113.9"})
    assert web.intake.reports[0].peer_ip == "192.0.2.7"


@pytest.mark.parametrize(
    "encoding, code",
    [
        ("identity", 200),
        ("", 200),
        ("gzip", 400),
        ("deflate", 415),
        ("br", 415),
        ("identity, gzip", 415),
        (b"\xff", 415),
    ],
)
def test_content_encodings(web: Fixture, encoding: str | bytes, code: int) -> None:
    answer = web.ask("POST", "/api/ping", PING, {"Content-Encoding": encoding})
    assert answer.code == code
    assert len(web.intake.reports) == (code == 200)
    if isinstance(encoding, str) and code == 415:
        sentence = f"Content-Encoding {encoding!r} is not taken: send the body as it is, or gzip"
        assert answer.error == sentence


def test_a_malformed_body(web: Fixture) -> None:
    answer = web.ask("POST", "/api/ping", b"{}")
    assert (answer.code, answer.error) == (400, "server: is missing")
    assert web.intake.reports == []


@pytest.mark.parametrize(
    "error, code, later",
    [
        (WrongKey("web1"), 403, None),
        (Overloaded("busy"), 503, "5"),
        (StorageError("Unable to store a report: disk full"), 503, "5"),
        (ZeroDivisionError("secret"), 500, None),
    ],
)
def test_errors_of_the_intake(web: Fixture, error: Exception, code: int, later: str | None) -> None:
    web.intake.error = error
    with our_log():
        answer = web.ask("POST", "/api/ping", PING)
    assert answer.code == code
    assert answer.headers.get("retry-after") == later
    assert "secret" not in answer.error


# The same route, but written so that it is found by Klein: its answer has a time limit of its own.
LONG_WAY = "/api/%70ing"


def test_an_intake_that_takes_too_long(web: Fixture) -> None:
    web.intake.waits = Deferred(lambda waited: None)
    wire = web.wire()
    wire.send(post(LONG_WAY))
    web.reactor.advance(4.9)
    assert wire.value() == b""
    web.reactor.advance(0.1)
    [answer] = wire.replies()
    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    # The connection is good for the next one.
    web.intake.waits = None
    assert wire.ask("POST", "/api/ping", PING).code == 200


def test_a_client_that_goes_away(web: Fixture) -> None:
    waits: Deferred[None] = Deferred()
    web.intake.waits = waits
    ended: list[object] = []
    waits.addErrback(lambda failure: ended.append(failure.check(CancelledError)))
    wire = web.wire()
    wire.send(post(LONG_WAY))
    with our_log() as lines:
        wire.hang_up()
    assert ended == [CancelledError]
    assert wire.value() == b""
    assert lines == []
    assert web.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    "path",
    [
        "/ui/api/status/",
        "/ui/api/status",
        "/ui/api/status/server/1",
        "/ui/api/status/server/1/",
        "/ui/api/status/service/1",
        "/ui/api/status/service/1/states",
        "/ui/api/status/service/1/states/?groups=yes&hours=1&expand=1-2",
        "/ui/api/status/alerts/",
        "/ui/api/status/alerts",
        "/ui/api/status/alerts/?hours=24",
        "/ui/api/status/alerts/server/1",
        "/ui/api/status/alerts/service/1",
        "/ui/api/changes",
        "/ui/api/changes/?since=5",
    ],
)
def test_the_dashboard_api(web: Fixture, path: str) -> None:
    answer = web.ask("GET", path)
    assert (answer.code, answer.headers["content-type"]) == (200, "application/json")
    assert set(answer.json) <= {
        "stats",
        "servers",
        "states",
        "alerts",
        "version",
        "full",
        "services",
    }
    for name, value in ALWAYS.items():
        assert answer.headers[name.lower()] == value


@pytest.mark.parametrize(
    "path, left", [("/ui/api/item/server/1", 0), ("/ui/api/item/service/1", 1)]
)
def test_delete(web: Fixture, path: str, left: int) -> None:
    assert web.ask("DELETE", path).json == {"ok": 1}
    assert rows(web.path, "select count(*) from servers") == [(left,)]
    assert rows(web.path, "select count(*) from services") == [(0,)]
    assert web.ask("DELETE", path).code == 404


OURS = ("/ui/", "/ui/?x=y", "/ui/services", "/ui/server/1", "/ui/service/1", "/ui/alerts")


@pytest.mark.parametrize("path", [*OURS, "/ui/silences"])
def test_pages(web: Fixture, path: str) -> None:
    answer = web.ask("GET", path)
    assert (answer.code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")
    for name, value in ALWAYS.items():
        assert answer.headers[name.lower()] == value
    head = web.wire().ask("HEAD", path)
    assert (head.code, head.headers["content-length"]) == (200, str(len(answer.body)))


def test_a_page_knows_where_it_was_found(web: Fixture) -> None:
    page = web.ask("GET", "/ui/service/1", headers={"Host": "mon.example.com:8080"})
    assert b"http://mon.example.com:8080/api/set/service/status" in page.body


@pytest.mark.parametrize("path", ["/", "/ui", "/?x=y"])
def test_redirects_hold_under_any_path_of_a_proxy(web: Fixture, path: str) -> None:
    answer = web.ask("GET", path)
    assert (answer.code, answer.headers["location"], answer.body) == (302, "ui/", b"")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("overc.css", "text/css; charset=utf-8"),
        ("overc.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_static_files(web: Fixture, name: str, kind: str) -> None:
    answer = web.ask("GET", f"/ui/static/{name}")
    assert (answer.code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.body


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/nothing"),
        ("GET", "/api"),
        ("GET", "/api/"),
        ("POST", "/api/ping/"),
        ("POST", "/api/pings"),
        ("POST", "/API/PING"),
        ("GET", "/ui/nothing"),
        ("GET", "/ui/services/"),
        ("GET", "/ui/alerts/"),
        ("GET", "/ui/server/1/"),
        ("GET", "//ui//"),
        ("GET", "/ui/server/"),
        ("GET", "/ui/server/x"),
        ("GET", "/ui/server/-1"),
        ("GET", "/ui/server/1.0"),
        ("GET", "/ui/api/status/server/9223372036854775808"),
        ("DELETE", "/ui/api/item/service/9223372036854775808"),
        ("GET", "/ui/api/status/service/" + "9" * 5000 + "/states"),
        ("GET", "/ui/static/"),
        ("GET", "/ui/static/nothing.css"),
        ("GET", "/ui/static/../site.py"),
        ("GET", "/ui/static/..%2fsite.py"),
        ("GET", "/ui/static/%2e%2e/site.py"),
        ("GET", "/ui/static/%00"),
        ("GET", "/%00"),
        ("GET", "/ui/static/overc.css/"),
        ("GET", "/favicon.ico"),
        ("GET", "/.git/config"),
    ],
)
def test_nothing_there(web: Fixture, method: str, path: str) -> None:
    answer = web.ask(method, path)
    assert answer.code == 404
    assert answer.error.startswith(("there is nothing at /", "there is no file '"))


@pytest.mark.parametrize("path", ["/ui/server/9", "/ui/service/" + "9" * 18])
def test_a_page_of_what_is_not_there(web: Fixture, path: str) -> None:
    answer = web.ask("GET", path)
    assert (answer.code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"it may have been deleted" in answer.body
    assert b'href="../static/overc.css"' in answer.body


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("GET", "/api/ping", "POST"),
        ("PUT", "/api/set/alerts", "POST"),
        ("DELETE", "/api/set/service/status", "POST"),
        ("POST", "/ui/", "GET, HEAD"),
        ("OPTIONS", "/ui/services", "GET, HEAD"),
        ("POST", "/ui/api/status/", "GET, HEAD"),
        ("GET", "/ui/api/item/server/1", "DELETE, PATCH"),
        ("POST", "/ui/api/item/service/1", "DELETE, PATCH"),
        ("GET", "/ui/api/forget", "POST"),
        ("GET", "/ui/api/rejected-keys/1/accept", "POST"),
        ("POST", "/ui/api/changes", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/ui/api/ack", "DELETE, POST"),
        ("PUT", "/ui/api/silences", "GET, HEAD, POST"),
        ("PUT", "/ui/api/silences/1", "DELETE, POST"),
        ("POST", "/ui/api/explain/service/1", "GET, HEAD"),
        ("GET", "/ui/api/alert-test", "POST"),
        ("GET", "/api/set/silence", "POST"),
        ("BREW", "/", "GET, HEAD"),
    ],
)
def test_methods_that_are_not_taken(web: Fixture, method: str, path: str, allow: str) -> None:
    answer = web.ask(method, path)
    assert (answer.code, answer.headers["allow"]) == (405, allow)
    assert answer.error == f"{path} does not take {method}: use {allow}"
    assert rows(web.path, "select count(*) from services") == [(1,)]


ACTIONS = Actions(Mock(), Mock(), Mock())
# Every route, with an id where it wants one.
ROUTES = [("POST", path) for path in DECODERS]
ROUTES += [(method, path) for method, path, _ in DASHBOARD_API]
ROUTES += [(m, p) for m, p, _ in ATTENTION_API if "silence_id" not in p and p != "/ui/api/explain"]
ROUTES += [(m, p) for m, p, _ in ACTIONS.api() if "rejected_id" not in p]
ROUTES += [("GET", path) for path, _ in PAGES]
ROUTES = [(m, p.replace("<id:server_id>", "1").replace("<id:service_id>", "1")) for m, p in ROUTES]
ROUTES += [("GET", "/ui/static/overc.css")]
# What is asked before it is looked at: whether there is such a route is nobody's business.
UNKNOWN = [
    ("GET", "/api/ping"),
    ("GET", "/api/x"),
    ("PUT", "/ui/"),
    ("GET", "/x"),
    ("GET", "/ui/x"),
]


@pytest.mark.parametrize("method, path", ROUTES + UNKNOWN)
def test_access_comes_before_anything_else(guarded: Fixture, method: str, path: str) -> None:
    right, wrong = (API, UI) if path.startswith("/api/") else (UI, API)
    attempts: list[Mapping[str, str | bytes]] = [
        {},
        basic(wrong.user, wrong.password),
        {"Authorization": b"Basic \xff"},
        CROSS,
    ]
    for headers in attempts:
        answer = guarded.ask(method, path, b"nonsense", headers)
        assert answer.code == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="OverC", charset="UTF-8"'
        assert b"ive the user and the password for this part" in answer.body
        assert b"disk" not in answer.body
    assert guarded.intake.reports == []
    assert rows(guarded.path, "select count(*) from services") == [(1,)]
    known = (method, path) in ROUTES
    answer = guarded.ask(method, path, PING, basic(right.user, right.password))
    assert (answer.code in {404, 405}) == (not known)
    assert answer.code != 401


@pytest.mark.parametrize("method, path", ROUTES)
def test_pages_of_other_sites_change_nothing(web: Fixture, method: str, path: str) -> None:
    refusal = "this request came from another site's page"
    origins: list[Mapping[str, str | bytes]] = [
        CROSS,
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": b"\xff"},
    ]
    for headers in origins:
        answer = web.ask(method, path, PING, headers)
        if method == "GET":
            assert answer.code in {200, 302}
        else:
            assert (answer.code, answer.error) == (403, refusal)
    assert web.intake.reports == []
    assert rows(web.path, "select count(*) from services") == [(1,)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://mon.example.com"},
        {"Origin": "http://mon.example.com"},
        {"Origin": "https://mon.example.com"},
    ],
)
def test_our_own_page_may_delete(web: Fixture, headers: dict[str, str | bytes]) -> None:
    ours = Fixture(web.path, access=Access(names=Patterns("mon.example.com")))
    assert ours.ask("DELETE", "/ui/api/item/service/1", headers=headers).code == 200


@pytest.mark.parametrize(
    "host",
    ["", "x" * 70, "a..b", "é" * 60, "[::1", "[::1]:5000", "x:y", "x y", "<b>", b"\xff", "evil'\""],
)
def test_any_host_header(web: Fixture, host: str | bytes) -> None:
    with our_log() as lines:
        assert web.ask("GET", "/ui/api/status/", headers={"Host": host}).code == 200
        assert web.ask("GET", "/ui/", headers={"Host": host}).code == 200
        assert web.ask("POST", "/api/ping", PING, {"Host": host}).code == 200
    assert lines == []


def test_a_path_that_is_not_utf_8(web: Fixture) -> None:
    wire = web.wire()
    with our_log() as lines:
        wire.send(b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n")
    [answer] = wire.replies()
    assert (answer.code, answer.error) == (400, "the path is not UTF-8 text: encode it anew")
    assert wire.disconnecting
    assert lines == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]),
    st.sampled_from(["/", "/ui/", "/ui/api/status/", "/ui/server/", "/ui/static/", "/api/"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["", "?hours=", "?groups=yes&expand=", "?="]),
)
def test_no_path_is_an_error_of_ours(
    web: Fixture, method: str, folder: str, name: str, query: str
) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    with our_log() as lines:
        for path in (folder + quoted + query, folder + query + quoted):
            wire = web.wire()
            wire.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert wire.value()[9:12] in {b"200", b"302", b"400", b"404", b"405"}
    assert lines == []


@pytest.mark.parametrize(
    "path, accept, is_page",
    [
        ("/ui/nothing", "text/html,application/xhtml+xml", True),
        ("/ui/server/1/nothing", "text/html", True),
        ("/ui/nothing", "*/*", False),
        ("/ui/api/nothing", "text/html", False),
        ("/ui/static/nothing.js", "text/html", False),
        ("/nothing", "text/html", False),
    ],
)
def test_people_get_a_page_for_what_is_not_there(
    web: Fixture, path: str, accept: str, is_page: bool
) -> None:
    answer = web.ask("GET", path, b"", {"Accept": accept, **basic("ui", "two")})
    assert answer.code == 404
    assert answer.headers["content-type"].startswith("text/html" if is_page else "application/json")
    if is_page:
        up = "../" * (path.count("/") - 2) or "./"
        assert f'<html lang="en" data-root="{up}"' in answer.body.decode()
        assert f"There is nothing at {path}." in answer.body.decode()


def test_the_page_of_a_login_needs_no_other_file(database: str) -> None:
    web = Fixture(database, None, UI)
    answer = web.ask("GET", "/ui/alerts")
    assert answer.code == 401
    assert b"Log in" in answer.body
    assert not {b"<link", b"<script", b"<img"} & set(answer.body.split())
