"""What people do on the dashboard, on a real server: other titles, forgetting, new keys, tests."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from support.alert_plugins import Recorder, write_script
from support.daemon import Daemon, eventually, running
from support.http_client import Client, Host, a_service


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """With two alert plugins: one that delivers, and one that says why it does not."""
    folder: pathlib.Path = tmp_path_factory.mktemp("server")
    sections = Recorder(folder).section + "[alert:broken]\ncommand=./broken --token s3cret\n"
    write_script(folder / "broken", "#!/bin/sh\necho no line to the outside\nexit 1\n")
    with running(folder, sections=sections) as daemon:
        yield daemon


def test_a_title_outlives_reports_and_restarts(daemon: Daemon, host: Host) -> None:
    host.report(a_service("disk"))
    id_ = host.services()["disk"]["id"]
    reply = host.client.request("PATCH", f"/ui/api/item/service/{id_}", b'{"title": "Big disk"}')
    assert reply.json == {"ok": 1, "title": "Big disk", "before": "disk"}
    for state in ("FAIL", "OK"):
        host.report(a_service("disk", state))
        assert host.services()["disk"]["title"] == "Big disk"
    daemon.restart()
    again = Host(daemon.client, host.name)
    again.report(a_service("disk", "WARN"))
    assert again.services()["disk"]["title"] == "Big disk"


def test_a_new_key_is_accepted(client: Client, host: Host) -> None:
    host.report(a_service("disk", "FAIL", "before"))
    reinstalled = Host(client, host.name, "a new key")
    refused = reinstalled.send("/api/ping")
    assert refused.status == 403
    assert "accept this key on the dashboard" in refused.error

    def rejected() -> list[dict[str, object]]:
        found = client.get("/ui/api/rejected-keys")["rejected_keys"]
        return [one for one in found if one["server"] == host.name]

    eventually(rejected, "the key is noted")
    [found] = rejected()
    assert (found["tries"], found["ip"], found["dismissed"]) == (1, "127.0.0.1", False)
    assert client.request("POST", f"/ui/api/rejected-keys/{found['id']}/accept").status == 200
    reinstalled.report(a_service("disk", "OK", "after"))
    assert [one["info"] for one in host.history("disk")] == ["after", "before"]
    assert host.ping().status == 403
    eventually(rejected, "now the old one is noted")


def test_services_are_forgotten(client: Client, host: Host) -> None:
    host.report(a_service("disk"), a_service("cpu"), a_service("net"))
    ids = {name: one["id"] for name, one in host.services().items()}
    reply = client.post("/ui/api/forget", {"services": [ids["disk"], ids["cpu"], 10**9]})
    assert reply.json == {"ok": 1, "forgotten": 2, "kept": 0}
    assert list(host.services()) == ["net"]
    # It is not late, so it stays.
    reply = client.post("/ui/api/forget", {"services": [ids["net"]], "silent_since": 10**10})
    assert reply.json == {"ok": 1, "forgotten": 0, "kept": 1}
    host.report(a_service("disk", "WARN", "new"))
    assert [one["info"] for one in host.history("disk")] == ["new"]


def test_settings(daemon: Daemon, client: Client) -> None:
    told = client.get("/ui/api/settings")
    assert told["config"] == str(daemon.config)
    assert told["database"]["engine"].startswith("SQLite ")
    assert told["database"]["bytes"] > 0
    assert told["health"]["status"] == "ok"
    assert [one["where"] for one in told["channels"]] == ["./record", "./broken"]
    page = client.request("GET", "/ui/settings")
    assert page.status == 200
    assert b"s3cret" not in page.body
    assert b"./broken" in page.body
