"""`overcli monitor --once`: real plugins, and not one request."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, running
from support.daemon import eventually

from overc.cli import main
from overc.cli_once import first_line

PATIENCE_S = 60


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


def configure(
    folder: Path, url: str, plugins: dict[str, str], more: str = "", each: str = ""
) -> str:
    """Write an agent's file with a script for each service; return its path."""
    lines = [f"[overc]\nserver={url}\nmy-name=web1\nmy-key=s3cret\n{more}\n"]
    for name, script in plugins.items():
        path = folder / f"{name}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        lines.append(f"[service:{name}]\nperiod=60\ncommand=./{name}.sh\n{each}\n")
    (folder / "agent.ini").write_text("\n".join(lines))
    return str(folder / "agent.ini")


def once(path: str, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "overc.cli", "monitor", "--once", *args, path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        **options,
    )


def test_a_table_and_nothing_sent(tmp_path: Path, server: FakeServer) -> None:
    plugins = {
        "good": 'echo "fine | x=1"; echo more',
        "poor": "echo 'so so'; exit 1",
        "bad": "echo broken; exit 2",
        "odd": "exit 77",
        "env": 'echo "${OVERC_MY_KEY:-no key}"',
    }
    path = configure(tmp_path, server.url, plugins)
    done = once(path, env={**os.environ, "OVERC_MY_KEY": "s3cret"})
    assert (done.returncode, done.stderr) == (0, "")
    table = re.sub(r"\d+\.\d\d s", "N s", done.stdout)
    assert table == (
        "OK    good  fine  N s\n"
        "WARN  poor  so so  N s\n"
        "FAIL  bad   broken  N s\n"
        "UNK   odd   (no output)  N s\n"
        "OK    env   no key  N s\n"
        "5 services: 2 OK, 1 WARN, 1 FAIL, 1 UNK; nothing was sent\n"
    )
    assert server.requests == []


@pytest.mark.parametrize(
    "script, each, said",
    [
        ("echo begun; sleep 600", "timeout=0.3", "timed out after 0.3 s"),
        ("kill -9 $$", "", "killed by SIGKILL"),
        ("no-such-command-anywhere", "", "exit status 127: the command, or one that it calls,"),
    ],
)
def test_what_did_not_come_to_its_own_end_is_status_1(
    tmp_path: Path, script: str, each: str, said: str
) -> None:
    path = configure(tmp_path, "http://127.0.0.1:9/", {"a": script}, each=each)
    done = once(path)
    assert (done.returncode, done.stdout.startswith(f"UNK   a  {said}")) == (1, True), done.stdout


def test_what_is_not_there_is_status_1(tmp_path: Path) -> None:
    path = configure(tmp_path, "http://127.0.0.1:9/", {"a": "echo ok", "b": "echo ok"})
    (tmp_path / "a.sh").unlink()
    done = once(path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"UNK   a  ./a.sh: no such file in {tmp_path}  ")
    assert "\nOK    b  ok  " in done.stdout


def test_json(tmp_path: Path) -> None:
    path = configure(
        tmp_path, "http://127.0.0.1:9/", {"a": "echo 'b | c=1'; echo d", "e": "kill $$"}
    )
    done = once(path, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    first, second = json.loads(done.stdout)["services"]
    assert first.pop("took_s") >= 0
    assert first == {"name": "a", "state": "OK", "info": "b | c=1\nd", "ran": True}
    assert (second["state"], second["info"], second["ran"]) == ("UNK", "killed by SIGTERM", False)


def test_no_more_at_once_than_concurrency_says(tmp_path: Path) -> None:
    """Each plugin notes who runs beside it."""
    script = "mkdir run-$$; ls -d run-* | wc -l; sleep 0.2; rmdir run-$$"
    plugins = {f"p{n}": script for n in range(6)}
    path = configure(tmp_path, "http://127.0.0.1:9/", plugins, more="concurrency=2")
    told = json.loads(once(path, "--json").stdout)["services"]
    beside = [int(one["info"].split()[0]) for one in told]
    assert max(beside) == 2


def test_ctrl_c_ends_the_plugins_too(tmp_path: Path) -> None:
    plugins = {n: f"sleep 600 & echo $! > {n}.pid; wait" for n in ("a", "b")}
    path = configure(tmp_path, "http://127.0.0.1:9/", plugins)
    process = subprocess.Popen(
        [sys.executable, "-m", "overc.cli", "monitor", "--once", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    files = [tmp_path / f"{n}.pid" for n in plugins]
    eventually(lambda: all(file.exists() and file.read_text() for file in files))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, "", "")
    for file in files:
        # Whoever adopts it may still have to bury it.
        status = Path(f"/proc/{file.read_text().strip()}/stat")
        eventually(partial(has_ended, status))


def has_ended(status: Path) -> bool:
    try:
        return ") Z " in status.read_text()
    except OSError:
        return True


def test_on_a_terminal_it_fits_and_has_colours(tmp_path: Path) -> None:
    path = configure(tmp_path, "http://127.0.0.1:9/", {"a": "echo " + "x" * 200})
    seen = on_a_terminal(path, {"COLUMNS": "60", "TERM": "xterm"})
    line = seen.split("\r\n")[0]
    assert line.startswith("\x1b[32mOK  \x1b[0m  a  xxx")
    assert re.search(r"xxx\.\.\.  +\d\.\d\d s$", line)
    assert len(line) == 60 + len("\x1b[32m\x1b[0m")
    assert "\x1b" not in on_a_terminal(path, {"COLUMNS": "60", "NO_COLOR": "1"})


def on_a_terminal(path: str, environ: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "overc.cli", "monitor", "--once", path],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.STDOUT,
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 10000):
            seen += piece
    except OSError:
        pass  # how Linux tells of the end of a terminal
    os.close(ours)
    assert process.wait(PATIENCE_S) == 0
    return seen.decode()


def test_a_mistake_in_the_file_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configure(tmp_path, "mon:5000", {"a": "touch ran"})
    assert main(["monitor", "--once", path]) == 1
    out, err = capsys.readouterr()
    assert (out, f"overcli: {path}:2: [overc] server: expected a URL" in err) == ("", True)
    assert not (tmp_path / "ran").exists()


def test_json_goes_with_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "--json", "a.ini"]) == 2
    assert "monitor: --json goes with --once" in capsys.readouterr().err


@pytest.mark.parametrize(
    "info, shown",
    [("", ""), ("a", "a"), ("a | b=1", "a"), ("a\nb", "a"), ("| b=1", ""), (" \na", "")],
)
def test_the_first_line(info: str, shown: str) -> None:
    assert first_line(info) == shown
