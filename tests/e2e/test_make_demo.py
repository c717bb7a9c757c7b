"""What `make demo` starts, in a copy of the checkout so that its var/ is the test's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from support.daemon import eventually
from support.http_client import Client

ROOT = Path(__file__).resolve().parents[2]


def a_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def begin(checkout: Path, port: int, output: Path, **more: str) -> subprocess.Popen[bytes]:
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "dev.demo"],
            cwd=checkout, env={**os.environ, "PORT": str(port), **more},
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def wait_until_begun(demo: subprocess.Popen[bytes], output: Path) -> None:
    def has_begun() -> bool:
        assert demo.poll() is None, output.read_text()
        return "Ctrl-C ends it" in output.read_text()

    eventually(has_begun, "it has begun", 60)


def end(demo: subprocess.Popen[bytes], output: Path) -> None:
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0, output.read_text()
    assert "the demo is over" in output.read_text()
    assert "Traceback" not in output.read_text()


def conditions(client: Client) -> Counter[str]:
    found: list[dict[str, Any]] = [
        service["state"] for one in client.servers().values() for service in one["services"]
    ]
    return Counter("late" if one["timed_out"] else one["state"] for one in found)


def test_it_is_full_of_data_and_goes_on_with_it(tmp_path: Path) -> None:
    checkout, output, port = tmp_path / "checkout", tmp_path / "output", a_port()
    for folder in ("dev", "etc"):
        shutil.copytree(ROOT / folder, checkout / folder)
    demo = begin(checkout, port, output)
    try:
        wait_until_begun(demo, output)
        assert f"http://127.0.0.1:{port}/" in output.read_text()
        client = Client(port)
        assert len(client.servers()) == 40
        found = conditions(client)
        assert found.total() == 400
        assert min(found[state] for state in ("OK", "WARN", "FAIL", "UNK")) > 0, found
        assert {one["status"] for one in client.get("/ui/api/silences")["silences"]} == {
            "running", "coming",
        }  # fmt: skip
        assert [one["running_until"] is not None for one in
                client.get("/ui/api/silences")["maintenance"]] == [True]  # fmt: skip
        disk = next(one for one in client.servers()["web-1"]["services"] if one["name"] == "disk /")
        path = f"/ui/api/status/service/{disk['id']}/states?hours="
        eventually(lambda: len(client.get(path + "24")["states"]) > 20, "yesterday is told", 60)
        known = {name: one["id"] for name, one in client.servers().items()}
        end(demo, output)

        demo = begin(checkout, port, output, KEEP="yes")
        wait_until_begun(demo, output)
        assert {name: one["id"] for name, one in client.servers().items()} == known
        end(demo, output)
    finally:
        if demo.poll() is None:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
    assert "Traceback" not in (checkout / "var/demo/server.log").read_text()
    left = subprocess.run(["pgrep", "-f", str(checkout)], capture_output=True, text=True)
    assert left.stdout == ""
