"""Channels that need no script: webhooks and Apprise, from a real server to real receivers."""

from __future__ import annotations

import contextlib
import os
import pathlib

import pytest
from support.alert_plugins import Recorder
from support.daemon import END_LIMIT_S, eventually, running
from support.http_client import Host, a_service
from support.http_receiver import HttpReceiver


def test_alerts_arrive_by_webhook_and_by_apprise(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("apprise")
    with HttpReceiver() as receiver:
        secret = f"json://me:s3cret1@{receiver.address}/apprise"
        (tmp_path / "apprise").write_text(secret)
        (tmp_path / "apprise").chmod(0o600)
        hook = f"http://me:s3cret2@{receiver.address}"
        sections = (
            "[alert:apprise]\nnotify=@apprise\n"
            "[alert:hook]\nwebhook=$OVERC_TEST_HOOK\n"
            f"[alert:prometheus]\nwebhook={hook}/prometheus\nformat=alertmanager\n"
        )
        with running(
            tmp_path,
            "url=https://mon.example.com/",
            sections=sections,
            environ={"OVERC_TEST_HOOK": f"{hook}/hook"},
        ) as daemon:
            Host(daemon.client, "host").report(a_service("disk", "FAIL", "97 %"))
            eventually(lambda: len(receiver.posted) == 3, "three messages")
            found = dict(zip(receiver.paths, receiver.posted, strict=True))
            assert "s3cret" not in daemon.log()
    title = 'host disk: [service:state/FAIL] State changed: "(?)" -> "FAIL"'
    assert found["/apprise"]["title"] == title
    assert found["/apprise"]["message"] == "Current: FAIL: 97 %"
    assert found["/hook"]["text"] == f"{title}\nCurrent: FAIL: 97 %\n"
    [alert] = found["/hook"]["alerts"]
    assert (alert["state"], alert["info"]) == ("FAIL", "97 %")
    assert alert["url"].startswith("https://mon.example.com/ui/service/")
    [alert] = found["/prometheus"]["alerts"]
    assert alert["labels"] == {"alertname": "ServiceState", "server": "host", "service": "disk"}


def test_bad_receivers_hold_up_nothing_and_are_left(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    with HttpReceiver() as receiver:
        url = f"http://me:s3cret@{receiver.address}"
        sections = recorder.section + "".join(
            f"[alert:{path}]\nwebhook={url}/{path}/tok3n\ntimeout=1\n"
            for path in ("redirect", "hang", "endless")
        )
        with running(tmp_path, sections=sections) as daemon:
            sockets = open_sockets(daemon.child.pid)
            Host(daemon.client, "host").alert("x")
            recorder.wait_for(4)
            text = "".join(recorder.messages())
            start = f"failed: http://{receiver.address}"
            assert f"`redirect` {start} redirects to another path" in text
            assert f"`hang` {start} gave no answer within 1 s" in text
            assert f"`endless` {start} does not take it: status 500: xxx" in text
            for _ in range(2):
                assert receiver.hung_up.acquire(timeout=END_LIMIT_S)
            eventually(lambda: open_sockets(daemon.child.pid) <= sockets)
            assert "s3cret" not in daemon.log() + text
            assert "tok3n" not in daemon.log() + text
        assert "/elsewhere" not in receiver.paths


def open_sockets(pid: int) -> int:
    """Count sockets alone: the database's files are opened when they are first needed."""
    found = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(entry.path).startswith("socket:")
    return found
