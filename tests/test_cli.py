"""overcli as people run it: real processes against a server that records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fake_server import FakeServer, reply, running

from overc import __version__
from overc.cli import main

PATIENCE_S = 60
CLEAN_ENV = {name: value for name, value in os.environ.items() if not name.startswith("OVERC_")}
ID = ["-i", "localhost:12:34"]
SERVER = {"name": "localhost", "key": "12:34"}


def overcli(
    *args: str | bytes, environ: Mapping[str, str] | None = None, module: str = "overc.cli"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        env={**CLEAN_ENV, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def usage_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of a usage error's message."""
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("usage: overcli")
    return lines[-1].partition("error: ")[2]


@pytest.fixture(scope="module")
def any_server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(any_server: FakeServer) -> FakeServer:
    any_server.requests.clear()
    any_server.answer = [reply(200, {"pong": 1, "ok": 1})]
    any_server.silent = False
    return any_server


@pytest.mark.parametrize("module", ["overc.cli", "overc"])
def test_ping(server: FakeServer, module: str) -> None:
    done = overcli("-s", server.url, *ID, "ping", module=module)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"pong from {server.url}\n"
    [request] = server.requests
    assert (request.path, request.json) == ("/api/ping", {"server": SERVER})


@pytest.mark.parametrize(
    "args, path, content",
    [
        (
            ["service-status", "60", "app", "OK", "Runs fine"],
            "/api/set/service/status",
            {"period": 60, "services": [{"name": "app", "state": "OK", "info": "Runs fine"}]},
        ),
        (
            ["service-status", "1h30m", "größe", "HEY", "-5"],
            "/api/set/service/status",
            {"period": 5400, "services": [{"name": "größe", "state": "HEY", "info": "-5"}]},
        ),
        (
            ["service-status", "5m", "--", "-a", "ok", "--info"],
            "/api/set/service/status",
            {"period": 300, "services": [{"name": "-a", "state": "ok", "info": "--info"}]},
        ),
        (
            ["service-status", "1.0", "a:b", ""],
            "/api/set/service/status",
            {"period": 1, "services": [{"name": "a:b", "state": "", "info": ""}]},
        ),
        (
            ["alert", "Something bad has happened"],
            "/api/set/alerts",
            {"alerts": [{"message": "Something bad has happened"}]},
        ),
        (
            ["alert", "--service", "que", b"caf\xe9 \xe2\x98\x83"],
            "/api/set/alerts",
            {"alerts": [{"message": "caf? ☃", "service": "que"}]},
        ),
    ],
)
def test_reports_are_sent_and_nothing_is_printed(
    server: FakeServer, args: list[str | bytes], path: str, content: dict[str, Any]
) -> None:
    done = overcli("-s", server.url, *ID, *args)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    [request] = server.requests
    assert (request.path, request.json) == (path, {"server": SERVER, **content})


@pytest.mark.parametrize(
    "args, environ, server_sent",
    [
        ([], {"OVERC_MY_NAME": "a:b", "OVERC_MY_KEY": "k"}, {"name": "a:b", "key": "k"}),
        ([], {"OVERC_MY_NAME": "a", "OVERC_MY_KEY": ""}, {"name": "a", "key": ""}),
        (ID, {"OVERC_MY_NAME": "a", "OVERC_MY_KEY": "k"}, SERVER),
        (["--server-id=a:"], {}, {"name": "a", "key": ""}),
    ],
)
def test_who_reports(
    server: FakeServer, args: list[str], environ: dict[str, str], server_sent: dict[str, str]
) -> None:
    done = overcli(*args, "ping", environ={"OVERC_SERVER": server.url, **environ})
    assert (done.returncode, done.stderr) == (0, "")
    assert server.requests[0].json == {"server": server_sent}


def test_the_command_lines_server_wins_over_the_environments(server: FakeServer) -> None:
    done = overcli("-s", server.url, *ID, "ping", environ={"OVERC_SERVER": "http://[bad"})
    assert done.returncode == 0


NO_SERVER = "say where the server is: -s URL, or OVERC_SERVER in the environment"
NO_NAME = "say who reports: -i NAME:KEY, or OVERC_MY_NAME and OVERC_MY_KEY in the environment"
BAD_URL = "expected a URL such as http://mon.example.com:5000/"
BAD_ID = "argument -i/--server-id: expected NAME:KEY, such as web1.example.com:s3cret"
URL = ["-s", "http://127.0.0.1:9/"]


@pytest.mark.parametrize(
    "args, environ, reason",
    [
        ([], {}, "the following arguments are required: COMMAND"),
        ([*URL, *ID], {}, "the following arguments are required: COMMAND"),
        ([*ID, "ping"], {}, NO_SERVER),
        ([*ID, "ping"], {"OVERC_SERVER": ""}, NO_SERVER),
        (["-s", "", *ID, "ping"], {"OVERC_SERVER": "http://a/"}, NO_SERVER),
        ([*URL, "ping"], {}, NO_NAME),
        ([*URL, "ping"], {"OVERC_MY_NAME": "a"}, NO_NAME),
        ([*URL, "ping"], {"OVERC_MY_KEY": "k"}, NO_NAME),
        ([*URL, "ping"], {"OVERC_MY_NAME": "", "OVERC_MY_KEY": "k"}, NO_NAME),
        ([*URL, "-i", "no-colon", "ping"], {}, BAD_ID),
        ([*URL, "-i", ":key", "ping"], {}, BAD_ID),
        (["-s", "localhost:5000", *ID, "ping"], {}, f"-s: {BAD_URL}"),
        (
            ["-s", "http://u:s3/cret@a/", *ID, "ping"],
            {},
            f"-s: {BAD_URL}; write / ? # in a password as %2F %3F %23",
        ),
        ([*ID, "ping"], {"OVERC_SERVER": "a"}, f"OVERC_SERVER: {BAD_URL}"),
        ([*URL, *ID, "ping", "more"], {}, "unrecognized arguments: more"),
        ([*URL, *ID, "service-status", "60", "a"], {}, "arguments are required: STATE"),
        ([*URL, *ID, "alert"], {}, "the following arguments are required: MESSAGE"),
        ([*URL, *ID, "monitor"], {}, "the following arguments are required: CONFIG.ini"),
    ]
    + [
        (
            [*URL, *ID, "service-status", period, "a", "OK"],
            {},
            f"argument PERIOD: expected a {expected}, got '{period}'",
        )
        for period, expected in [
            ("x", "duration such as 90, 5m or 1h30m"),
            ("", "duration such as 90, 5m or 1h30m"),
            ("-5", "duration such as 90, 5m or 1h30m"),
            ("0", "whole number of seconds above 0, or 5m, 1h30m"),
            ("0.5", "whole number of seconds above 0, or 5m, 1h30m"),
            ("1.5", "whole number of seconds above 0, or 5m, 1h30m"),
        ]
    ],
)
def test_wrong_usage(
    args: list[str],
    environ: dict[str, str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OVERC_SERVER", "OVERC_MY_NAME", "OVERC_MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    status = main(args)
    printed = capsys.readouterr()
    done = subprocess.CompletedProcess(args, status, printed.out, printed.err)
    assert usage_error(done).endswith(reason)


def test_wrong_usage_as_a_process() -> None:
    assert usage_error(overcli("ping")) == NO_SERVER


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (reply(403, {"error": "Invalid server key for x"}), "HTTP 403: Invalid server key for x"),
        (
            reply(500, "<html>\n<b>"),
            "HTTP 500 Said So from <url>, which is not how an OverC server refuses: check the URL",
        ),
        (
            reply(302, "", Location="http://a/"),
            "HTTP 302 Said So from <url>: it redirects to http://a/; give the final URL",
        ),
        (reply(200, "<html>"), "<url> answers, but not as an OverC server does"),
        (
            reply(200, "x" * 100_000),
            "<authority>: the reply is over 64 KiB,"
            " longer than any of an OverC server: check the URL",
        ),
        (b"", "<authority>: closed the connection without a reply"),
    ],
)
def test_a_failure_is_one_line_and_status_1(
    server: FakeServer, answer: bytes, sentence: str
) -> None:
    server.answer = [answer]
    done = overcli("-s", server.url.replace("//", "//u:s3cret@"), *ID, "alert", "down")
    sentence = sentence.replace("<url>", server.url).replace("<authority>", server.authority)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"overcli: {sentence}\n"


def test_no_server_at_all() -> None:
    with running() as gone:
        url, authority = gone.url, gone.authority
    done = overcli("-s", url, *ID, "ping")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"overcli: {authority}: Connection refused\n"


@pytest.mark.parametrize(
    "answer, status, said",
    [
        (reply(200, {"ok": 1}), 0, ["< 200 Said So", '< {"ok": 1}']),
        (
            reply(403, {"error": "no"}),
            1,
            ["< 403 Said So", '< {"error": "no"}', "overcli: HTTP 403: no"],
        ),
    ],
)
def test_verbose_shows_request_and_reply_without_secrets(
    server: FakeServer, answer: bytes, status: int, said: list[str]
) -> None:
    server.answer = [answer]
    url = server.url.replace("//", "//u:s3cret@")
    done = overcli("-v", "-s", url, "-i", "localhost:k3y", "alert", "down")
    assert (done.returncode, done.stdout) == (status, "")
    first, second, *rest = done.stderr.splitlines()
    assert first == f"> POST {server.url}api/set/alerts"
    assert json.loads(second[2:])["server"] == {"name": "localhost", "key": "***"}
    assert rest == said


def test_version_and_help() -> None:
    done = overcli("--version")
    assert (done.returncode, done.stdout) == (0, f"overcli {__version__}\n")
    done = overcli("--help")
    assert done.returncode == 0
    for word in ("ping", "service-status", "alert", "monitor", "OVERC_MY_KEY", "exit status"):
        assert word in done.stdout


@pytest.mark.parametrize("args", [["ping"], ["--version"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_went_away_gets_no_traceback(
    server: FakeServer, args: list[str], unbuffered: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "overc.cli", "-s", server.url, *ID, *args],
            env={**CLEAN_ENV, "PYTHONUNBUFFERED": unbuffered},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr in ("", "overcli: can't write to standard output: Broken pipe\n")
    assert done.returncode == (1 if done.stderr else 0)
    assert done.stderr or args != ["ping"]


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("good", [True, False])
def test_closed_streams_change_nothing_but_the_output(
    server: FakeServer, closing: str, good: bool
) -> None:
    if not good:
        server.answer = [reply(403, {"error": "no"})]
    command = f'exec "$@" ping {closing}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "overc.cli", "-s", server.url, *ID],
        env=CLEAN_ENV,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == (0 if good else 1)
    assert done.stdout == (f"pong from {server.url}\n" if good and closing == "2>&-" else "")
    assert done.stderr == ("" if good or "2" in closing else "overcli: HTTP 403: no\n")


def test_ctrl_c_ends_it_without_a_traceback(server: FakeServer) -> None:
    server.silent = True
    started = subprocess.Popen(
        [sys.executable, "-m", "overc.cli", "-v", "-s", server.url, *ID, "ping"],
        env=CLEAN_ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that started these tests in the background had it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert started.stderr is not None
    # The trace of the request: it is well inside main().
    first = started.stderr.readline()
    started.send_signal(signal.SIGINT)
    out, rest = started.communicate(timeout=PATIENCE_S)
    server.over.set()
    server.over.clear()
    assert first.startswith("> POST ")
    assert (started.returncode, out) == (130, "")
    assert "Traceback" not in rest


def test_a_bare_installation_can_run_everything_but_monitor(server: FakeServer) -> None:
    code = f"""
import sys
before = set(sys.modules)
sys.modules["twisted"] = sys.modules["treq"] = None
from overc.cli import main
options = ["-s", {server.url!r}, "-i", "a:b"]
statuses = [
    main([*options, *command])
    for command in (["ping"], ["service-status", "60", "a", "OK"], ["alert", "m"])
]
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
third_party = new - sys.stdlib_module_names - {{"overc", "twisted", "treq"}}
print(statuses, sorted(third_party))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=CLEAN_ENV,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] []"
