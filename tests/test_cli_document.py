"""docs/OVERCLI.md is about the commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overc.cli import main

DOCUMENT = (Path(__file__).parents[1] / "docs/OVERCLI.md").read_text()


def commands(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("  COMMAND\n")[2].partition("\n\n")[0]
    return re.findall(r"^    ([a-z-]+)", listed, flags=re.MULTILINE)


def test_every_command_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(capsys)
    assert {"ping", "run", "init", "check-config", "monitor", "status"} <= set(found)
    assert [name for name in found if not re.search(rf"`{name}\b|overcli {name}\b", DOCUMENT)] == []


@pytest.mark.parametrize("name", ["init", "run", "check-config", "monitor"])
def test_every_option_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    options = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out)) - {"--help"}
    assert options
    assert [option for option in options if option not in DOCUMENT] == []
