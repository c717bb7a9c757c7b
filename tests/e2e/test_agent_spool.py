"""Real agents and the files in which their reports wait."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator

import pytest
from support.daemon import TWISTD, Child, clean_environment, eventually


class Agents:
    """Agents of one configuration, without a server."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.spool = folder / "state" / "spool-host.db"
        self.children: list[Child] = []

    def start(self, *lines: str) -> Child:
        number = len(self.children)
        config = self.folder / f"agent{number}.ini"
        config.write_text(
            "[overc]\nserver=http://127.0.0.1:1/\nmy-name=host\nmy-key=k\n"
            + "".join(f"{line}\n" for line in lines)
            + "[service:a]\nperiod=60\ncommand=echo fine\n"
        )
        command = [*TWISTD, "-n", "--pidfile=", "overc-agent", "--config", str(config)]
        environ = clean_environment(STATE_DIRECTORY=str(self.folder / "state"))
        child = Child(command, self.folder, environ, self.folder / f"agent{number}.log")
        self.children.append(child)
        return child


@pytest.fixture
def agents(tmp_path: pathlib.Path) -> Iterator[Agents]:
    agents = Agents(tmp_path)
    yield agents
    for child in agents.children:
        child.kill()


def said(child: Child, words: str) -> None:
    eventually(lambda: words in child.output(), words, 60)


def test_two_agents_on_one_file(agents: Agents) -> None:
    first = agents.start("own-state=no")
    said(first, "can't be reached")
    second = agents.start()
    assert second.wait(60) == 1
    sentence = f"overc: the spool {agents.spool} is in use by another agent"
    assert f"{sentence}: give each a `spool` of its own" in second.output()
    assert "Traceback" not in second.output()
    third = agents.start("spool=other.db")
    said(third, "can't be reached")
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert f"states that were not sent: 1 (they stay in {agents.spool})" in first.output()


@pytest.mark.parametrize("spoiled", ["corrupt", "folder"])
def test_the_agent_goes_on_without_its_file(agents: Agents, spoiled: str) -> None:
    agents.spool.parent.mkdir()
    if spoiled == "corrupt":
        agents.spool.write_bytes(b"not what was written " * 1000)
        sentence = f"the spool {agents.spool} was corrupt and has been set aside"
    else:
        agents.spool.mkdir()
        sentence = f"the spool {agents.spool} can't be used"
    child = agents.start("own-state=no")
    said(child, sentence)
    said(child, "can't be reached")
    child.signal(signal.SIGTERM)
    assert child.wait() == 0
    assert "states that were not sent: 1" in child.output()
    assert "Traceback" not in child.output()
