"""Alert plugins that fail, hang, flood or leave things behind, beside one that works."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time

from support.alert_plugins import Recorder, is_running, write_script
from support.daemon import eventually, running
from support.http_client import Host, a_service, basic

STUBBORN = """#!/bin/sh
# Neither it nor what it starts minds SIGTERM, and all of them hold its output open. It is tried
# again later; once is enough.
mkdir once 2>/dev/null || exit 0
trap '' TERM
note() { echo "$1" >>pids; }
note $$
sh -c 'echo $$ >>pids; while :; do sleep 600; done' &
(sleep 600 & note $!; wait) &
nohup sleep 600 >/dev/null 2>&1 &
note $!
while :; do sleep 600; done
"""

QUICK_PARENT = """#!/bin/sh
# Delivers, but leaves a child that holds its output open.
sleep 600 &
echo $! >>pids
exit 0
"""


def test_failures_are_reported_through_the_others(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    write_script(tmp_path / "fails", "#!/bin/sh\necho it broke\necho badly >&2\nexit 3\n")
    write_script(tmp_path / "dies", "#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "no-program").write_text("not executable")
    broken = {
        "fails": ("./fails", "exit status 3: it broke\nbadly"),
        "dies": ("./dies", "killed by signal 9"),
        "missing": ("./missing --now", f"./missing: no such file in {tmp_path}"),
        "unknown": ("no-such-command-anywhere", "no-such-command-anywhere: command not found"),
        "unfit": ("./no-program", "./no-program: not an executable file"),
        "slow": ("sleep 600\ntimeout=1", "timed out after 1 s"),
        "flood": ("yes it goes on", "killed: its output did not end"),
    }
    sections = recorder.section + "".join(
        f"[alert:{name}]\ncommand={command}\n" for name, (command, _) in broken.items()
    )
    sections += "[alert:deaf]\ncommand=true\n"
    with running(tmp_path, sections=sections) as daemon:
        host = Host(daemon.client, "host")
        # Larger than a pipe's buffer, for the plugins that don't read it.
        host.alert("x" * 60_000)
        found = recorder.wait_for(1 + len(broken))
        assert found[0] == f"host: [api/alert] {'x' * 60_000}\n"
        for name, (_, reason) in broken.items():
            start = f"OverC: [alert-plugin/failed] Alert plugin `{name}` failed: {reason}"
            assert sum(text.startswith(start) for text in found) == 1, (name, found[1:])
        whole = daemon.client.get("/ui/api/status/alerts/")
        assert len(whole["alerts"]) == len(found)
        assert whole["alerts"][0]["server"] is None

        # A plugin that has failed goes on being tried, and the one that works goes on working.
        host.alert("next")
        eventually(lambda: any("next" in text for text in recorder.messages()))


def test_nothing_is_left_of_a_plugin_that_does_not_want_to_end(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    write_script(tmp_path / "stubborn", STUBBORN)
    write_script(tmp_path / "quick-parent", QUICK_PARENT)
    sections = recorder.section + "[alert:stubborn]\ncommand=./stubborn\ntimeout=1\n"
    sections += "[alert:parent]\ncommand=./quick-parent\n"
    with running(tmp_path, sections=sections) as daemon:
        descriptors = open_descriptors(daemon.child.pid)
        Host(daemon.client, "host").alert("x")
        [_, notice] = recorder.wait_for(2)
        assert notice == (
            "OverC: [alert-plugin/failed] Alert plugin `stubborn` failed: timed out after 1 s\n"
        )

        def pids() -> list[int]:
            return [int(line) for line in (tmp_path / "pids").read_text().split()]

        eventually(lambda: len(pids()) == 4 + 2, "four of one, one of each run of the other")
        eventually(lambda: not any(map(is_running, pids())), "all have ended")
        eventually(lambda: open_descriptors(daemon.child.pid) <= descriptors, "descriptors closed")
        assert "parent` failed" not in daemon.log()


def open_descriptors(pid: int) -> int:
    """Return how many there are, without those of the database: its threads open their own."""
    found = 0
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += "overc.db" not in os.readlink(link)
    return found


def test_a_hanging_plugin_holds_up_nothing_else(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    sections = recorder.section + "[alert:hangs]\ncommand=sleep 600\n"
    with running(tmp_path, sections=sections) as daemon:
        host = Host(daemon.client, "host")
        for n in range(10):
            host.report(a_service("s", "WARN" if n % 2 else "FAIL", str(n)))
        assert [text.splitlines()[1] for text in recorder.wait_for(10)] == [
            f"Current: {'WARN' if n % 2 else 'FAIL'}: {n}" for n in range(10)
        ]
        # It is ended by the server's own end, which is asked for while it hangs.
        ended_at = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - ended_at < 25, "it did not wait for the plugin's time limit"
        assert "failed" not in daemon.log()
        daemon.start()
        host.client = daemon.client
        assert [a["channel"] for a in host.alerts()] == ["service:state"] * 10


def test_a_command_is_split_as_by_a_shell_and_run_without_one(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(
        tmp_path,
        extra="""'one argument' "it's" a\\ b $HOME `touch hacked` ; touch hacked && * % %s "" é""",
    )
    sections = recorder.section.replace("[alert:kept]", "[alert:kept é x]")
    with running(tmp_path, sections=sections) as daemon:
        Host(daemon.client, "host").alert("x")
        recorder.wait_for(1)
    [run] = recorder.runs()
    assert run.arguments[1:] == [
        "one argument", "it's", "a b", "$HOME", "`touch", "hacked`", ";", "touch", "hacked", "&&",
        "*", "%", "%s", "", "é",
    ]  # fmt: skip
    assert not (tmp_path / "hacked").exists()
    assert run.folder == str(tmp_path.resolve())


SECRETS = {"OVERC_UI_AUTH": "admin:topsecret1", "OVERC_API_AUTH": "agent:topsecret2"}


def test_a_plugin_does_not_see_our_settings_and_secrets(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    environ = {**SECRETS, "OVERC_LOGLEVEL": "INFO", "OVERC_ALERT_ID": "spoofed", "KEPT": "yes"}
    with running(tmp_path, sections=recorder.section, environ=environ) as daemon:
        daemon.client.headers |= basic("agent", "topsecret2")
        Host(daemon.client, "host").alert("x")
        recorder.wait_for(1)
        assert "topsecret" not in daemon.log()
    [run] = recorder.runs()
    ours = {name: value for name, value in run.environment.items() if name.startswith("OVERC_")}
    assert ours["OVERC_ALERT_ID"] == str(run.alert_id)
    assert ours["OVERC_SERVER"] == "host"
    assert "OVERC_LOGLEVEL" not in ours
    assert "topsecret" not in str(run.environment)
    assert run.environment["KEPT"] == "yes"
    assert run.environment["PATH"] == os.environ["PATH"]


def test_a_plugin_that_was_removed_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    sections = recorder.section + "[alert:hangs]\ncommand=sleep 600\n"
    with running(tmp_path, sections=sections) as daemon:
        Host(daemon.client, "host").alert("x")
        recorder.wait_for(1)
        assert daemon.stop() == 0
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("[alert:hangs]\ncommand=sleep 600\n", ""))
        daemon.start()
        eventually(lambda: daemon.said("1 alerts waited for plugins that are gone: dropped"))
        recorder.wait_for(1)


def test_texts_from_outside_stay_on_one_line_of_the_log(tmp_path: pathlib.Path) -> None:
    write_script(tmp_path / "fails", "#!/bin/sh\nprintf 'one\\ntwo\\033[31m'\nexit 1\n")
    with running(tmp_path, sections="[alert:fails]\ncommand=./fails\n") as daemon:
        Host(daemon.client, "host\nforged line").alert("x\nforged line")
        eventually(lambda: daemon.said("alert plugin fails failed"))
        assert "exit status 1: one two" in daemon.log()
        assert not [line for line in daemon.log().splitlines() if line.startswith("forged")]
        assert "\033" not in daemon.log()
