"""overc.wrapped: what a job's user sees of the one who stands between. Nothing."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overc.wrapped import PASSED_ON, TAIL_BYTES, Ended, Tail

PATIENCE_S = 60

SCRIPT = """\
import json, sys
from overc.wrapped import Wrapped
job = Wrapped(sys.argv[2:])
job.start()
open(sys.argv[1], "w").write(json.dumps(job.wait()))
"""


class Ran:
    """A job that was run by a process of its own."""

    def __init__(
        self,
        folder: Path,
        *argv: str,
        during: Callable[[subprocess.Popen[bytes]], None] = lambda _: None,
        **options: Any,
    ) -> None:
        told = folder / "ended.json"
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(told), *argv],
            **{"stdin": subprocess.DEVNULL, "stdout": -1, "stderr": -1, **options},
        )
        during(process)
        out, err = process.communicate(timeout=PATIENCE_S)
        self.out, self.err = out or b"", err or b""
        self.ended = Ended(*json.loads(told.read_text()))


def shell(folder: Path, script: str, **options: Any) -> Ran:
    return Ran(folder, "sh", "-c", script, **options)


@pytest.mark.parametrize(
    "script, status, reason",
    [
        ("exit 0", 0, ""),
        ("exit 7", 7, "exit status 7"),
        ("kill -KILL $$", 137, "killed by SIGKILL"),
        ("kill -TERM $$", 143, "killed by SIGTERM"),
        ("kill -34 $$", 162, "killed by SIGRTMIN"),
    ],
)
def test_the_status_is_the_jobs(tmp_path: Path, script: str, status: int, reason: str) -> None:
    ended = shell(tmp_path, script).ended
    assert (ended.status, ended.reason, ended.started) == (status, reason, True)
    assert ended.duration_s > 0


def test_output_passes_through_and_is_kept(tmp_path: Path) -> None:
    ran = shell(tmp_path, "echo out; echo err >&2; echo more; printf 'no end'")
    assert (ran.out, ran.err) == (b"out\nmore\nno end", b"err\n")
    assert sorted(ran.ended.tail.split("\n")) == ["err", "more", "no end", "out"]


def test_a_lot_of_output_is_no_reason_to_stop(tmp_path: Path) -> None:
    ran = shell(tmp_path, "yes | head -c 3000000; echo the end")
    assert len(ran.out) == 3000008
    assert ran.ended.tail.startswith("(earlier output left out)\ny\n")
    assert ran.ended.tail.endswith("y\nthe end")
    assert len(ran.ended.tail) <= TAIL_BYTES + 30


def test_the_jobs_standard_input_is_ours(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello\n")
    with (tmp_path / "in").open() as file:
        assert Ran(tmp_path, "cat", stdin=file).out == b"hello\n"


def test_other_descriptors_are_the_jobs_too(tmp_path: Path) -> None:
    told, job = tmp_path / "ended.json", "echo to three >&3"
    command = [sys.executable, "-c", SCRIPT, str(told), "sh", "-c", job]
    subprocess.run(
        ["sh", "-c", f'exec "$@" 3> {tmp_path}/three', "sh", *command],
        timeout=PATIENCE_S,
        check=True,
    )
    assert (tmp_path / "three").read_text() == "to three\n"


@pytest.mark.parametrize(
    "argv, status, reason",
    [
        (["no-such-command"], 127, "no-such-command: can't be started: command not found in PATH"),
        (["/nowhere/x"], 127, "/nowhere/x: can't be started: No such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: can't be started: Permission denied"),
        (["a\0b"], 126, "a\0b: can't be started: embedded null byte"),
    ],
)
def test_what_can_not_be_started(argv: list[str], status: int, reason: str) -> None:
    from overc.wrapped import Wrapped

    job = Wrapped(argv)
    job.start()
    assert job.wait() == Ended(status, reason, 0.0, "", False)


def test_a_script_without_a_first_line(tmp_path: Path) -> None:
    from overc.wrapped import Wrapped

    path = tmp_path / "job"
    path.write_text("echo hello\n")
    path.chmod(0o755)
    job = Wrapped([str(path)])
    job.start()
    ended = job.wait()
    assert ended.status == 126
    assert "#!/bin/sh" in ended.reason


SAYS_READY = "trap 'echo got it; exit 5' {name}; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on(tmp_path: Path, name: str) -> None:
    def during(process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))

    ran = shell(
        tmp_path,
        SAYS_READY.format(name=name),
        during=during,
        # No terminal, and nothing ignored, whoever started these tests.
        start_new_session=True,
        preexec_fn=lambda: [
            signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
        ],
    )
    assert (ran.out, ran.ended.status) == (b"got it\n", 5)


def test_what_nohup_ignores_the_job_ignores_too(tmp_path: Path) -> None:
    def during(process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

    ran = shell(
        tmp_path,
        "trap 'echo hup' HUP; " + SAYS_READY.format(name="TERM"),
        during=during,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (ran.out, ran.ended.status) == (b"got it\n", 5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_signals_go_to_the_thread_that_waits(tmp_path: Path) -> None:
    """Another one's would not wake it."""
    masks: list[int] = []

    def during(process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            [mask] = re.findall(r"SigBlk:\s+(\w+)", (thread / "status").read_text())
            if int(thread.name) != process.pid:
                masks.append(int(mask, 16))
        process.send_signal(signal.SIGTERM)

    ran = shell(tmp_path, SAYS_READY.format(name="TERM"), during=during)
    assert (ran.out, ran.ended.status) == (b"got it\n", 5)
    assert masks
    for number in PASSED_ON:
        assert all(mask & 1 << number - 1 for mask in masks)


COUNTS_CTRL_C = """\
import os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"caught\\n"))
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
os.write(1, b"ready\\n")
while True:
    time.sleep(0.05)
"""


def test_ctrl_c_reaches_the_job_once(tmp_path: Path) -> None:
    """The terminal sends it to all who are in the foreground, so we must not."""
    told = tmp_path / "ended.json"
    job = [sys.executable, "-c", COUNTS_CTRL_C]
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell that started these tests in the background had it ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT, str(told), *job])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"caught" not in seen:
        seen += os.read(terminal, 1000)
    # What was passed on before this one has come before it.
    os.kill(pid, signal.SIGUSR1)
    try:
        while piece := os.read(terminal, 1000):
            seen += piece
    except OSError:
        pass  # how Linux tells of the end of a terminal
    os.waitpid(pid, 0)
    os.close(terminal)
    assert seen.count(b"caught") == 1
    assert json.loads(told.read_text())[0] == 3


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(tmp_path: Path, closing: str) -> None:
    told = tmp_path / "ended.json"
    command = f'exec "$@" {closing}'
    subprocess.run(
        [
            "sh",
            "-c",
            command,
            "sh",
            sys.executable,
            "-c",
            SCRIPT,
            told,
            "sh",
            "-c",
            "echo a; exit 4",
        ],
        timeout=PATIENCE_S,
        check=False,
        capture_output=True,
    )
    assert json.loads(told.read_text())[:2] == [4, "exit status 4"]


def test_a_reader_that_went_away_does_not_stop_the_job(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.02; done; echo done > finished"
    ran = shell(tmp_path, f"cd {tmp_path}; {script}", stdout=writing)
    os.close(writing)
    assert ran.ended.status == 0
    assert (tmp_path / "finished").exists()
    assert ran.ended.tail.endswith("line 5")


def test_a_child_that_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo done"
    # The child holds our pipes only; those of this test it gave back.
    ran = shell(tmp_path, script)
    assert (ran.out, ran.ended.status) == (b"done\n", 0)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_line_of_one_stream_does_not_go_on_in_the_other() -> None:
    tail = Tail()
    for piece, stream in ((b"", 1), (b"50%", 1), (b"oh\n", 2), (b"done", 1), (b"!\n", 1)):
        tail.add(piece, stream)
    assert tail.text() == "50%\noh\ndone!"


def tail_of(*pieces: bytes, limit: int = 20) -> str:
    tail = Tail(limit)
    for piece in pieces:
        tail.add(piece)
    return tail.text()


@pytest.mark.parametrize(
    "pieces, text",
    [
        ([], ""),
        ([b"one\ntwo\n"], "one\ntwo"),
        ([b"caf\xc3", b"\xa9\n"], "café"),
        ([b"\xff\0\x07a\tb"], "\ufffd??a\tb"),
        ([b"0123456789\n0123456789\n"], "(earlier output left out)\n0123456789"),
        ([b"x" * 30], "(earlier output left out)\n" + "x" * 20),
        ([b"x\n" * 500, b"end"], "(earlier output left out)\n" + "x\n" * 8 + "end"),
        ([b"10%\r50%\r100%\r\n", b"ok\r\n"], "100%\nok"),
        ([b"\x1b[31mred\x1b[0m"], "red"),
        ([b"\x1b]0;t\x07a\x1b(Bb"], "ab"),
    ],
)
def test_the_tail(pieces: list[bytes], text: str) -> None:
    assert tail_of(*pieces) == text
