"""What `make run` starts, in a copy of the checkout so that its var/ is the test's own."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GREEN_S = 60.0
"""What the README promises."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    copy = tmp_path / "checkout"
    for folder in ("dev", "etc"):
        shutil.copytree(ROOT / folder, copy / folder)
    return copy


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


class Run:
    """One `dev/run.py`, with its output in a file."""

    def __init__(self, checkout: Path, port: int | str) -> None:
        self.output = checkout / "output"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, checkout / "dev/run.py"],
                env={**os.environ, "PORT": str(port)},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def told(self) -> str:
        return self.output.read_text()


@pytest.fixture
def started() -> Iterator[list[Run]]:
    runs: list[Run] = []
    yield runs
    for run in runs:
        if run.process.poll() is None:
            run.interrupt()


def services(port: int) -> dict[str, Any]:
    """Return the state of each service, an empty dict as long as nobody answers."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/ui/api/status/")
        status = json.loads(connection.getresponse().read())
        connection.close()
    except OSError:
        return {}
    return {
        service["name"]: service["state"]
        for server in status["servers"]
        for service in server["services"]
    }


def watched(checkout: Path) -> set[str]:
    """Return the names of what the agent checks."""
    found = re.findall(r"^\[service:(.+)\]$", (checkout / "var/agent.ini").read_text(), re.M)
    return set(found)


def wait_for_green(run: Run, port: int, checkout: Path) -> dict[str, Any]:
    """Return all services once something is green. The first report is not of all of them."""
    until = time.monotonic() + GREEN_S
    while time.monotonic() < until:
        assert run.process.poll() is None, run.told()
        found = services(port)
        green = any(state and state["state"] == "OK" for state in found.values())
        if green and set(found) >= watched(checkout):
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing is green: {found}, {run.told()}")


def test_it_watches_this_machine_and_goes_on_with_its_data(
    checkout: Path, port: int, started: list[Run]
) -> None:
    first = Run(checkout, port)
    started.append(first)
    found = wait_for_green(first, port, checkout)
    assert {"load", "memory", "disk", "overc", "overc-server"} <= set(found)
    assert first.interrupt() == 0, first.told()
    assert f"http://127.0.0.1:{port}/" in first.told()
    assert "Traceback" not in first.told()
    left = subprocess.run(["pgrep", "-f", str(checkout)], capture_output=True, text=True)
    assert left.stdout == ""
    agent_ini = (checkout / "var/agent.ini").read_text()

    second = Run(checkout, port)
    started.append(second)
    again = wait_for_green(second, port, checkout)
    assert set(again) == set(found)
    assert (checkout / "var/agent.ini").read_text() == agent_ini
    assert second.interrupt() == 0


def test_without_monitoring_plugins_it_takes_the_shipped_ones(checkout: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import run, pathlib;"
        "run.NAGIOS = pathlib.Path('/nowhere'); print(run.agent_config())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, checkout / "dev"], capture_output=True, text=True, check=True
    )
    assert "/nowhere" not in told.stdout
    assert told.stdout.count("etc/overc/plugin.d/") == 5


def test_a_busy_port_gets_a_sentence(checkout: Path, started: list[Run]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        run = Run(checkout, number)
        started.append(run)
        assert run.process.wait(60) == 1
    assert run.told() == (
        f"overc: port {number} can't be used (Address already in use):"
        " take another one, make run PORT=5001\n"
    )


@pytest.mark.parametrize("bad", ["x", "0", "65536", "-1", ""])
def test_a_port_that_is_none_gets_a_sentence(bad: str, checkout: Path, started: list[Run]) -> None:
    run = Run(checkout, bad)
    started.append(run)
    assert run.process.wait(60) == 1
    assert run.told() == f"overc: PORT={bad} is no port: give a number from 1 to 65535\n"


def test_a_server_that_does_not_start_says_why(checkout: Path, port: int) -> None:
    (checkout / "var").mkdir()
    (checkout / "var/server.ini").write_text("[overc]\nnonsense=1\n")
    run = Run(checkout, port)
    assert run.process.wait(60) == 1
    assert "server.ini:2: [overc] nonsense: unknown option" in run.told()
    assert "Traceback" not in run.told()


@pytest.mark.parametrize(
    "variables, sentence",
    [
        ({}, "Python 3.10 or newer is needed and was not found"),
        ({"PYTHON": "no-such-python"}, "PYTHON=no-such-python is no Python 3.10 or newer"),
    ],
)
def test_a_missing_python_gets_a_sentence(
    variables: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    # Only what the script itself runs, so that no interpreter is found.
    for tool in ("sh", "rm", "tail", "find"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    told = subprocess.run(
        [str(shutil.which("sh")), ROOT / "dev/environment.sh", tmp_path / "venv", "server"],
        env={"PATH": str(tmp_path), **variables},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr


def debian_packages(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script as if none of the packages were here, with an apt-get that fails."""
    script = (ROOT / "dev/debian-packages.sh").read_text()
    copy = tmp_path / "debian-packages.sh"
    copy.write_text(script.replace("/usr/", "/nowhere/"))
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho no network >&2\nexit 100\n")
    apt.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
    return subprocess.run(["sh", copy], env=env, capture_output=True, text=True)


def test_packages_that_are_left_out_are_named(tmp_path: Path) -> None:
    told = debian_packages(tmp_path, OVERC_TEST_INSTALL="no")
    assert told.returncode == 0
    assert "left out are the tests that need: chromium monitoring-plugins-basic" in told.stderr


@pytest.mark.parametrize("variables", [{"OVERC_TEST_INSTALL": "no"}, {}])
def test_ci_leaves_no_package_out(variables: dict[str, str], tmp_path: Path) -> None:
    told = debian_packages(tmp_path, CI="true", **variables)
    assert told.returncode == 1
    assert "monitoring-plugins-basic" in told.stderr
