"""Behind a real nginx, below a path, with the configuration that is shipped."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from support.daemon import running
from support.http_client import PING, STATUS, a_service, basic
from support.nginx import Front, free_port, running_nginx

BASE = "/monitoring"
ADMIN = basic("admin", "secret")
SOURCE_IP = "127.0.0.9"
"""Where the client is, as nginx sees it."""

PAGE = """
[page:shop]
title=Our shop
servers=web*
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """OverC asks for the password."""
    folder = tmp_path_factory.mktemp("plain")
    options = (
        "ui-auth=admin:secret",
        "ui-readers=anna:looks",
        "trusted-proxies=127.0.0.1",
        "remote-user-header=X-Remote-User",
        "badges=web1/*",
    )
    with (
        running(folder, *options, sections=PAGE) as daemon,
        running_nginx(folder / "nginx", free_port(), daemon.client.port) as front,
    ):
        report(front, a_service("disk", "WARN", "90 %"), a_service("queue/mail"))
        yield front


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx asks for the password, and says who it is."""
    folder = tmp_path_factory.mktemp("asking")
    options = (
        "trusted-proxies=127.0.0.1",
        "remote-user-header=X-Remote-User",
        "remote-writers=!guest*",
    )
    users = "zoe:{PLAIN}one\nguest1:{PLAIN}two\n"
    with (
        running(folder, *options, sections=PAGE) as daemon,
        running_nginx(folder / "nginx", free_port(), daemon.client.port, users) as front,
    ):
        report(front, a_service("disk", "WARN", "90 %"))
        yield front


def report(front: Front, *services: dict[str, Any]) -> None:
    body = {"server": {"name": "web1", "key": "k"}, "period": 600, "services": services}
    sent = json.dumps(body)
    reply = front.request("POST", f"{BASE}{STATUS}", sent, source_ip=SOURCE_IP)
    assert (reply.status, reply.json) == (200, {"ok": 1})


def server(front: Front) -> dict[str, Any]:
    [found] = front.get(f"{BASE}/ui/api/status/").json["servers"]
    assert isinstance(found, dict)
    return found


def service_id(front: Front, name: str = "disk") -> int:
    [found] = [one["id"] for one in server(front)["services"] if one["name"] == name]
    return int(found)


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value or "" for name, value in attrs if name in ("href", "src")}


def test_the_way_in(front: Front) -> None:
    reply = front.get(BASE)
    assert (reply.status, reply.headers["Location"]) == (301, f"{front.url}monitoring/")
    reply = front.get(f"{BASE}/")
    assert (reply.status, reply.headers["Location"]) == (302, "ui/")
    assert front.get(f"{BASE}/ui/").status == 401
    assert front.signed_in(ADMIN).get(f"{BASE}/ui/").status == 200


def test_every_link_of_every_page_leads_somewhere_below_the_path(front: Front) -> None:
    admin = front.signed_in(ADMIN)
    seen: set[str] = set()
    ahead = [f"{BASE}/ui/", f"{BASE}/status/shop"]
    while ahead:
        path = ahead.pop()
        reply = admin.get(path)
        assert reply.status == 200, path
        if reply.headers.get_content_type() != "text/html":
            continue
        for link in Links(reply.text).found:
            found = urlsplit(urljoin(urljoin(front.url, path), link))
            assert f"{found.scheme}://{found.netloc}/" == front.url, (path, link)
            assert found.path.startswith(f"{BASE}/"), (path, link)
            if found.path not in seen:
                seen.add(found.path)
                ahead.append(f"{found.path}?{found.query}" if found.query else found.path)
    assert f"{BASE}/ui/static/overc.css" in seen
    assert f"{BASE}/ui/service/{service_id(admin)}" in seen
    assert f"{BASE}/status/public.css" in seen


def test_static_files_are_packed_and_kept(front: Front) -> None:
    admin = front.signed_in(ADMIN)
    path = f"{BASE}/ui/static/overc.css"
    first = admin.get(path, {"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    again = admin.get(path, {"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_reports_come_from_where_the_client_is(front: Front) -> None:
    assert server(front.signed_in(ADMIN))["ip"] == SOURCE_IP


def test_a_client_can_t_say_that_it_is_somewhere_else(front: Front) -> None:
    body = json.dumps({"server": {"name": "web2", "key": "k"}})
    forged = {"X-Forwarded-For": "192.0.2.1, 10.0.0.1"}
    assert front.request("POST", f"{BASE}{PING}", body, forged, SOURCE_IP).status == 200
    servers = front.signed_in(ADMIN).get(f"{BASE}/ui/api/status/").json["servers"]
    [found] = [one for one in servers if one["name"] == "web2"]
    assert found["ip"] == SOURCE_IP
    front.signed_in(ADMIN).request("DELETE", f"{BASE}/ui/api/item/server/{found['id']}")


def test_overcli_takes_the_address_with_its_path(front: Front) -> None:
    command = [sys.executable, "-m", "overc", "-s", f"{front.url}monitoring/", "-i", "web1:k"]
    environ = {**os.environ, "SSL_CERT_FILE": str(front.certificate)}
    done = subprocess.run(
        [*command, "ping"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_report_that_is_too_large_gets_our_own_refusal(front: Front) -> None:
    reply = front.request("POST", f"{BASE}{PING}", b"x" * (1024 * 1024 + 1))
    assert reply.status == 413
    assert reply.error == "the body is larger than 1048576 bytes: send it in smaller parts"


def test_forms(front: Front) -> None:
    admin = front.signed_in(ADMIN)
    path = f"{BASE}/ui/service/{service_id(admin)}"
    form = urlencode({"reason": "on it"})
    evil = {"Origin": "https://evil.example"}
    assert admin.request("POST", f"{path}/ack", form, evil).status == 403
    own = {"Origin": front.url.rstrip("/")}
    reply = admin.request("POST", f"{path}/ack", form, own)
    assert reply.status == 303
    assert urljoin(f"{front.url.rstrip('/')}{path}/ack", reply.headers["Location"]).endswith(path)
    assert "on it" in admin.get(path).text
    reader = front.signed_in(basic("anna", "looks"))
    assert reader.get(path).status == 200
    assert reader.request("POST", f"{path}/unack", "", own).status == 403
    assert admin.request("POST", f"{path}/unack", "", own).status == 303


def test_the_curl_line_is_right_out_there(front: Front) -> None:
    page = front.signed_in(ADMIN).get(f"{BASE}/ui/service/{service_id(front.signed_in(ADMIN))}")
    assert f"curl {front.url}monitoring/api/set/service/status" in page.text


def test_what_needs_no_login(front: Front) -> None:
    page = front.get(f"{BASE}/status/shop")
    assert page.status == 200
    assert "1 problem" in page.text
    assert front.get(f"{BASE}/status/shop.json").json["problems"] == 1
    assert front.get(f"{BASE}/healthz").status == 200
    for path in ("web1/disk.svg", "web1/queue%2Fmail.svg", "web1/queue/mail.svg"):
        reply = front.get(f"{BASE}/badge/{path}")
        assert (reply.status, reply.headers["Content-Type"]) == (200, "image/svg+xml"), path
    assert front.get(f"{BASE}/badge/web1.svg").status == 404


def test_the_stream_is_live(front: Front) -> None:
    admin = front.signed_in(ADMIN)
    connection = admin.connect()
    try:
        headers = {**admin.headers, "Accept-Encoding": "gzip"}
        connection.request("GET", f"{BASE}/ui/api/live?rows=yes", headers=headers)
        stream = connection.getresponse()
        assert stream.status == 200
        assert stream.headers.get_content_type() == "text/event-stream"
        assert event_of(stream, "now")
        report(front, a_service("disk", "FAIL", "full at last"))
        while "full at last" not in event_of(stream, "rows"):
            pass
    finally:
        connection.close()
    report(front, a_service("disk", "WARN", "90 %"))


def event_of(stream: http.client.HTTPResponse, name: str) -> str:
    """Return the data of the next event of that name."""
    event = ""
    while line := stream.readline().decode():
        if line.startswith("event: "):
            event = line.partition(" ")[2].strip()
        elif line.startswith("data: ") and event == name:
            return line
    raise AssertionError("the stream has ended")


def test_nobody_names_himself(front: Front) -> None:
    for name in ("X-Remote-User", "x-remote-user"):
        assert front.get(f"{BASE}/ui/", {name: "admin"}).status == 401


def test_users_of_nginx(asking: Front) -> None:
    reply = asking.get(f"{BASE}/ui/")
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Basic realm="OverC"')
    zoe, guest = asking.signed_in(basic("zoe", "one")), asking.signed_in(basic("guest1", "two"))
    path = f"{BASE}/ui/service/{service_id(zoe)}"
    own = {"Origin": asking.url.rstrip("/"), "X-Remote-User": "zoe"}
    form = urlencode({"reason": "on it"})
    assert 'data-can-change="no"' in guest.get(path).text
    assert guest.request("POST", f"{path}/ack", form, own).status == 403
    assert 'data-can-change="yes"' in zoe.get(path).text
    assert zoe.request("POST", f"{path}/ack", form, own).status == 303
    assert "zoe" in guest.get(path).text


def test_what_nginx_lets_through_without_asking(asking: Front) -> None:
    assert asking.get(f"{BASE}/status/shop").status == 200
    assert asking.get(f"{BASE}/healthz").status == 200
    report(asking, a_service("disk", "WARN", "90 %"))
    # Neither its login page nor another way leads past it.
    for path in ("/ui", "/ui/", "/ui/api/status/", "/ui/api/live", "/ui/static/overc.css"):
        assert asking.get(f"{BASE}{path}").status == 401, path
    for path in ("//ui/", "/%75i/", "/./ui/", "/x/../ui/"):
        assert asking.get(f"{BASE}{path}").status in (401, 403, 404), path


def test_past_nginx_there_is_no_way_in(asking: Front, tmp_path: Path) -> None:
    conf = Path(asking.certificate).with_name("overc.conf").read_text()
    port = int(conf.partition(f"server {'127.0.0.1'}:")[2].partition(";")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, source_address=(SOURCE_IP, 0))
    try:
        connection.request("GET", "/ui/api/status/", headers={"X-Remote-User": "zoe"})
        assert connection.getresponse().status == 403
    finally:
        connection.close()
