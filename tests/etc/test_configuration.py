"""The configuration files that are shipped work as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overc.agent import settings as agent_settings
from overc.daemon import settings as server_settings
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.page_settings import StatusPage

ETC = Path(__file__).resolve().parents[2] / "etc/overc"


def uncommented(path: Path) -> str:
    """Return the file with every commented-out option and section in force."""
    return re.sub(r"^#(?=\[\w+:\w+\]$|[a-z-]+=)", "", path.read_text(), flags=re.MULTILINE)


def test_server_ini_loads_as_it_is() -> None:
    loaded = server_settings.load(str(ETC / "server.ini"), {}, {}, str)
    assert [plugin.name for plugin in loaded.plugins] == ["log"]
    assert loaded.listen == (server_settings.DEFAULT_LISTEN,)


def test_agent_ini_loads_as_it_is() -> None:
    loaded = agent_settings.load(str(ETC / "agent.ini"), {}, {})
    assert [service.name for service in loaded.services] == ["load", "memory", "disk"]


def test_what_server_ini_shows_commented_out_is_right(tmp_path: Path) -> None:
    path = tmp_path / "server.ini"
    path.write_text(uncommented(ETC / "server.ini"))
    loaded = server_settings.load(str(path), {}, {}, str)
    assert loaded.ui_auth is not None
    assert loaded.api_auth is not None
    assert [plugin.name for plugin in loaded.plugins] == ["log", "mail", "chat", "phone"]
    assert loaded.warnings == ()
    assert loaded.expectations.of("host", "ping1").after == 3
    assert loaded.expectations.of("host", "backup").calendar is not None
    assert [maintenance.name for maintenance in loaded.maintenances] == ["sunday"]
    assert [reader.user for reader in loaded.access.readers] == ["anna", "ben"]
    assert loaded.access.remote_user_header == "x-remote-user"
    assert loaded.public.badges is not None
    [page] = loaded.public.pages
    assert page == StatusPage("shop", "The shop", page.servers, page.services)


def test_the_defaults_that_server_ini_names_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "server.ini"
    path.write_text(uncommented(ETC / "server.ini"))
    shown = server_settings.load(str(path), {}, {}, str)
    default = server_settings.load(None, {}, {}, str)
    names = ("listen", "loglevel", "max_body_bytes", "request_timeout_s", "heartbeat_period_s")
    for name in names:
        assert getattr(shown, name) == getattr(default, name), name
    log = shown.plugins[0]
    assert log == AlertPlugin(log.name, log.command, log.folder)


def test_what_agent_ini_shows_commented_out_is_right(tmp_path: Path) -> None:
    path = tmp_path / "agent.ini"
    path.write_text(uncommented(ETC / "agent.ini"))
    loaded = agent_settings.load(str(path), {}, {})
    assert [service.name for service in loaded.services] == [
        "load", "memory", "disk", "swap", "units", "sshd", "ssh", "www", "certificate", "backup",
        "processes",
    ]  # fmt: skip
    assert loaded.goodbye_s == 3600
    assert loaded.warnings == ()


def test_the_defaults_that_agent_ini_names_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "agent.ini"
    path.write_text(uncommented(ETC / "agent.ini"))
    shown = agent_settings.load(str(path), {}, {})
    default = agent_settings.load(str(ETC / "agent.ini"), {}, {})
    names = ("loglevel", "concurrency", "own_period_s", "spool", "tls", "other_servers")
    for name in names:
        assert getattr(shown, name) == getattr(default, name), name


@pytest.mark.parametrize("name", ["server.ini", "agent.ini"])
def test_every_command_that_is_shown_exists(name: str) -> None:
    commands = re.findall(r"^#?command=(\./\S+)", (ETC / name).read_text(), flags=re.MULTILINE)
    assert commands
    assert [path for path in commands if not (ETC / path).is_file()] == []
