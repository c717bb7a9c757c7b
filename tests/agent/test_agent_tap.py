from __future__ import annotations

import pathlib

import pytest

from overc.agent_tap import DEFAULT_CONFIG, Options

INI = "[overc]\nserver=http://h/\nmy-name={}\nmy-key=k\n[service:a]\nperiod=5\ncommand=true\n"


def test_which_file_is_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("line", "environ"):
        (tmp_path / name).write_text(INI.format(name))
    monkeypatch.setenv("OVERC_CONFIG", str(tmp_path / "environ"))
    options = Options()
    options.parseOptions([])
    assert options.settings.identity.name == "environ"
    options = Options()
    options.parseOptions(["--config", str(tmp_path / "line")])
    assert options.settings.identity.name == "line"


def test_several_files_and_folders(tmp_path: pathlib.Path) -> None:
    (tmp_path / "agent.ini").write_text(INI.format("host"))
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d/b.ini").write_text("[service:b]\nperiod=5\ncommand=true\n")
    options = Options()
    options.parseOptions(["-c", str(tmp_path / "agent.ini"), "--config", str(tmp_path / "more.d")])
    assert [service.name for service in options.settings.services] == ["a", "b"]
    (tmp_path / "more.d/c.ini").write_text("[service:c]\nperiod=5\ncommand=true\n")
    assert [service.name for service in options.read().services] == ["a", "b", "c"]


def test_all_mistakes_are_told_at_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OVERC_CONFIG", raising=False)
    path = tmp_path / "agent.ini"
    path.write_text("[overc]\nserver=http://h/\nmy-name=a\n[service:a]\ncommand=true\n")
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--config", str(path)])
    assert str(caught.value).splitlines() == [
        f"{path}:1: [overc] my-key: is missing",
        f"{path}:4: [service:a] period: is missing",
    ]


def test_the_default_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.delenv("OVERC_CONFIG", raising=False)
    monkeypatch.setattr(
        "overc.agent_tap.load", lambda paths, environ, overrides: asked.append(paths)
    )
    Options().parseOptions([])
    assert asked == [[DEFAULT_CONFIG]] == [["/etc/overc/agent.ini"]]
