"""The runner against real scripts. Time passes only where a test moves the clock."""

# mypy: disable-error-code="import-untyped, untyped-decorator"
# (pytest-twisted has no annotations)

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from process_doubles import ENV, PATIENCE_S, HandReactor, Tether, real_reactor, run, shell
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from overc import process, spawn
from overc.process import Outcome, Runner, locate


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    tether = Tether(tmp_path / "tether")
    yield tether
    tether.close()


@pytest.fixture
def hand() -> HandReactor:
    return HandReactor()


@pytest_twisted.async_yield_fixture()
async def runner() -> AsyncIterator[Runner]:
    """A runner in real time."""
    runner = Runner(real_reactor)
    runner.startService()
    yield runner
    await runner.stopService()


@pytest.fixture
def hand_runner(hand: HandReactor) -> Runner:
    runner = Runner(hand)
    runner.startService()
    return runner


@pytest.fixture
def logged_errors() -> Iterator[list[LogEvent]]:
    """What Twisted caught and only logged."""
    errors: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            errors.append(event)

    globalLogPublisher.addObserver(observe)
    yield errors
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(params=["posix_spawn", "setsid(1)", "Python"])
def session_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All ways to give a command a session of its own."""
    if request.param == "posix_spawn":
        if not spawn.AVAILABLE:
            pytest.skip("this is not Linux")
        return str(request.param)
    monkeypatch.setattr("overc.spawn.AVAILABLE", False)
    found = shutil.which("setsid")
    if request.param == "Python":
        found = None
    elif found is None:
        pytest.skip("there is no setsid(1) here")

    def which(program: str, path: str | None = None) -> str | None:
        return found if program == "setsid" else real_which(program, path=path)

    real_which = shutil.which
    monkeypatch.setattr("overc.process.shutil.which", which)
    return str(request.param)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    def script(content: str, name: str = "script.sh", shebang: str = "#!/bin/sh\n") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(shebang + content)
        path.chmod(0o755)
        return f"./{name}"

    return script


@pytest.mark.parametrize(
    "code, exit_code, number",
    [
        ("exit 0", 0, None),
        ("exit 1", 1, None),
        ("exit 2", 2, None),
        ("exit 3", 3, None),
        ("exit 255", 255, None),
        ("kill -TERM $$", None, signal.SIGTERM),
        ("kill -KILL $$", None, signal.SIGKILL),
        ("kill -PIPE $$", None, signal.SIGPIPE),
        ("kill -XFSZ $$", None, signal.SIGXFSZ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_how_it_ended(
    runner: Runner,
    tmp_path: Path,
    session_by: str,
    code: str,
    exit_code: int | None,
    number: int | None,
) -> None:
    outcome = await run(runner, shell(f"ulimit -c 0; {code}"), tmp_path)
    assert (outcome.exit_code, outcome.signal, outcome.error) == (exit_code, number, None)
    assert (outcome.timed_out, outcome.flooded, outcome.truncated) == (False, False, False)


@pytest_twisted.ensureDeferred
async def test_both_streams_are_kept(runner: Runner, tmp_path: Path) -> None:
    outcome = await run(runner, shell("echo out; echo err >&2"), tmp_path)
    assert sorted(outcome.output.splitlines()) == [b"err", b"out"]


@pytest.mark.parametrize("stdin", [b"", b"a line\n", b"\0\xff" * 500_000], ids=len)
@pytest_twisted.ensureDeferred
async def test_stdin_is_written_and_closed(runner: Runner, tmp_path: Path, stdin: bytes) -> None:
    outcome = await run(runner, ["cat"], tmp_path, stdin=stdin, keep_bytes=2_000_000)
    assert outcome.output == stdin
    assert outcome.exit_code == 0


@pytest_twisted.ensureDeferred
async def test_stdin_that_nobody_reads_does_no_harm(runner: Runner, tmp_path: Path) -> None:
    outcome = await run(runner, shell("exit 2"), tmp_path, stdin=b"x" * 1_000_000)
    assert outcome.exit_code == 2


@pytest.mark.parametrize(
    "keep_bytes, kept, truncated", [(4, b"0123", True), (10, b"0123456789", False)]
)
@pytest_twisted.ensureDeferred
async def test_output_is_capped(
    runner: Runner, tmp_path: Path, keep_bytes: int, kept: bytes, truncated: bool
) -> None:
    outcome = await run(runner, ["printf", "0123456789"], tmp_path, keep_bytes=keep_bytes)
    assert (outcome.output, outcome.truncated, outcome.flooded) == (kept, truncated, False)


@pytest.mark.parametrize("code", ["exec yes", "yes & wait"])
@pytest_twisted.ensureDeferred
async def test_a_flood_is_killed(
    hand_runner: Runner, tmp_path: Path, tether: Tether, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(process, "KILL_BYTES", 200_000)
    argv = shell(f'exec 9>"$1"; echo $$ >&9; {code}', tether.path)
    outcome = await run(hand_runner, argv, tmp_path, keep_bytes=1000)
    assert (outcome.flooded, outcome.truncated, outcome.signal) == (True, True, signal.SIGKILL)
    assert outcome.output == b"y\n" * 500
    await tether.gone


@pytest_twisted.ensureDeferred
async def test_after_the_time_limit_it_is_asked_to_end(
    hand: HandReactor, hand_runner: Runner, tmp_path: Path, tether: Tether, session_by: str
) -> None:
    argv = shell('echo half; exec 9>"$1"; echo $$ >&9; sleep 1000', tether.path)
    running = run(hand_runner, argv, tmp_path, timeout_s=5)
    await tether.up(1)
    hand.advance(4.5)
    assert not running.called
    hand.advance(0.5)
    outcome = await running
    assert (outcome.timed_out, outcome.signal, outcome.duration_s) == (True, signal.SIGTERM, 5.0)
    assert outcome.output == b"half\n"
    await tether.gone


@pytest_twisted.ensureDeferred
async def test_it_may_use_the_grace_to_end_in_order(
    hand: HandReactor, hand_runner: Runner, tmp_path: Path, tether: Tether
) -> None:
    code = """trap 'echo cleaned up; exit 3' TERM; exec 9>"$1"; echo $$ >&9; sleep 1000 & wait"""
    running = run(hand_runner, shell(code, tether.path), tmp_path, timeout_s=5)
    await tether.up(1)
    hand.advance(5)
    outcome = await running
    assert (outcome.timed_out, outcome.exit_code) == (True, 3)
    assert outcome.output == b"cleaned up\n"
    await tether.gone


@pytest_twisted.ensureDeferred
async def test_who_ignores_the_request_is_killed_with_all_grandchildren(
    hand: HandReactor, hand_runner: Runner, tmp_path: Path, tether: Tether
) -> None:
    code = """
        trap '' TERM
        exec 9>"$1"
        sh -c 'sleep 1000 & echo $! >&9; sleep 1000' &
        echo $$ >&9
        sleep 1000; sleep 1000
    """
    running = run(hand_runner, shell(code, tether.path), tmp_path, timeout_s=5)
    await tether.up(2)
    hand.advance(5)
    hand.advance(process.TERM_GRACE_S - 0.1)
    assert not running.called
    hand.advance(0.1)
    outcome = await running
    assert (outcome.timed_out, outcome.signal) == (True, signal.SIGKILL)
    await tether.gone


@pytest.mark.parametrize(
    "child", ["sleep 1000 &", "trap '' TERM HUP; sleep 1000 & trap - TERM;", "yes >/dev/null &"]
)
@pytest_twisted.ensureDeferred
async def test_children_left_behind_are_killed_when_it_has_ended(
    hand_runner: Runner, tmp_path: Path, tether: Tether, child: str
) -> None:
    code = f'exec 9>"$1"; {child} echo $! >&9; echo done; exit 1'
    outcome = await run(hand_runner, shell(code, tether.path), tmp_path)
    assert (outcome.exit_code, outcome.output) == (1, b"done\n")
    await tether.gone


ESCAPE = """
    exec 9>"$1" 8<&0
    "$2" -c 'import os, time; os.setsid(); os.write(9, b"%d\\n" % os.getpid())
time.sleep(1000)' <&8 &
    read -r _ <"$3"
    echo done
"""
"""A command whose child has left its group, and holds all of its pipes. `$3`: a FIFO to wait on."""


@pytest.mark.parametrize("stdin", [b"", b"x" * 1_000_000], ids=len)
@pytest_twisted.ensureDeferred
async def test_a_child_that_left_the_group_holds_nothing_up(
    hand: HandReactor, hand_runner: Runner, tmp_path: Path, tether: Tether, stdin: bytes
) -> None:
    go_on = tmp_path / "go_on"
    os.mkfifo(go_on)
    argv = shell(ESCAPE, tether.path, sys.executable, str(go_on))
    lingering = hand.scheduled(process.LINGER_S)
    descriptors = len(os.listdir("/dev/fd"))
    # The limit falls into the linger: the command itself was in time.
    limit_s = process.LINGER_S / 2
    running = run(hand_runner, argv, tmp_path, timeout_s=limit_s, stdin=stdin)
    await tether.up(1)
    go_on.write_text("now\n")
    await lingering
    hand.advance(limit_s)
    assert not running.called
    hand.advance(limit_s)
    outcome = await running
    assert (outcome.exit_code, outcome.output, outcome.timed_out) == (0, b"done\n", False)
    assert hand.getDelayedCalls() == []
    os.kill(tether.pids[0], 0)
    await deferLater(real_reactor, 0)
    # What is still to be written keeps its pipe for as long as somebody could read it.
    assert len(os.listdir("/dev/fd")) == descriptors + (1 if stdin else 0)


@pytest.mark.parametrize("flood", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_process_out_of_reach_is_given_up(
    hand: HandReactor,
    hand_runner: Runner,
    tmp_path: Path,
    tether: Tether,
    monkeypatch: pytest.MonkeyPatch,
    flood: bool,
) -> None:
    def killpg(group: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr("overc.process.os.killpg", killpg)
    monkeypatch.setattr(process, "KILL_BYTES", 100_000)
    monkeypatch.setattr(process, "KILL_GRACE_S", 3.0)
    code = 'exec 9>"$1"; echo $$ >&9; exec ' + ("yes" if flood else "sleep 1000")
    killed = hand.scheduled(process.KILL_GRACE_S)
    running = run(hand_runner, shell(code, tether.path), tmp_path, timeout_s=5)
    await tether.up(1)
    if not flood:
        hand.advance(5)
        hand.advance(process.TERM_GRACE_S)
    await killed
    stopped = hand_runner.stopService()
    hand.advance(process.KILL_GRACE_S)
    outcome = await running
    await stopped
    assert outcome.error == "still runs: no signal of ours reaches it"
    assert (outcome.exit_code, outcome.signal) == (None, None)
    assert (outcome.timed_out, outcome.flooded) == (not flood, flood)
    assert hand.getDelayedCalls() == []


@pytest.mark.parametrize(
    "argv, reason",
    [
        (["no-such-program", "a"], "no-such-program: command not found in PATH"),
        (["./no.sh"], "./no.sh: no such file in FOLDER"),
        (["../no.sh"], "../no.sh: no such file in FOLDER"),
        (["/no/such/a.sh"], "/no/such/a.sh: no such file in FOLDER"),
        (["./plain.txt"], "./plain.txt: not an executable file: chmod +x it"),
        (["./"], "./: not an executable file: chmod +x it"),
        (["true", "a\0b"], "a command can't hold a NUL character"),
        (["a\0b"], "a command can't hold a NUL character"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_started(
    runner: Runner, tmp_path: Path, argv: list[str], reason: str
) -> None:
    (tmp_path / "plain.txt").write_text("no program\n")
    outcome = await run(runner, argv, tmp_path)
    assert outcome == Outcome(error=reason.replace("FOLDER", str(tmp_path)))


@pytest_twisted.ensureDeferred
async def test_a_missing_folder(runner: Runner, tmp_path: Path) -> None:
    outcome = await run(runner, ["true"], tmp_path / "gone")
    assert outcome == Outcome(error=f"{tmp_path}/gone: no such folder")


@pytest_twisted.ensureDeferred
async def test_what_the_system_refuses_to_start(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = await run(runner, ["true", "x" * 10_000_000], tmp_path)
    assert outcome == Outcome(error="true: can't be started: Argument list too long")
    outcome = await run(runner, ["true"], tmp_path, env={**ENV, "A": "b\0c"})
    assert outcome.error is not None


@pytest.mark.parametrize("shebang", ["#!/no/such/interpreter\n", "#!/bin/sh\r\n"])
@pytest_twisted.ensureDeferred
async def test_a_script_without_an_interpreter_is_neither_ok_nor_warn_nor_fail(
    runner: Runner, tmp_path: Path, script: Callable[..., str], session_by: str, shebang: str
) -> None:
    outcome = await run(runner, [script("exit 0\n", shebang=shebang)], tmp_path)
    assert outcome.exit_code in (126, 127)
    assert b"failed to execute" in outcome.output


@pytest.mark.parametrize("in_place", [False, True], ids=["elsewhere", "in the current folder"])
@pytest_twisted.ensureDeferred
async def test_it_runs_in_its_folder_with_just_its_environment(
    runner: Runner,
    tmp_path: Path,
    script: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    session_by: str,
    in_place: bool,
) -> None:
    monkeypatch.setenv("OVERC_SECRET", "not for plugins")
    if in_place:
        monkeypatch.chdir(tmp_path)
    program = script('pwd -P; env | grep -c SECRET; printf "<%s>" "$@" "$A"\n', "plugin.d/a.sh")
    argv = [program, "a b", "", "*", "$A", "ü☃", "-x", "caf\udce9"]
    outcome = await run(runner, argv, tmp_path, env={**ENV, "A": "1\udce92"})
    pwd, secrets, words = outcome.output.split(b"\n")
    assert (pwd.decode(), secrets) == (str(tmp_path), b"0")
    assert words == "<a b><><*><$A><ü☃><-x>".encode() + b"<caf\xe9><1\xe92>"


@pytest_twisted.ensureDeferred
async def test_it_leads_a_session_of_its_own(
    runner: Runner, tmp_path: Path, session_by: str
) -> None:
    code = "import os; print(os.getpid() == os.getpgrp() == os.getsid(0))"
    outcome = await run(runner, [sys.executable, "-c", code], tmp_path)
    assert outcome.output == b"True\n"


@pytest.mark.parametrize(
    "program, search, found",
    [
        ("./bin/a.sh", "/usr/bin", "bin/a.sh"),
        ("bin/a.sh", "/usr/bin", "bin/a.sh"),
        ("bin/../bin/a.sh", "/usr/bin", "bin/a.sh"),
        ("a.sh", "/no:bin", "bin/a.sh"),
        ("b.sh", "/no:", "b.sh"),
        ("b.sh", "bin:.", "b.sh"),
    ],
)
def test_where_a_program_is_looked_for(
    tmp_path: Path, script: Callable[..., str], program: str, search: str, found: str
) -> None:
    script("", "bin/a.sh")
    script("", "b.sh")
    assert locate(program, str(tmp_path), {"PATH": search}) == str(tmp_path / found)


def test_without_a_path_the_systems_default_is_searched(tmp_path: Path) -> None:
    assert os.access(locate("sh", str(tmp_path), {}), os.X_OK)


@pytest_twisted.ensureDeferred
async def test_stopping_ends_what_runs_and_waits_for_it(
    hand: HandReactor, hand_runner: Runner, tmp_path: Path, tether: Tether
) -> None:
    polite = shell('exec 9>"$1"; echo $$ >&9; sleep 1000', tether.path)
    stubborn = shell("""trap "" TERM; exec 9>"$1"; echo $$ >&9; sleep 1000""", tether.path)
    ends = [run(hand_runner, argv, tmp_path) for argv in (polite, stubborn)]
    await tether.up(2)
    stopped = hand_runner.stopService()
    first = await ends[0]
    assert (first.signal, first.timed_out) == (signal.SIGTERM, False)
    assert not stopped.called
    refused = await run(hand_runner, ["true"], tmp_path)
    assert refused == Outcome(error="not started: shutting down")
    hand.advance(process.TERM_GRACE_S)
    await stopped
    assert ends[1].called
    assert (await ends[1]).signal == signal.SIGKILL
    await tether.gone


@pytest.mark.parametrize("in_place", [False, True], ids=["by fork", "by posix_spawn"])
@pytest_twisted.ensureDeferred
async def test_what_has_hardly_begun_ends_at_once(
    hand_runner: Runner,
    tmp_path: Path,
    session_by: str,
    monkeypatch: pytest.MonkeyPatch,
    in_place: bool,
) -> None:
    if in_place:
        monkeypatch.chdir(tmp_path)
    for _ in range(5):
        running = run(hand_runner, ["sleep", "1000"], tmp_path)
        await hand_runner.stopService().addTimeout(PATIENCE_S, real_reactor)
        assert (await running).signal in (signal.SIGTERM, signal.SIGKILL)
        hand_runner.startService()


@pytest_twisted.ensureDeferred
async def test_it_can_be_started_again(
    hand_runner: Runner, tmp_path: Path, logged_errors: list[LogEvent]
) -> None:
    for _ in range(2):
        running = run(hand_runner, ["sleep", "1000"], tmp_path)
        await hand_runner.stopService()
        assert running.called
        hand_runner.startService()
        assert (await run(hand_runner, ["true"], tmp_path)).exit_code == 0
        await deferLater(real_reactor, 0)
    assert logged_errors == []


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_the_command(
    hand: HandReactor, hand_runner: Runner, tmp_path: Path, tether: Tether
) -> None:
    code = """trap "" TERM; exec 9>"$1"; echo $$ >&9; sleep 1000"""
    running = run(hand_runner, shell(code, tether.path), tmp_path)
    await tether.up(1)
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    hand.advance(process.TERM_GRACE_S)
    stopped = hand_runner.stopService()
    assert not stopped.called
    await tether.gone
    await stopped


@pytest_twisted.ensureDeferred
async def test_no_descriptor_and_no_timer_is_left_over(runner: Runner, tmp_path: Path) -> None:
    await run(runner, ["true"], tmp_path)
    timers = len(real_reactor.getDelayedCalls())
    descriptors = os.listdir("/dev/fd")
    for _ in range(5):
        ends = [run(runner, shell("cat; exit 1"), tmp_path, stdin=b"a") for _ in range(9)]
        ends.append(run(runner, ["no-such-program"], tmp_path))
        outcomes: list[Outcome] = await gatherResults(ends)
        assert [outcome.exit_code for outcome in outcomes] == [1] * 9 + [None]
    assert len(os.listdir("/dev/fd")) == len(descriptors)
    assert len(real_reactor.getDelayedCalls()) == timers
