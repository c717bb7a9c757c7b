"""A real `twistd overc-agent` child against a recording server."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from agent.doubles import RecordingServer
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

STATES = "/api/set/service/status"


class Child(ProcessProtocol):
    """A process whose output is kept; `ended` fires with its exit status, or -signal."""

    def __init__(self, *arguments: str, folder: pathlib.Path, **environ: str) -> None:
        self.output = ""
        self._awaited: list[tuple[str, Deferred[None]]] = []
        self.ended: Deferred[int] = Deferred()
        env = {k: v for k, v in os.environ.items() if not k.startswith("OVERC_")} | environ
        process: Any = reactor
        process.spawnProcess(
            self, sys.executable, [sys.executable, *arguments], env=env, path=str(folder)
        )

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data.decode()
        for words, said in list(self._awaited):
            if words in self.output:
                self._awaited.remove((words, said))
                said.callback(None)

    def said(self, words: str) -> Deferred[None]:
        """Fire once the process has printed some words."""
        said: Deferred[None] = Deferred()
        self._awaited.append((words, said))
        self.childDataReceived(1, b"")
        return said

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        for _, said in self._awaited:
            said.errback(AssertionError(self.output))
        self.ended.callback(-value.signal if value.signal else value.exitCode)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        transport: Any = self.transport
        transport.signalProcess(number)
        return await self.ended

    def kill(self) -> None:
        if not self.ended.called:
            transport: Any = self.transport
            transport.signalProcess("KILL")
            pytest_twisted.blockon(self.ended)


class Scene:
    """A folder with a configuration, a server, and the children that a test starts."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.server = RecordingServer()
        self.children: list[Child] = []

    def configure(self, port: int, *services: str) -> None:
        head = f"[overc]\nserver=http://me:pass@127.0.0.1:{port}/\nmy-name=host\nmy-key=k\n"
        (self.folder / "agent.ini").write_text(head + "\n".join(services))

    def start(self, *arguments: str, **environ: str) -> Child:
        child = Child(*arguments, folder=self.folder, **environ)
        self.children.append(child)
        child.ended.addCallback(self._gone, child)
        return child

    def _gone(self, status: int, child: Child) -> int:
        self.server.give_up(child.output)
        return status

    def twistd(self, *arguments: str, **environ: str) -> Child:
        twistd = "from twisted.scripts.twistd import run; run()"
        return self.start("-c", twistd, "-n", "--pidfile=", "overc-agent", *arguments, **environ)


@pytest.fixture
def scene(tmp_path: pathlib.Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for child in scene.children:
        child.kill()
    pytest_twisted.blockon(Deferred.fromCoroutine(scene.server.close()))


def a_section(name: str, period: int | str, command: str) -> str:
    return f"[service:{name}]\nperiod={period}\ncommand={command}\n"


SLOW = "sh -c 'echo $$ >slow.new; mv slow.new slow.pid; exec sleep 600'"
AFTER_SLOW = "sh -c 'until [ -e slow.pid ]; do sleep 0.05; done; echo done'"


@pytest_twisted.ensureDeferred
async def test_all_at_once_at_start_then_a_clean_end(scene: Scene) -> None:
    server = scene.server
    scene.configure(
        server.listen(reactor),
        a_section("hour", "1h", "echo hourly 10%"),
        a_section("minute", 60, "sh -c 'echo bad; exit 2'"),
        a_section("after", 60, AFTER_SLOW),
        a_section("slow", "2m", SLOW),
    )
    child = scene.twistd("--config", "agent.ini")
    await server.until(lambda: len(server.states()) >= 3)
    pid = int((scene.folder / "slow.pid").read_text())
    assert await child.stop() == 0, child.output
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    found = {s["name"]: s for s in server.states()}
    assert found == {
        "hour": {"name": "hour", "state": "OK", "info": "hourly 10%", "period": 3600},
        "minute": {"name": "minute", "state": "FAIL", "info": "bad", "period": 60},
        "after": {"name": "after", "state": "OK", "info": "done", "period": 60},
    }
    path, body = server.requests[0]
    assert path == STATES
    assert body["server"] == {"name": "host", "key": "k"}
    assert body["period"] == min(s["period"] for s in body["services"])
    assert "Traceback" not in child.output
    assert "me:pass" not in child.output


@pytest_twisted.ensureDeferred
async def test_the_server_away_at_start_then_back(scene: Scene) -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        scene.configure(port, a_section("a", "1h", "echo a"), a_section("b", 1, "date +%s%N"))
        child = scene.twistd(OVERC_CONFIG="agent.ini")
        # Bound but not listening: refused. The agent says so before the server comes.
        await child.said("can't be reached")
    server = scene.server
    server.listen(reactor, port)
    await server.until(lambda: len(server.states()) >= 2)
    _, body = server.requests[0]
    assert sorted(s["name"] for s in body["services"]) == ["a", "b"]
    await server.until(lambda: [s["name"] for s in server.states()].count("b") >= 3)
    assert [s["name"] for s in server.states()].count("a") == 1
    assert await child.stop(signal.SIGINT) == 0
    assert "takes reports again" in child.output


@pytest_twisted.ensureDeferred
async def test_a_broken_file_stops_the_start_with_every_mistake(scene: Scene) -> None:
    scene.configure(1, a_section("a", 0, "echo"), "[service:b]\nperiod=1\n", "[wat]\n")
    child = scene.twistd("--config", "agent.ini")
    assert await child.ended == 1
    assert "agent.ini:6: [service:a] period: expected a whole number" in child.output
    assert "agent.ini:9: [service:b] command: is missing" in child.output
    assert "agent.ini:12: [wat] unknown section" in child.output
    assert "Traceback" not in child.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest_twisted.ensureDeferred
async def test_the_agent_in_the_foreground(scene: Scene, number: int) -> None:
    server = scene.server
    scene.configure(server.listen(reactor), a_section("a", "1h", "echo a"))
    (scene.folder / "foreground.py").write_text(
        "import sys\n"
        "from overc import agent_tap\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "settings = agent_tap.load('agent.ini', {}, {})\n"
        "sys.exit(agent_tap.run_in_foreground(settings, verbose=True))\n"
    )
    child = scene.start("-m", "foreground", PYTHONPATH=str(scene.folder))
    await server.until(lambda: len(server.states()) >= 1)
    assert await child.stop(number) == 0, child.output
    assert "as host, watching 1 service\n" in child.output
    assert "a: OK: a" in child.output
    assert "Traceback" not in child.output
