"""A real `twistd overc-agent` child against a recording server."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from agent.doubles import RecordingServer
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
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
        environ = {"STATE_DIRECTORY": str(self.folder / "state"), **environ}
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
    now = time.time()
    assert all(now - 300 < s.pop("time") <= now for s in found.values())
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
    await server.until(lambda: {s["name"] for s in server.states()} == {"a", "b"})
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
        "import os, sys\n"
        "from overc import agent_tap\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "settings = agent_tap.load('agent.ini', os.environ, {})\n"
        "sys.exit(agent_tap.run_in_foreground(settings, verbose=True))\n"
    )
    child = scene.start(
        "-m", "foreground", PYTHONPATH=str(scene.folder), STATE_DIRECTORY=str(scene.folder)
    )
    await server.until(lambda: len(server.states()) >= 1)
    assert await child.stop(number) == 0, child.output
    assert "as host, watching 1 service\n" in child.output
    assert "a: OK: a" in child.output
    assert "Traceback" not in child.output


class Systemd:
    """The socket that systemd listens on; `heard` fires with what comes next."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = str(path)
        self._queue: DeferredQueue[str] = DeferredQueue()
        protocol = DatagramProtocol()
        protocol.datagramReceived = (  # type: ignore[method-assign]
            lambda datagram, addr: self._queue.put(datagram.decode())
        )
        network: Any = reactor
        self._port = network.listenUNIXDatagram(self.path, protocol)

    async def heard(self, word: str) -> list[str]:
        """Return the lines of the next message that has this one; WATCHDOG=1 alone is skipped."""
        while word not in (lines := (await self._queue.get()).split("\n")):
            assert lines == ["WATCHDOG=1"], lines
        return lines

    async def close(self) -> None:
        await self._port.stopListening()


@pytest_twisted.ensureDeferred
async def test_what_systemd_is_told_and_a_reload(scene: Scene) -> None:
    server = scene.server
    port = server.listen(reactor)
    systemd = Systemd(scene.folder / "notify")
    kept = a_section("kept", "1h", "sh -c 'echo x >>kept.runs; echo kept'")
    scene.configure(port, kept, a_section("old", "1h", "env"))
    child = scene.twistd(
        "--config", "agent.ini", NOTIFY_SOCKET=systemd.path, WATCHDOG_USEC="600000"
    )
    status = f"reporting to http://127.0.0.1:{port}/ as host, watching 2 services"
    assert await systemd.heard("READY=1") == ["READY=1", f"STATUS={status}"]
    await server.until(lambda: len(server.states()) >= 2)
    told = {s["name"]: s["info"] for s in server.states()}
    assert "NOTIFY_SOCKET" not in told["old"], "what systemd tells us is not for plugins"
    assert "WATCHDOG_USEC" not in told["old"]
    await systemd.heard("WATCHDOG=1")

    transport: Any = child.transport
    scene.configure(port, kept, a_section("new", "1h", "echo new"))
    transport.signalProcess("HUP")
    await systemd.heard("RELOADING=1")
    await systemd.heard("READY=1")
    await server.until(lambda: any(s["name"] == "new" for s in server.states()))
    await child.said("1 new, 0 changed, 1 gone, 1 as before")

    scene.configure(port, kept, a_section("new", "soon", "echo new"), "[wat]\n")
    transport.signalProcess("HUP")
    await systemd.heard("RELOADING=1")
    (_, refused) = await systemd.heard("READY=1")
    assert refused.startswith("STATUS=not reloaded: ")
    assert "agent.ini:10: [service:new] period: expected a duration" in refused
    assert refused.endswith(f"(and 1 more); still {status}")
    await child.said("the configuration is not taken over; the one before stays in force")
    await server.until(lambda: server.states()[-1]["name"] == "overc-agent")
    own = server.states()[-1]
    assert own["state"] == "WARN"
    assert own["info"].startswith("the new configuration is not in force: ")

    transport.signalProcess("TERM")
    await systemd.heard("STOPPING=1")
    assert await child.ended == 0, child.output
    assert (scene.folder / "kept.runs").read_text() == "x\n", "it was not run again"
    assert "Traceback" not in child.output
    await systemd.close()


@pytest_twisted.ensureDeferred
async def test_several_files_and_a_goodbye(scene: Scene) -> None:
    server = scene.server
    scene.configure(server.listen(reactor), a_section("a", 60, "echo a"))
    text = (scene.folder / "agent.ini").read_text().replace("my-key=k\n", "my-key=k\ngoodbye=2h\n")
    (scene.folder / "agent.ini").write_text(text)
    more = scene.folder / "more.d"
    more.mkdir()
    (more / "b.ini").write_text(a_section("b", 60, "pwd"))
    child = scene.twistd("--config", "agent.ini", "--config", "more.d")
    await server.until(lambda: len(server.states()) >= 2)
    assert {s["name"]: s["info"] for s in server.states()} == {"a": "a", "b": str(more)}
    assert await child.stop() == 0, child.output
    goodbye = {s["name"]: s for s in server.states()[2:]}
    words = "(the agent was stopped; nothing is expected of it for 2h)"
    assert {name: (s["state"], s["period"]) for name, s in goodbye.items()} == {
        "a": ("OK", 7200),
        "b": ("OK", 7200),
    }
    assert goodbye["a"]["info"] == f"a\n{words}"
