"""overcli against a real server: why, who was told, and who shall not be told."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from functools import partial

import fake_server
from support.alert_plugins import Recorder, is_running, write_script
from support.daemon import Daemon, clean_environment, eventually, running
from support.http_client import Host, a_service, raw_post

TIME = r"\d\d:\d\d:\d\d(?: yesterday| tomorrow)?"
LIMIT_S = 60


def overcli(
    daemon: Daemon, *args: str, status: int = 0, identity: str = "", user: str = ""
) -> list[str]:
    """Run a command that has to end with a status, without an error if that is 0."""
    host = f"{user}@127.0.0.1" if user else "127.0.0.1"
    url = f"http://{host}:{daemon.client.port}/"
    who = ["-i", identity] if identity else []
    done = subprocess.run(
        [sys.executable, "-m", "overc.cli", "-s", url, *who, *args],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == status, (args, done.stdout, done.stderr)
    assert (done.stderr == "") == (status == 0 or done.stdout != ""), done.stderr
    return (done.stdout + done.stderr).splitlines()


def test_why_and_who_was_told(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    sections = recorder.section + "[alert:broken]\ncommand=sh -c 'echo no route; exit 3'\n"
    with running(tmp_path, sections=sections) as daemon:
        web1 = Host(daemon.client, "web1")
        web1.report(a_service("disk", "FAIL", "90 %"))
        # The alert, and that the other channel fails.
        recorder.wait_for(2)

        def explained(words: str) -> bool:
            return re.search(words, " ".join(overcli(daemon, "explain", "web1/disk"))) is not None

        eventually(lambda: explained(rf"kept {TIME} sent"), "what was sent is kept")
        first, second = overcli(daemon, "explain", "web1/disk")
        due = rf"the next one is awaited until {TIME} \(1m\)\."
        assert re.fullmatch(rf"FAIL since {TIME}: 90 %\. Last report {TIME}; {due}", first), first
        failed = rf"broken {TIME} failed \(exit status 3: no route\), try \d at {TIME}"
        assert re.fullmatch(rf"Alerted: kept {TIME} sent; {failed}\. Not silenced\.", second), (
            second
        )

        overcli(daemon, "ack", "web1/disk", "--author", "ann", "new disk is on its way")
        assert explained(rf"Acknowledged {TIME} by ann: new disk is on its way\.")
        overcli(daemon, "unack", "web1/disk")
        assert not explained("Acknowledged")
        [words] = overcli(daemon, "ack", "web1/load", "x", status=1)
        assert words == "overcli: HTTP 404: 'web1' has no service 'load'"

        lines = overcli(daemon, "status", "--problems")
        assert [line.split()[:2] for line in lines] == [["FAIL", "web1/disk"]]

        sent, not_sent = overcli(daemon, "alert-test", status=1)
        assert re.fullmatch(r"kept: sent in \d+\.\d s", sent)
        assert re.fullmatch(r"broken: failed in \d+\.\d s: exit status 3: no route", not_sent)
        [test, *_] = recorder.messages()
        assert test.startswith("OverC: [overc/test] This is a test of the alert channel")
        overcli(daemon, "alert-test", "kept")
        [words] = overcli(daemon, "alert-test", "pager", status=1)
        assert words.endswith("there is no alert channel 'pager'; configured: kept, broken")


def test_what_is_silenced_is_told_when_the_silence_ends(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    with running(tmp_path, sections=recorder.section) as daemon:
        web1, web2 = Host(daemon.client, "web1"), Host(daemon.client, "web2")
        overcli(daemon, "silence", "--servers", "web*, !web2", "--for", "2h", "disk swap")
        web1.report(a_service("disk", "FAIL"))
        web2.report(a_service("disk", "FAIL"))
        [message] = recorder.wait_for(1)
        assert message.startswith("web2 disk: ")
        listed, kept = overcli(daemon, "silences")
        assert re.match(r"1: all of web\*, !web2 until .*: disk swap$", listed)
        assert re.search(r"kept back: .* web1/disk: State changed: ", kept)
        [_, told] = overcli(daemon, "explain", "web1/disk")
        assert "kept kept back by silence 1. Silenced until " in told

        overcli(daemon, "unsilence", "1")
        eventually(lambda: any("web1" in text for text in recorder.messages()), "the summary")
        [words] = overcli(daemon, "unsilence", "1", status=1)
        assert words == "overcli: HTTP 409: Silence 1 is over already"
        # Ended it is listed still, for a day.
        assert overcli(daemon, "silences")[0].startswith("1: all of web*, !web2 ended ")


def test_a_host_silences_itself(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    auth = ("api-auth=api:one", "ui-auth=ui:two")
    with running(tmp_path, *auth, sections=recorder.section) as daemon:
        web1 = partial(overcli, daemon, identity="web1:1234", user="api:one")
        web1("service-status", "60", "disk", "OK")
        [said] = web1("snooze", "20m", "new disk")
        assert re.fullmatch(r"silence 1 until \d\d:\d\d( tomorrow)?", said)
        web1("service-status", "60", "disk", "FAIL")
        [wrong] = overcli(
            daemon, "snooze", "1h", "x", status=1, identity="web1:4321", user="api:one"
        )
        assert wrong.startswith('overcli: HTTP 403: Invalid server key for "web1"')
        # That user is not one of those who may do so for others.
        [wrong] = overcli(daemon, "silence", "--for", "1h", "x", status=1, user="api:one")
        assert wrong.startswith("overcli: HTTP 401")

        found = json.loads("\n".join(overcli(daemon, "silences", "--json", user="ui:two")))
        [silence] = found["silences"]
        assert (silence["servers"], silence["author"]) == ("web1", "web1")
        assert silence["n_alerts"] == 1
        assert web1("snooze", "--end") == ["ended 1 silence"]
        [message] = recorder.wait_for(1)
        assert "disk" in message


def test_a_server_that_stops_ends_a_test_that_is_under_way(tmp_path: pathlib.Path) -> None:
    write_script(tmp_path / "hangs", "#!/bin/sh\necho $$ >pid\nexec sleep 600\n")
    with running(tmp_path, sections="[alert:hangs]\ncommand=./hangs\ntimeout=300\n") as daemon:
        with daemon.client.connect() as connection:
            connection.sendall(raw_post("/ui/api/alert-test", b""))
            eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            assert daemon.stop() == 0
        assert not is_running(int((tmp_path / "pid").read_text()))
        assert "Traceback" not in daemon.log()
        daemon.start()


def test_the_heartbeat_and_the_health(tmp_path: pathlib.Path) -> None:
    with fake_server.running() as receiver:
        option = f"heartbeat-url={receiver.url}s3cret"
        with running(tmp_path, option, "heartbeat-period=1") as daemon:
            eventually(lambda: len(receiver.requests) >= 2, "it is called again and again")
            assert {(one.method, one.path) for one in receiver.requests} == {("GET", "/s3cret")}
            receiver.answer = [fake_server.reply(302, "", Location=f"{receiver.url}s3cret")]
            eventually(lambda: daemon.said("redirects to"), "the failure is logged")
            n = len(receiver.requests)
            eventually(lambda: len(receiver.requests) >= n + 2)
            assert daemon.log().count("no heartbeat: ") == 1
            receiver.answer = [fake_server.reply(200, "OK")]
            eventually(lambda: daemon.said("the heartbeat works again"))
            assert "no heartbeat: 127.0.0.1" in daemon.log()

            health = daemon.client.get("/healthz")
            assert health["status"] == "ok"
            assert 0 <= health["watchdog_tick_age_s"] < 30
            assert health["outbox"] == {"pending": 0, "oldest_s": 0.0}
