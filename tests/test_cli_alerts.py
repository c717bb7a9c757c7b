"""overcli's commands about alerts, against a server that records and answers as it is told."""

from __future__ import annotations

import getpass
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_server import FakeServer, reply, running

from overc.cli import main
from overc.client import MAX_ANSWER_BYTES, MAX_REPLY_BYTES

ID = ["-i", "web1:k"]
ME = f"{getpass.getuser()}@{socket.gethostname()}"
ENDS = "2020-03-01 10:00:00.000000"


@pytest.fixture(scope="module")
def any_server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(any_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    any_server.requests.clear()
    any_server.answer = [reply(200, {"ok": 1})]
    for name in ("OVERC_SERVER", "OVERC_MY_NAME", "OVERC_MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield any_server
    monkeypatch.undo()
    time.tzset()


class Ran:
    """What a command printed, and its exit status."""

    def __init__(self, capsys: pytest.CaptureFixture[str], server: FakeServer, *args: str) -> None:
        self.status = main(["-s", server.url, *args])
        self.out, self.err = capsys.readouterr()


@pytest.mark.parametrize(
    "args, method, path, content",
    [
        (
            ["ack", "web1/backup", "on it"],
            "POST",
            "/ui/api/ack",
            {"server": "web1", "service": "backup", "author": ME, "reason": "on it"},
        ),
        (
            ["ack", "--author", "ann", "17", "x"],
            "POST",
            "/ui/api/ack",
            {"service_id": 17, "author": "ann", "reason": "x"},
        ),
        (
            ["ack", "web1/a/b", "x", "--author", ""],
            "POST",
            "/ui/api/ack",
            {"server": "web1", "service": "a/b", "author": ME, "reason": "x"},
        ),
        (["unack", "web1/ü"], "DELETE", "/ui/api/ack", {"server": "web1", "service": "ü"}),
        (["unsilence", "3"], "DELETE", "/ui/api/silences/3", None),
    ],
)
def test_what_is_done_prints_nothing(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    method: str,
    path: str,
    content: Any,
) -> None:
    ran = Ran(capsys, server, *args)
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    [request] = server.requests
    assert (request.method, request.path) == (method, path)
    assert (request.json if request.body else None) == content


@pytest.mark.parametrize(
    "args, content, said",
    [
        (
            ["--for", "2h", "swap"],
            {"servers": "*", "services": "*", "for": 7200},
            "silence 3 until 2020-03-01 11:00\n",
        ),
        (
            [
                "--servers",
                "web*, !web9",
                "--services",
                "disk",
                "--until",
                "2099-12-01 06:00",
                "swap",
            ],
            {"servers": "web*, !web9", "services": "disk", "until": 4099784400.0},
            "silence 3 until 2020-03-01 11:00\n",
        ),
        (
            ["--from", "2099-12-01 06:00", "--for", "1d", "swap"],
            {"servers": "*", "services": "*", "for": 86400, "from": 4099784400.0},
            "silence 3 from 2020-03-01 10:00 until 2020-03-01 11:00\n",
        ),
    ],
)
def test_silence(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    content: dict[str, Any],
    said: str,
) -> None:
    starts = "2020-03-01 09:00:00"
    server.answer = [reply(200, {"ok": 1, "id": 3, "starts": starts, "ends": ENDS})]
    ran = Ran(capsys, server, "silence", *args)
    assert (ran.status, ran.out, ran.err) == (0, said, "")
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/ui/api/silences")
    assert request.json == {"author": ME, "reason": "swap", **content}


SERVER = {"name": "web1", "key": "k"}


@pytest.mark.parametrize(
    "args, content, answer, said",
    [
        (
            ["20m", "new disk"],
            {"for": 1200, "reason": "new disk"},
            {"ok": 1, "id": 3, "ends": ENDS},
            "silence 3 until 2020-03-01 11:00\n",
        ),
        (
            ["--services", "disk*", "60", "x"],
            {"for": 60, "reason": "x", "services": "disk*"},
            {"ok": 1},
            "silence None until ?\n",
        ),
        (["--end"], {"end": True}, {"ok": 1, "ended": 1}, "ended 1 silence\n"),
        (["--end"], {"end": True}, {"ok": 1, "ended": 0}, "ended 0 silences\n"),
    ],
)
def test_snooze_is_by_the_hosts_own_key(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    content: dict[str, Any],
    answer: dict[str, Any],
    said: str,
) -> None:
    server.answer = [reply(200, answer)]
    ran = Ran(capsys, server, *ID, "snooze", *args)
    assert (ran.status, ran.out, ran.err) == (0, said, "")
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/api/set/silence")
    assert request.json == {"server": SERVER, **content}


def test_the_key_is_in_no_trace(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, server, "-v", "-i", "web1:s3cret", "snooze", "--end")
    assert ran.status == 0
    assert "s3cret" not in ran.err
    assert '"key": "***"' in ran.err
    assert b"s3cret" in server.requests[0].body


@pytest.mark.parametrize(
    "name, path",
    [
        ("17", "/ui/api/explain/service/17?utc_offset="),
        ("web1/a b&c", "/ui/api/explain?utc_offset="),
    ],
)
def test_explain(
    server: FakeServer, capsys: pytest.CaptureFixture[str], name: str, path: str
) -> None:
    server.answer = [
        reply(200, {"text": ["LATE since 03:10 (1d).", "Bell\a\nring. Not silenced."]})
    ]
    ran = Ran(capsys, server, "explain", name)
    said = "LATE since 03:10 (1d).\nBell??ring. Not silenced.\n"
    assert (ran.status, ran.out, ran.err) == (0, said, "")
    [request] = server.requests
    assert (request.method, request.body) == ("GET", b"")
    assert request.path.startswith(path)
    offset = re.search(r"utc_offset=(-?\d+)", request.path)
    assert offset is not None
    assert offset[1] in ("60", "120")
    if "/" in name:
        assert request.path.endswith("&server=web1&service=a+b%26c")


def a_result(plugin: str, delivered: bool, words: str = "") -> dict[str, Any]:
    return {"plugin": plugin, "delivered": delivered, "words": words, "took_s": 0.34}


@pytest.mark.parametrize(
    "results, status, said",
    [
        ([a_result("mail", True)], 0, "mail: sent in 0.3 s\n"),
        (
            [a_result("mail", True, "queued\nas 5"), a_result("chat", False, "exit status 1")],
            1,
            "mail: sent in 0.3 s: queued as 5\nchat: failed in 0.3 s: exit status 1\n",
        ),
        ([], 1, "No alert channel is configured: add an [alert:NAME] section.\n"),
    ],
)
def test_alert_test(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    results: list[dict[str, Any]],
    status: int,
    said: str,
) -> None:
    server.answer = [reply(200, {"results": results})]
    ran = Ran(capsys, server, "alert-test")
    assert (ran.status, ran.out, ran.err) == (status, said, "")
    ran = Ran(capsys, server, "alert-test", "mail")
    assert [request.json for request in server.requests] == [{}, {"plugin": "mail"}]
    assert {request.path for request in server.requests} == {"/ui/api/alert-test"}


def a_silence(number: int, status: str, **more: Any) -> dict[str, Any]:
    silence = {
        "id": number,
        "status": status,
        "servers": "*",
        "services": "*",
        "author": "ann",
        "reason": "disk\nswap",
        "created": ENDS,
        "starts": "2020-03-01 09:00:00",
        "ends": ENDS,
        "n_alerts": 0,
        "alerts": [],
    }
    return {**silence, **more}


KEPT = {
    "id": 1, "server": "web1", "service": "disk", "service_id": 1,
    "ctime": "2020-03-01 09:30:00.5", "channel": "plugin", "event": "offline", "message": "off",
}  # fmt: skip


def test_silences(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    window = {"name": "nightly", "servers": "db*", "services": "*", "running_until": None}
    answer = {
        "silences": [
            a_silence(4, "running", n_alerts=3, alerts=[KEPT, {**KEPT, "service": None}]),
            a_silence(3, "coming", servers="web*"),
            a_silence(2, "ended", services="disk"),
            a_silence(1, "ended", servers="a", services="b"),
        ],
        "maintenance": [window, {**window, "name": "open", "running_until": ENDS}],
    }
    server.answer = [reply(200, answer)]
    ran = Ran(capsys, server, "silences")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "4: everything until 2020-03-01 11:00, by ann: disk swap",
        "    kept back: 2020-03-01 10:30 web1/disk: off",
        "    kept back: 2020-03-01 10:30 web1: off",
        "    and 1 more",
        "3: all of web* from 2020-03-01 10:00 until 2020-03-01 11:00, by ann: disk swap",
        "2: disk of all servers ended 2020-03-01 11:00, by ann: disk swap",
        "1: b of a ended 2020-03-01 11:00, by ann: disk swap",
        "maintenance nightly: all of db*, not now",
    ]
    server.answer = [reply(200, {"silences": [], "maintenance": []})]
    assert Ran(capsys, server, "silences").out == "Nothing is silenced.\n"


def a_service(name: str, state: str | None, **more: Any) -> dict[str, Any]:
    if state is None:
        return {"id": 1, "name": name, "state": None}
    return {
        "id": 1,
        "name": name,
        "state": {
            "state": state, "info": "so\n so", "timed_out": False, "seen_ago": "0:01:26", **more
        },
    }  # fmt: skip


STATUS = {
    "stats": {},
    "servers": [
        {"name": "db1", "services": [a_service("a", "OK"), a_service("b", None)]},
        {
            "name": "web1",
            "services": [
                a_service("c", "WARN"),
                a_service("d", "UNK", info=""),
                a_service("e", "FAIL"),
                a_service("f", "OK", timed_out=True),
            ],
        },
    ],
}


def test_status(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = [reply(200, STATUS)]
    problems = [
        "LATE web1/f  0:01:26 ago  so so",
        "FAIL web1/e  0:01:26 ago  so so",
        "UNK  web1/d  0:01:26 ago",
        "WARN web1/c  0:01:26 ago  so so",
    ]
    ran = Ran(capsys, server, "status")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [*problems, "OK   db1/a  0:01:26 ago  so so", "-    db1/b"]
    assert Ran(capsys, server, "status", "--problems").out.splitlines() == problems
    found = json.loads(Ran(capsys, server, "status", "--problems", "--json").out)
    assert [one["name"] for one in found["servers"]] == ["web1"]
    assert len(found["servers"][0]["services"]) == 4


def test_a_status_leaves_out_what_was_measured(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(STATUS).replace('so"', 'so | load=7"')
    server.answer = [reply(200, json.loads(text))]
    assert "WARN web1/c  0:01:26 ago  so so" in Ran(capsys, server, "status").out.splitlines()


def test_nothing_to_show(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = [reply(200, {"servers": []})]
    assert Ran(capsys, server, "status").out == "Nobody has reported yet.\n"
    assert Ran(capsys, server, "status", "--problems").out == "Nothing is wrong.\n"


@pytest.mark.parametrize(
    "args, answer, status",
    [
        (["ack", "1", "x"], {"ok": 1, "service_id": 1}, 0),
        (["unack", "1"], {"ok": 1, "service_id": 1}, 0),
        (["silence", "--for", "1", "x"], {"ok": 1, "id": 1, "starts": ENDS, "ends": ENDS}, 0),
        (["silences"], {"silences": [], "maintenance": []}, 0),
        (["unsilence", "1"], {"ok": 1}, 0),
        ([*ID, "snooze", "1", "x"], {"ok": 1, "id": 1, "ends": "ü\a"}, 0),
        (["explain", "1"], {"text": ["ü"]}, 0),
        (["alert-test"], {"results": [a_result("mail", False)]}, 1),
        (["status"], STATUS, 0),
    ],
)
def test_json_for_scripts(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    answer: dict[str, Any],
    status: int,
) -> None:
    server.answer = [reply(200, answer)]
    ran = Ran(capsys, server, *args, "--json")
    assert (ran.status, ran.err) == (status, "")
    assert ran.out.isascii()
    assert json.loads(ran.out) == answer


COMMANDS = [
    ["ack", "1", "x"],
    ["unack", "1"],
    ["silence", "--for", "1", "x"],
    ["silences"],
    ["unsilence", "1"],
    [*ID, "snooze", "1", "x"],
    [*ID, "snooze", "--end"],
    ["explain", "1"],
    ["alert-test"],
    ["status"],
]


@pytest.mark.parametrize("args", COMMANDS)
def test_a_refusal_is_one_line_and_status_1(
    server: FakeServer, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    server.answer = [reply(409, {"error": "no, not\nnow"})]
    ran = Ran(capsys, server, *args)
    assert (ran.status, ran.out, ran.err) == (1, "", "overcli: HTTP 409: no, not now\n")


@pytest.mark.parametrize("args", COMMANDS)
@pytest.mark.parametrize("body", ["[]", "{}", "<html>"])
def test_what_is_no_overc_server(
    server: FakeServer, capsys: pytest.CaptureFixture[str], args: list[str], body: str
) -> None:
    server.answer = [reply(200, body)]
    ran = Ran(capsys, server, *args)
    sentence = f"overcli: {server.url} answers, but not as an OverC server does\n"
    assert (ran.status, ran.out, ran.err) == (1, "", sentence)


@pytest.mark.parametrize(
    "args, answer",
    [
        (["silence", "--for", "1", "x"], {"ok": 1}),
        (["silences"], {"silences": [{}], "maintenance": []}),
        (["silences"], {"silences": 1, "maintenance": []}),
        (["explain", "1"], {"text": 1}),
        (["alert-test"], {"results": [{"plugin": "mail"}]}),
        (["status"], {"servers": [{"name": "a", "services": [{"state": 1}]}]}),
        (["status"], {"servers": ["a"]}),
    ],
)
def test_a_server_of_another_version(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    answer: dict[str, Any],
) -> None:
    server.answer = [reply(200, answer)]
    ran = Ran(capsys, server, *args)
    sentence = f"{server.url} answers, but not as an OverC server of this version does"
    assert (ran.status, ran.out, ran.err) == (1, "", f"overcli: {sentence}\n")


def test_a_long_reply_is_read(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    services = [a_service(f"s{number}", "OK") for number in range(2000)]
    server.answer = [reply(200, {"servers": [{"name": "a", "services": services}]})]
    assert sum(map(len, server.answer)) > MAX_REPLY_BYTES
    assert MAX_ANSWER_BYTES > 100 * MAX_REPLY_BYTES
    assert len(Ran(capsys, server, "status").out.splitlines()) == 2000


def test_credentials_of_the_url_go_with_it(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url.replace("//", "//ui:s3cret@")
    assert main(["-s", url, "unsilence", "1"]) == 0
    assert server.requests[0].headers["Authorization"] == "Basic dWk6czNjcmV0"


def test_a_terminal_without_the_letters_of_a_name(server: FakeServer) -> None:
    server.answer = [reply(200, {"text": ["web1/größe ☃"]})]
    done = subprocess.run(
        [sys.executable, "-m", "overc.cli", "-s", server.url, "explain", "1"],
        env={"PYTHONIOENCODING": "latin-1", "PYTHONPATH": "."},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == "web1/größe ?\n".encode("latin-1")
