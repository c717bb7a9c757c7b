"""The agent's parts on the real reactor, with real scripts, against a real socket."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import pytest
import pytest_twisted
from agent.doubles import RecordingServer, a_service, settings_for
from twisted.internet import reactor

from overc import agent_tap
from overc.agent.delivery_settings import Server
from overc.agent.service_settings import User
from overc.agent.settings import AgentSettings


def script(folder: pathlib.Path, name: str, text: str) -> tuple[str, ...]:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return (f"./{name}", "an argument")


async def first_reports(settings: AgentSettings) -> dict[str, tuple[str, str]]:
    """Run an agent until each of its services has been reported once."""
    server = RecordingServer()
    port = server.listen(reactor)
    agent: Any = agent_tap.make_agent(
        reactor, dataclasses.replace(settings, server=Server(f"http://127.0.0.1:{port}/"))
    )
    agent.startService()
    await server.until(lambda: len(server.states()) >= len(settings.services))
    await agent.stopService()
    await server.close()
    return {s["name"]: (s["state"], s["info"]) for s in server.states()}


@pytest_twisted.ensureDeferred
async def test_each_way_in_which_a_plugin_ends(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OVERC_MY_KEY", "secret")
    monkeypatch.setenv("GREETING", "hello")
    plugins = {
        "ok": 'echo "fine: $1"; echo; exit 0',
        "warn": "echo out; echo err >&2; exit 1",
        "fail": "exit 2",
        "odd": "echo odd; exit 77",
        "killed": "echo so far; kill -9 $$",
        "notfound": "no-such-command-anywhere",
        "where": "pwd",
        "environ": 'echo "$GREETING ${OVERC_MY_KEY:-no key}"',
        "latin": "printf 'caf\\351\\n'",
    }
    folder = str(tmp_path)
    services = [
        a_service(name, command=script(tmp_path, name, text), folder=folder)
        for name, text in plugins.items()
    ]
    services.append(a_service("missing", command=("./missing",), folder=folder))
    slow = script(tmp_path, "slow", "echo begun; sleep 600")
    services.append(a_service("slow", command=slow, timeout_s=0.5, folder=folder))
    script(tmp_path, "more", 'echo "$GREETING $A$B"')
    (tmp_path / "elsewhere").mkdir()
    services.append(
        a_service(
            "env",
            command=("../more",),
            folder=f"{folder}/elsewhere",
            env=(("A", "1 2"), ("GREETING", "bye")),
        )
    )
    found = await first_reports(settings_for(*services))
    not_found = "exit status 127: the command, or one that it calls, was not found"
    assert found.pop("notfound")[1].startswith(not_found)
    assert found == {
        "ok": ("OK", "fine: an argument"),
        "warn": ("WARN", "out\nerr"),
        "fail": ("FAIL", ""),
        "odd": ("UNK", "odd"),
        "killed": ("UNK", "killed by SIGKILL\nso far"),
        "where": ("OK", str(tmp_path)),
        "environ": ("OK", "hello no key"),
        "latin": ("OK", "caf\ufffd"),
        "env": ("OK", "bye 1 2"),
        "missing": ("UNK", f"./missing: no such file in {tmp_path}"),
        "slow": ("UNK", "timed out after 0.5 s\nbegun"),
    }


@pytest_twisted.ensureDeferred
async def test_stopping_ends_the_plugins_that_run(tmp_path: pathlib.Path) -> None:
    server = RecordingServer()
    port = server.listen(reactor)
    pid_file = tmp_path / "pid"
    slow = script(
        tmp_path, "slow", f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; sleep 600"
    )
    quick = script(tmp_path, "quick", f"until [ -e {pid_file} ]; do sleep 0.05; done; echo done")
    services = [
        a_service(name, command=command, folder=str(tmp_path))
        for name, command in {"slow": slow, "quick": quick}.items()
    ]
    agent: Any = agent_tap.make_agent(
        reactor, settings_for(*services, url=f"http://127.0.0.1:{port}/")
    )
    agent.startService()
    await server.until(lambda: bool(server.states()))
    pid = int(pid_file.read_text())
    await agent.stopService()
    await server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert [s["name"] for s in server.states()] == ["quick"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run commands as another user")
@pytest_twisted.ensureDeferred
async def test_a_plugin_may_run_as_another_user() -> None:
    nobody = User("nobody", 65534, 65534, "/nonexistent")
    found = await first_reports(
        settings_for(
            a_service("who", command=("sh", "-c", "id -u; id -g; echo $HOME $USER"), user=nobody),
            a_service(
                "slow", command=("sh", "-c", "trap '' TERM; sleep 600"), user=nobody, timeout_s=0.3
            ),
        )
    )
    assert found == {
        "who": ("OK", "65534\n65534\n/nonexistent nobody"),
        "slow": ("UNK", "timed out after 0.3 s"),
    }
