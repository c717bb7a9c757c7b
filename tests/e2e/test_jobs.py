"""`overcli init` and `overcli run` against the real server: what people get to hear."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon import Daemon, clean_environment, eventually
from support.http_client import Host

PATIENCE_S = 60


class Jobs:
    """A machine on which jobs run."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{host.client.port}/"
        self.environ = clean_environment(
            STATE_DIRECTORY=str(folder),
            OVERC_SERVER=self.url,
            OVERC_MY_NAME=host.name,
            OVERC_MY_KEY=host.key,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "overc.cli", *words],
            env=self.environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        out, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out


@pytest.fixture
def jobs(tmp_path: Path, host: Host) -> Jobs:
    return Jobs(tmp_path, host)


def told(host: Host) -> list[str]:
    return [alert["event"] for alert in host.alerts()]


def is_running(host: Host) -> bool:
    return host.is_known() and any(
        one["state"] and one["state"]["info"].startswith("running since ")
        for one in host.services().values()
    )


def test_a_run_tells_of_changes_only(jobs: Jobs, host: Host) -> None:
    daily = ["run", "--service", "backup", "--period", "1d", "--grace", "2h"]
    fifo = jobs.folder / "fifo"
    os.mkfifo(fifo)
    slowly = [*daily, "--", "sh", "-c", f'read status < {fifo}; exit "$status"']
    for status, before, events in (
        # A first report that is well is no news, nor is it that a job begins.
        (1, "OK", ["FAIL"]),
        (1, "FAIL", ["FAIL"]),
        (0, "FAIL", ["FAIL", "OK"]),
        (0, "OK", ["FAIL", "OK"]),
    ):
        process = jobs.start(*slowly)
        eventually(lambda: is_running(host), "the start is reported")
        assert host.state("backup")["state"] == before
        assert host.services()["backup"]["period"] == 7200
        fifo.write_text(f"{status}\n")
        assert process.wait(PATIENCE_S) == status
        assert host.services()["backup"]["period"] == 86400
        assert told(host) == events


def test_a_job_that_hangs_is_late(jobs: Jobs, host: Host) -> None:
    fifo = jobs.folder / "fifo"
    os.mkfifo(fifo)
    process = jobs.start(
        "run", "--service", "hangs", "--period", "1d", "--within", "1", "--", "cat", str(fifo)
    )
    eventually(lambda: "offline" in (told(host) if host.is_known() else []), "it is late")
    fifo.write_text("at last\n")
    assert process.wait(PATIENCE_S) == 0
    assert told(host) == ["offline", "online"]


def test_a_job_beside_a_server_that_restarts(jobs: Jobs, host: Host, daemon: Daemon) -> None:
    host.ping()
    daemon.kill()
    status, out = jobs.run(
        "run", "--service", "away", "--period", "20", "--grace", "1h", "--", "sh", "-c", "exit 3"
    )
    assert (status, "the next overcli run sends it" in out) == (3, True)
    daemon.start()
    jobs.environ["OVERC_SERVER"] = f"http://127.0.0.1:{daemon.client.port}/"
    host.client = daemon.client
    # The port is another one, but it is the same server.
    assert jobs.run("run", "--service", "b", "--period", "1d", "--", "true") == (0, "")
    assert host.state("away")["state"] == "FAIL"
    assert len(host.history("away")) == 1
    assert told(host) == ["FAIL"]


def test_init_registers_the_machine(jobs: Jobs, host: Host) -> None:
    name = f"{host.name[:200]} init"
    status, out = jobs.run("init", jobs.url, "--name", name)
    assert status == 0, out
    assert f"{jobs.url} answers and knows {name}" in out
    again, out = jobs.run("init", jobs.url, "--name", name, "--config", "other.ini")
    assert again == 1
    assert out.splitlines()[0].startswith("overcli: HTTP 403: Invalid server key for ")
    assert (jobs.folder / "other.ini").exists()
    assert jobs.run("init", jobs.url, "--name", name, "--force")[0] == 0
