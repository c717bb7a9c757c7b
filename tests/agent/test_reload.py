from __future__ import annotations

from dataclasses import dataclass, field

from agent.conftest import Logged
from agent.doubles import a_service, settings_for
from twisted.internet.defer import Deferred

from overc.agent.reload import Reload
from overc.agent.runner import Changes
from overc.agent.settings import AgentSettings
from overc.config import ConfigError, Mistake

CHANGES = Changes(1, 2, 0, 3)


@dataclass
class FakeAgent:
    said: list[str] = field(default_factory=list)
    waiting: list[Deferred[Changes | None]] = field(default_factory=list)

    def status(self) -> str:
        return "watching"

    def reload(self, settings: AgentSettings) -> Deferred[Changes | None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def refuse(self, reason: str) -> None:
        self.said.append(f"refused {reason}")

    def failed(self, error: Exception) -> None:
        self.said.append(f"failed {error}")

    def reloading(self) -> None:
        self.said.append("reloading")

    def ready(self, status: str) -> None:
        self.said.append(f"ready {status}")


def read() -> AgentSettings:
    return settings_for(a_service("a"))


def test_one_after_the_other_and_none_in_vain(logged: Logged) -> None:
    agent = FakeAgent()
    reload = Reload(read, agent, agent)
    reload.ask()
    for _ in range(3):
        reload.ask()
    assert agent.said == ["reloading"]
    agent.waiting[0].callback(CHANGES)
    assert agent.said == ["reloading", "ready watching", "reloading"]
    agent.waiting[1].callback(None)
    assert agent.said[3:] == ["ready watching"]
    assert logged == ["watching: 1 new, 2 changed, 0 gone, 3 as before"]
    reload.ask()
    assert len(agent.waiting) == 3


def test_a_broken_file_changes_nothing_and_is_told(logged: Logged) -> None:
    agent = FakeAgent()

    def read_broken() -> AgentSettings:
        raise ConfigError([Mistake("a.ini:3", "is wrong"), Mistake("a.ini:5", "too")])

    Reload(read_broken, agent, agent).ask()
    assert agent.waiting == []
    assert agent.said == [
        "reloading",
        "refused a.ini:3: is wrong (and 1 more)",
        "ready not reloaded: a.ini:3: is wrong (and 1 more); still watching",
    ]
    assert logged == [
        "a.ini:3: is wrong",
        "a.ini:5: too",
        "the configuration is not taken over; the one before stays in force",
    ]


def test_what_nobody_expected_is_told_and_the_next_one_works() -> None:
    agent = FakeAgent()
    reload = Reload(read, agent, agent)
    reload.ask()
    agent.waiting[0].errback(ZeroDivisionError("x"))
    assert agent.said == ["reloading", "failed x", "ready watching"]
    reload.ask()
    assert len(agent.waiting) == 2
