"""`overcli monitor`: what it hands to the agent, and what it says when that can't run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from overc.cli import main
from overc.config import ConfigError, Mistake


class FakeAgent:
    """The two modules that `monitor` imports, recording how they are called."""

    def __init__(self) -> None:
        self.loaded: tuple[str, bool, dict[str, str | None]] | None = None
        self.ran: tuple[str, bool] | None = None
        self.status = 0
        self.mistakes: list[Mistake] = []
        self.interrupt = False

    def load(
        self, path: str, environ: Mapping[str, str], overrides: Mapping[str, str | None]
    ) -> str:
        self.loaded = (path, environ is os.environ, dict(overrides))
        if self.mistakes:
            raise ConfigError(self.mistakes)
        return "the settings"

    def run_in_foreground(self, settings: str, *, verbose: bool) -> int:
        self.ran = (settings, verbose)
        if self.interrupt:
            raise KeyboardInterrupt
        return self.status


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    agent = FakeAgent()
    settings: Any = ModuleType("overc.agent.settings")
    settings.load = agent.load
    tap: Any = ModuleType("overc.agent_tap")
    tap.run_in_foreground = agent.run_in_foreground
    monkeypatch.setitem(sys.modules, "overc.agent.settings", settings)
    monkeypatch.setitem(sys.modules, "overc.agent_tap", tap)
    return agent


NOTHING = {"server": None, "my-name": None, "my-key": None}


@pytest.mark.parametrize(
    "args, overrides, verbose",
    [
        ([], NOTHING, False),
        (["-v"], NOTHING, True),
        (["-s", "http://a/"], {**NOTHING, "server": "http://a/"}, False),
        (["-i", "localhost:12:34"], {**NOTHING, "my-name": "localhost", "my-key": "12:34"}, False),
    ],
)
def test_monitor_hands_over_what_was_given(
    agent: FakeAgent, args: list[str], overrides: dict[str, str | None], verbose: bool
) -> None:
    assert main([*args, "monitor", "a.ini"]) == 0
    assert agent.loaded == ("a.ini", True, overrides)
    assert agent.ran == ("the settings", verbose)


def test_monitor_returns_the_agents_status(agent: FakeAgent) -> None:
    agent.status = 1
    assert main(["monitor", "a.ini"]) == 1


def test_monitor_prints_every_mistake_of_the_configuration(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.mistakes = [Mistake("a.ini:1", "bad", "overc", "server"), Mistake("a.ini:2", "worse")]
    assert main(["monitor", "a.ini"]) == 1
    assert agent.ran is None
    assert capsys.readouterr().err == (
        "overcli: a.ini:1: [overc] server: bad\novercli: a.ini:2: worse\n"
    )


def test_monitor_ends_on_ctrl_c(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.interrupt = True
    assert main(["monitor", "a.ini"]) == 130
    assert capsys.readouterr().err == ""


class Lacking:
    """An import system in which the agent can't import some module."""

    def __init__(self, missing: str) -> None:
        self._missing = missing

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        if name.startswith("overc.agent"):
            raise ModuleNotFoundError(f"No module named {self._missing!r}", name=self._missing)
        return None


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def lacking(missing: str) -> None:
        for name in [name for name in sys.modules if name.startswith("overc.agent")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Lacking(missing), *sys.meta_path])

    return lacking


@pytest.mark.parametrize(
    "missing, package",
    [("twisted", "twisted"), ("twisted.logger", "twisted"), ("treq", "treq")],
)
def test_monitor_without_its_modules_says_what_to_install(
    lacking: Callable[[str], None], capsys: pytest.CaptureFixture[str], missing: str, package: str
) -> None:
    lacking(missing)
    assert main(["monitor", "a.ini"]) == 1
    assert capsys.readouterr().err == (
        f"overcli: monitor needs the module {package}: pip install 'overc[agent]'\n"
    )


def test_a_broken_installation_is_not_mistaken_for_a_missing_extra(
    lacking: Callable[[str], None],
) -> None:
    lacking("overc.agent.push")
    with pytest.raises(ModuleNotFoundError):
        main(["monitor", "a.ini"])
