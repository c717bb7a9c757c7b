"""Who may come in, and what the pages and files answer."""

from __future__ import annotations

import html
import socket
from collections.abc import Iterator

import pytest
from support.daemon import Daemon, running
from support.http_client import PING, STATUS, Client, Host, Json, a_service, basic

UI = {"user": "admin", "password": "gehe:im \N{PILE OF POO}é"}
API = {"user": "agent", "password": "secret"}
UI_PATHS = ["/ui/", "/ui/api/status/", "/ui/alerts", "/ui/static/overc.css", "/ui/nothing"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    options = (
        f"ui-auth={UI['user']}:{UI['password']}",
        f"api-auth={API['user']}:{API['password']}",
    )
    with running(tmp_path_factory.mktemp("guarded"), *options) as daemon:
        yield daemon.client
        assert API["password"] not in daemon.log()
        assert UI["password"] not in daemon.log()


def is_challenged(client: Client, method: str, path: str, headers: dict[str, str]) -> bool:
    """Say whether a request is refused for its credentials, or else fail if it is not served."""
    body: Json = {"server": {"name": "a", "key": "k"}}
    reply = client.request(method, path, body if method == "POST" else None, headers)
    if reply.status == 401:
        assert reply.headers["WWW-Authenticate"].startswith('Basic realm="')
        return True
    assert reply.status in (200, 302, 404), reply
    return False


BAD_CREDENTIALS = [
    {},
    basic("admin", "wrong"),
    basic("admin", ""),
    basic("", UI["password"]),
    basic("ADMIN", UI["password"]),
    basic("admin", UI["password"] + " "),
    basic("admin", UI["password"][:-1]),
    {"Authorization": basic(**UI)["Authorization"].replace("Basic", "Bearer")},
    {"Authorization": "Basic"},
    {"Authorization": "Basic ****"},
    {"Authorization": f"Basic {UI['user']}:secret"},
    {"Authorization": "Basic \xff\xfe"},
    {"Authorization": ""},
]


@pytest.mark.parametrize("path", UI_PATHS)
def test_the_dashboard_asks_for_its_password(guarded: Client, path: str) -> None:
    for headers in [*BAD_CREDENTIALS, basic(**API)]:
        assert is_challenged(guarded, "GET", path, headers), headers
    assert not is_challenged(guarded, "GET", path, basic(**UI))


def test_the_way_to_the_dashboard_does_not_tell_anything(guarded: Client) -> None:
    for path in ("/", "/ui"):
        reply = guarded.request("GET", path)
        assert reply.status in (302, 401)
        assert guarded.request("GET", path, headers=basic(**UI)).status == 302


@pytest.mark.parametrize("path", [PING, "/api/nothing"])
def test_the_reporting_api_asks_for_its_password(guarded: Client, path: str) -> None:
    for headers in [*BAD_CREDENTIALS, basic(**UI)]:
        assert is_challenged(guarded, "POST", path, headers), headers
    assert not is_challenged(guarded, "POST", path, basic(**API))


def test_nothing_is_stored_or_deleted_without_the_password(guarded: Client) -> None:
    guarded.post(PING, {"server": {"name": "stranger", "key": "k"}})
    ui = Client(guarded.port, basic(**UI))
    assert "stranger" not in ui.servers()
    guarded.post(PING, {"server": {"name": "known", "key": "k"}}, headers=basic(**API))
    path = f"/ui/api/item/server/{ui.servers()['known']['id']}"
    assert guarded.request("DELETE", path).status == 401
    assert guarded.request("DELETE", path, headers=basic(**API)).status == 401
    assert ui.request("DELETE", path).status == 200


@pytest.mark.parametrize("part", ["ui", "api"])
def test_each_part_is_guarded_on_its_own(
    tmp_path_factory: pytest.TempPathFactory, part: str
) -> None:
    with running(tmp_path_factory.mktemp("half"), f"{part}-auth=u:p") as daemon:
        client = daemon.client
        assert is_challenged(client, "GET", "/ui/api/status/", {}) is (part == "ui")
        assert is_challenged(client, "POST", PING, {}) is (part == "api")


FOREIGN: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
]


@pytest.mark.parametrize("number", range(len(FOREIGN)))
def test_another_site_s_page_can_t_delete_or_report(host: Host, number: int) -> None:
    host.report(a_service("s"))
    for path in (
        f"/ui/api/item/server/{host.status()['id']}",
        f"/ui/api/item/service/{host.services()['s']['id']}",
    ):
        reply = host.client.request("DELETE", path, headers=FOREIGN[number])
        assert reply.status == 403
        assert reply.error
    body = {"server": host.identity, "period": 1, "services": [a_service("s", "FAIL")]}
    assert host.client.post(STATUS, body, headers=FOREIGN[number]).status == 403
    assert [s["state"] for s in host.history("s")] == ["OK"]


def test_our_own_page_can_delete(host: Host) -> None:
    for headers in (
        {"Origin": f"http://127.0.0.1:{host.client.port}"},
        {"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{host.client.port}"},
        {},
    ):
        host.report(a_service("s"))
        path = f"/ui/api/item/service/{host.services()['s']['id']}"
        assert host.client.request("DELETE", path, headers=headers).status == 200


def test_without_a_login_the_name_has_to_be_known(host: Host) -> None:
    """What came from a page of another name is refused, though the browser takes it for ours."""
    ours = f"{socket.gethostname().partition('.')[0]}.local"
    for name, status in (("evil.example", 403), (ours, 200), ("localhost", 200)):
        host.report(a_service("s"))
        path = f"/ui/api/item/service/{host.services()['s']['id']}"
        netloc = f"{name}:{host.client.port}"
        headers = {"Host": netloc, "Origin": f"http://{netloc}"}
        assert host.client.request("DELETE", path, headers=headers).status == status, name


@pytest.mark.parametrize("path", ["/ui/", "/ui/api/status/", "/ui/static/overc.js", "/x", "/api/x"])
def test_headers_that_protect_the_reader(client: Client, path: str) -> None:
    headers = client.request("GET", path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"]
    assert headers["Cache-Control"] in ("no-store", "no-cache")


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/"])
def test_the_dashboard_is_found(client: Client, path: str) -> None:
    reply = client.request("GET", path)
    if reply.status == 302:
        assert path != "/ui/"
        assert reply.headers["Location"] == "ui/"
        reply = client.request("GET", "/ui/")
    assert reply.status == 200
    assert reply.headers.get_content_type() == "text/html"
    assert "OverC" in reply.text


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)//",
    "&lt;b&gt;",
    "\u202e\u2066 name \N{PILE OF POO}",
    "</script><!--",
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_pages_show_hostile_names_as_text(client: Client, number: int) -> None:
    text = HOSTILE[number]
    host = Host(client, text)
    host.report(a_service(text, text, text))
    host.alert(text, text)
    host.alert(text)
    server_id, service_id = host.status()["id"], host.services()[text]["id"]
    for path in ("", "services", "alerts", f"server/{server_id}", f"service/{service_id}"):
        reply = client.request("GET", f"/ui/{path}")
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        page = reply.text
        assert text in html.unescape(page)
        assert text == html.escape(text) or text not in page
        for harmful in ("<script>", "<img", "<svg/", " onmouseover='"):
            assert harmful not in page
    client.request("DELETE", f"/ui/api/item/server/{server_id}")


@pytest.mark.parametrize("path", ["server/999999", "service/999999", "service/x", "nothing"])
def test_pages_that_there_are_not(client: Client, path: str) -> None:
    assert client.request("GET", f"/ui/{path}").status == 404


@pytest.mark.parametrize(
    "name, content_type",
    [("overc.css", "text/css"), ("overc.js", "text/javascript"), ("icon.svg", "image/svg+xml")],
)
def test_static_files(client: Client, name: str, content_type: str) -> None:
    reply = client.request("GET", f"/ui/static/{name}")
    assert (reply.status, reply.headers.get_content_type()) == (200, content_type)
    assert reply.body


@pytest.mark.parametrize(
    "path",
    [
        "", "%2e%2e", "..", "../site.py", "%2e%2e/site.py", "..%2fsite.py", "%2e%2e%2fsite.py",
        "..%5csite.py", "%2fetc%2fpasswd", "/etc/passwd", "%00", "overc.css%00", "overc.css%00.js",
        "overc.css/", "overc.css/..", ".", "overc.css%20", "OVERC.CSS", "~root", "%252e%252e",
    ],
)  # fmt: skip
def test_no_other_file_can_be_asked_for(daemon: Daemon, path: str) -> None:
    with daemon.client.connect() as connection:
        request = f"GET /ui/static/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        reply = connection.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 404 "), reply
    assert b"root:" not in reply
    assert b"import" not in reply
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("path", ["//", "//ui/", "//evil.example/", "//evil.example/%2e%2e"])
def test_two_slashes_lead_to_no_other_host(client: Client, path: str) -> None:
    reply = client.request("GET", path)
    assert reply.status in (200, 302, 404)
    assert not (reply.headers["Location"] or "").startswith(("/", "http"))
