"""`overcli run`: real jobs, against a server that records."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer, reply, running
from support.job_host import DAILY, PATIENCE_S, Host

from overc.cli_run import headline, info, promise_s
from overc.wrapped import Ended


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, server: FakeServer) -> Host:
    return Host(tmp_path, server)


def test_a_job_that_is_well(host: Host) -> None:
    done = host.run(*DAILY, "--grace", "2h", "--", "sh", "-c", "echo a; echo 'b|c' >&2; echo d")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\nd\n", "b|c\n")
    report = host.reports()[-1]
    assert (report["name"], report["state"]) == ("backup", "OK")
    assert (report["period"], report["grace"], report["seq"]) == (86400, 7200, 1)
    # The time is the server's: by a slow clock, the end would be older than the start.
    assert "time" not in report
    first, *rest = report["info"].split("\n")
    assert re.fullmatch(r"done in \S+: [db].* \| 'duration'=\d+\.\d{3}s;;;0", first)
    assert sorted(rest) == ["a", "b¦c", "d"]
    assert list(host.files.waiting()) == []


@pytest.mark.parametrize(
    "job, status, said",
    [
        (["sh", "-c", "echo broken; exit 3"], 3, "exit status 3 after "),
        (["sh", "-c", "kill -9 $$"], 137, "killed by SIGKILL after "),
    ],
)
def test_a_job_that_is_ill(host: Host, job: list[str], status: int, said: str) -> None:
    done = host.run(*DAILY, "--", *job)
    assert (done.returncode, done.stderr) == (status, "")
    report = host.reports()[-1]
    assert report["state"] == "FAIL"
    assert report["info"].startswith(said)
    assert "grace" not in report


def test_a_job_that_can_not_be_started(host: Host) -> None:
    done = host.run(*DAILY, "--", "./missing")
    reason = "./missing: can't be started: No such file or directory"
    assert (done.returncode, done.stderr) == (127, f"overcli: {reason}\n")
    assert (host.reports()[-1]["state"], host.reports()[-1]["info"]) == ("FAIL", reason)


def test_arguments_of_the_job_are_the_jobs(host: Host) -> None:
    done = host.run(*DAILY, "--no-start", "--", "printf", "%s,", "--", "--json", "-h", "--service")
    assert done.stdout == "--,--json,-h,--service,"


class Gate:
    """Holds a job until something has been seen."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        os.mkfifo(self.path)
        self.job = ["sh", "-c", f'read line < {self.path}; exit "$line"']

    def open(self, status: int = 0) -> None:
        self.path.write_text(f"{status}\n")


def started(host: Host, job: list[str], *args: str) -> subprocess.Popen[str]:
    """Start a run, and return when its start report has come."""
    before = len(host.server.requests)
    process = subprocess.Popen(
        host.command(*DAILY, *args, "--", *job), env=host.environ, stderr=-1, text=True
    )
    tick = threading.Event()
    for _ in range(PATIENCE_S * 50):
        if len(host.server.requests) > before:
            return process
        tick.wait(0.02)
    raise AssertionError("no start report")


@pytest.mark.parametrize(
    "args, promised",
    [
        ([], 86400),
        (["--grace", "2h"], 7200),
        (["--grace", "10%"], 8640),
        (["--grace", "0"], 86400),
        (["--grace", "2h", "--within", "30m"], 1800),
    ],
)
def test_the_start_promises_the_end(host: Host, args: list[str], promised: int) -> None:
    gate = Gate(host.folder)
    process = started(host, gate.job, *args)
    gate.open()
    assert process.wait(PATIENCE_S) == 0
    start, end = host.reports()
    assert (start["period"], start["grace"], start["state"]) == (promised, 0, "OK")
    assert start["info"].startswith("running since ")
    assert start["info"].endswith(", for the first time here")
    assert (end["period"], end["info"].split()[0]) == (86400, "done")


def test_the_start_repeats_the_state_before(host: Host) -> None:
    assert host.run(*DAILY, "--no-start", "--", "sh", "-c", "echo no disk; exit 1").returncode == 1
    gate = Gate(host.folder)
    process = started(host, gate.job)
    gate.open(0)
    process.wait(PATIENCE_S)
    start = host.reports()[1]
    assert start["state"] == "FAIL"
    assert re.search(r", last: exit status 1 after \S+: no disk$", start["info"])
    assert "|" not in start["info"]
    assert host.reports()[2]["state"] == "OK"
    assert host.files.last("backup") is not None


def test_a_start_that_hangs_does_not_hold_up_the_job(host: Host) -> None:
    host.server.silent = True
    gate = Gate(host.folder)
    process = started(host, gate.job, "--period", "20")
    gate.open(4)
    # The end waits behind the start, so that they never come the other way round, and gives up.
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4
    assert "not reported: " in err
    assert [one.state for one in host.files.waiting()] == ["FAIL"]


def test_without_a_place_for_the_state_there_is_no_start(host: Host) -> None:
    (host.folder / "state").write_text("in the way")
    done = host.run(*DAILY, "--", "sh", "-c", "sleep 1.5; echo fine")
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert "the last state can't be kept in " in done.stderr
    assert done.stderr.endswith("or give --no-start\n")
    assert done.stderr.count("\n") == 1
    [end] = host.reports()
    assert end["info"].startswith("done in ")


def test_a_server_that_is_away(host: Host, server: FakeServer) -> None:
    with running() as gone:
        host.url = gone.url
        where = gone.authority
    done = host.run("--service", "backup", "--period", "20", "--", "sh", "-c", "echo on; exit 9")
    assert (done.returncode, done.stdout) == (9, "on\n")
    assert done.stderr == (
        f"overcli: backup: not reported: {where}: Connection refused;"
        " the next overcli run sends it\n"
    )


def test_what_was_not_sent_goes_along_with_a_later_report(host: Host) -> None:
    host.server.answer = [reply(503, {"error": "the database is away"})]
    done = host.run("--service", "old", "--period", "20", "--", "sh", "-c", "exit 1")
    assert done.returncode == 1
    assert "HTTP 503: the database is away; the next overcli run sends it" in done.stderr
    [kept] = host.files.waiting()
    host.server.requests.clear()
    host.server.answer = [reply(200, {"ok": 1})]
    done = host.run(*DAILY, "--no-start", "--", "true")
    assert (done.returncode, done.stderr) == (0, "")
    now, late = host.reports()
    assert (now["name"], late["name"], late["state"]) == ("backup", "old", "FAIL")
    assert (late["spool"], late["seq"], late["time"]) == (kept.spool, 1, kept.seen_at)
    assert list(host.files.waiting()) == []


@pytest.mark.parametrize(
    "status, kept", [(400, 0), (413, 0), (403, 1), (401, 1), (404, 1), (302, 1)]
)
def test_a_refusal_is_told_once_and_at_once(host: Host, status: int, kept: int) -> None:
    host.server.answer = [reply(status, {"error": "so not"})]
    done = host.run(*DAILY, "--no-start", "--", "true")
    assert done.returncode == 0
    assert done.stderr.startswith("overcli: backup: not reported: HTTP ")
    assert ("; the next overcli run sends it" in done.stderr) == bool(kept)
    assert done.stderr.count("\n") == 1
    assert len(host.server.requests) == 1
    assert len(list(host.files.waiting())) == kept


def test_ctrl_c_while_it_reports_ends_it(host: Host) -> None:
    host.server.silent = True
    process = subprocess.Popen(
        host.command(*DAILY, "--no-start", "--", "true"),
        env=host.environ,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    tick = threading.Event()
    for _ in range(PATIENCE_S * 50):
        if host.server.requests:
            break
        tick.wait(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert err == "overcli: backup: not reported: interrupted; the next overcli run sends it\n"


def test_json_at_the_end(host: Host) -> None:
    done = host.run(*DAILY, "--no-start", "--json", "--", "sh", "-c", "echo x; exit 2")
    assert done.stdout == "x\n"
    told = json.loads(done.stderr)
    assert told.pop("duration_s") >= 0
    assert told == {
        "service": "backup", "state": "FAIL", "exit_status": 2, "reported": True, "trouble": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    "args, said",
    [
        (["--period", "1d", "--", "true"], "the following arguments are required: --service"),
        (["--service", "a", "--", "true"], "the following arguments are required: --period"),
        ([*DAILY], "the following arguments are required: COMMAND"),
        ([*DAILY, "--"], "the following arguments are required: COMMAND"),
        ([*DAILY, "--grace", "x%", "--", "true"], "expected a time such as 2h or a share such as"),
        ([*DAILY, "--grace", "soon", "--", "true"], "expected a duration such as 90, 5m"),
        ([*DAILY, "--within", "0", "--", "true"], "expected a whole number of seconds above 0"),
        ([*DAILY, "--within", "99y", "--", "true"], "expected at most 68 years"),
        ([*DAILY, "true", "--repo", "x"], "unrecognized arguments: --repo"),
    ],
)
def test_wrong_usage_runs_nothing(host: Host, args: list[str], said: str) -> None:
    done = host.run(*args)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert host.server.requests == []


LONG = "x" * 300


@pytest.mark.parametrize(
    "ended, first, whole",
    [
        (Ended(0, "", 185.2), "done in 3m 5s", "done in 3m 5s | 'duration'=185.200s;;;0"),
        (
            Ended(0, "", 0.25, "saved"),
            "done in 0.25s: saved",
            "done in 0.25s: saved | 'duration'=0.250s;;;0",
        ),
        (
            Ended(1, "exit status 1", 7.0, "a | x=1\nno room\n\nend"),
            "exit status 1 after 7s: end",
            "exit status 1 after 7s: end | 'duration'=7.000s;;;0\na ¦ x=1\nno room\n\nend",
        ),
        (
            Ended(0, "", 1.0, LONG),
            f"done in 1s: {LONG[:200]}...",
            f"done in 1s: {LONG[:200]}... | 'duration'=1.000s;;;0\n{LONG}",
        ),
        (
            Ended(127, "x: can't be started: not found", 0.0, "", False),
            "x: can't be started: not found",
            "x: can't be started: not found",
        ),
    ],
)
def test_what_is_told_of_a_run(ended: Ended, first: str, whole: str) -> None:
    assert headline(ended) == first
    assert info(ended) == whole


@pytest.mark.parametrize(
    "period, grace, within, promised",
    [
        (60, None, None, 60),
        (60, 0.0, None, 60),
        (60, 0.5, None, 1),
        (60, "150%", None, 90),
        (86400, 7200.0, None, 7200),
        (86400, 7200.0, 60, 60),
    ],
)
def test_the_promise_of_a_start(
    period: int, grace: float | str | None, within: int | None, promised: int
) -> None:
    args = Namespace(period=period, grace=grace, within=within)
    assert promise_s(args) == promised
