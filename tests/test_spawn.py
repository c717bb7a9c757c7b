"""Starting commands without a fork."""

# mypy: disable-error-code="import-untyped, untyped-decorator"
# (pytest-twisted has no annotations)

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from process_doubles import ENV, HandReactor, Tether, real_reactor, run, shell
from support.daemon import eventually
from twisted.internet.defer import Deferred

from overc import spawn
from overc.process import Runner, members_of

pytestmark = pytest.mark.skipif(not spawn.AVAILABLE, reason="this is not Linux")


@pytest_twisted.async_yield_fixture()
async def runner() -> AsyncIterator[Runner]:
    runner = Runner(real_reactor)
    runner.startService()
    yield runner
    await runner.stopService()


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What goes the other way."""
    forks: list[Any] = []
    real = real_reactor.spawnProcess

    def count(*args: Any, **kwargs: Any) -> Any:
        forks.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(real_reactor, "spawnProcess", count)
    return forks


@pytest.mark.parametrize("in_place", [False, True])
@pytest_twisted.ensureDeferred
async def test_nothing_is_forked_and_we_stay_where_we_are(
    runner: Runner,
    tmp_path: Path,
    forks: list[Any],
    in_place: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    monkeypatch.chdir(folder if in_place else tmp_path)
    outcome = await run(runner, ["pwd", "-P"], folder)
    assert outcome.output.decode() == f"{folder}\n"
    assert os.getcwd() == str(folder if in_place else tmp_path)
    assert forks == []


@pytest_twisted.ensureDeferred
async def test_we_may_be_in_a_folder_that_is_gone(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    outcome = await run(runner, ["pwd", "-P"], tmp_path)
    assert outcome.output.decode() == f"{tmp_path}\n"
    os.chdir(tmp_path)


@pytest_twisted.ensureDeferred
async def test_what_it_cannot_do_goes_the_other_way(
    runner: Runner, tmp_path: Path, forks: list[Any]
) -> None:
    assert (await run(runner, ["cat"], tmp_path, stdin=b"x")).output == b"x"
    plain = tmp_path / "plain.sh"
    plain.write_text("echo a script without a first line for it\n")
    plain.chmod(0o755)
    outcome = await run(runner, ["./plain.sh"], tmp_path)
    assert (outcome.exit_code, len(outcome.output.split())) == (0, 8)
    assert len(forks) == 2


@pytest.mark.parametrize("call", ["pidfd_open", "posix_spawn", "pipe", "open"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_an_attempt_that_failed(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError(24, "Too many open files")

    started: list[int] = []
    posix_spawn = os.posix_spawn

    def note(*args: Any, **kwargs: Any) -> int:
        started.append(posix_spawn(*args, **kwargs))
        # Long enough for a child of its own.
        eventually(lambda: len(members_of(started[0])) == 2)
        return started[0]

    before = os.listdir("/dev/fd")
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_spawn", note)
        patch.setattr(os, call, refuse)
        command = ["/bin/sh", "-c", "sleep 1000; :"]
        watcher: Any = None
        assert not spawn.spawn(real_reactor, watcher, command, ENV, str(tmp_path))
    assert len(os.listdir("/dev/fd")) == len(before)
    assert len(started) == (call == "pidfd_open")
    for pid in started:
        eventually(lambda: not members_of(pid))  # noqa: B023 - it is asked at once
        # Other tests may have left a child of ours: a database, a browser.
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
    assert (await run(runner, ["true"], tmp_path)).exit_code == 0


@pytest_twisted.ensureDeferred
async def test_what_we_were_started_with_is_not_passed_on(tmp_path: Path) -> None:
    ours = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(ours, True)
    runner = Runner(real_reactor)
    runner.startService()
    try:
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
        outcome = await run(runner, [sys.executable, "-c", code], tmp_path)
        assert outcome.output == b"[0, 1, 2]\n"
    finally:
        os.close(ours)
        await runner.stopService()


@pytest_twisted.ensureDeferred
async def test_input_is_empty(runner: Runner, tmp_path: Path) -> None:
    outcome = await run(runner, ["cat"], tmp_path)
    assert (outcome.exit_code, outcome.output) == (0, b"")


@pytest_twisted.ensureDeferred
async def test_a_command_can_be_ended_and_still_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = HandReactor()
    runner = Runner(hand)
    runner.startService()
    tether = Tether(tmp_path / "tether")
    try:
        ending: Deferred[None] = Deferred()
        code = """trap 'echo bye; exit 3' TERM; exec 9>"$1"; echo $$ >&9; sleep 1000 & wait"""
        running = run(runner, shell(code, tether.path), tmp_path, until=ending)
        await tether.up(1)
        ending.callback(None)
        outcome = await running
        assert (outcome.exit_code, outcome.output, outcome.timed_out) == (3, b"bye\n", False)
        late: Deferred[None] = Deferred()
        assert (await run(runner, ["true"], tmp_path, until=late)).exit_code == 0
        late.callback(None)
        assert hand.getDelayedCalls() == []
    finally:
        tether.close()
        await runner.stopService()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run commands as another user")
@pytest_twisted.ensureDeferred
async def test_another_user(runner: Runner, tmp_path: Path) -> None:
    outcome = await run(runner, ["id"], Path("/"), user=(65534, 65534))
    assert b"uid=65534" in outcome.output
    assert b"(root)" not in outcome.output, "no group of ours is left"
