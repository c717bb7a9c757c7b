"""What was answered is there after a SIGKILL, and what was to be sent is sent."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import random
import signal
import sqlite3
import threading
import time

from support.alert_plugins import Recorder, is_running, write_script
from support.daemon import Daemon, eventually
from support.http_client import STATUS, Client, Host, a_service

ROUNDS = 6
WRITERS = 6


class Writer(threading.Thread):
    """Reports a service as fast as it can until the server is gone; keeps what was answered."""

    def __init__(self, client: Client, number: int, start_at: int) -> None:
        super().__init__()
        self._host = Host(client, f"host {number}")
        self.sent = start_at
        self.answered: list[int] = []

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                self.sent += 1
                state = "FAIL" if self.sent % 3 == 0 else "OK"
                service = a_service("s", state, str(self.sent))
                reply = self._host.send(STATUS, period=600, services=[service, service])
                assert reply.status == 200, reply
                self.answered.append(self.sent)


def test_nothing_that_was_answered_is_lost(tmp_path: pathlib.Path) -> None:
    moment = random.Random(1)
    daemon = Daemon(tmp_path, sections="[alert:a]\ncommand=true\n")
    sent = [0] * WRITERS
    answered: list[set[int]] = [set() for _ in range(WRITERS)]
    with daemon:
        for round_ in range(ROUNDS):
            if round_:
                daemon.start()
            writers = [Writer(daemon.client, n, sent[n]) for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            wait_for_answers(writers)
            time.sleep(moment.uniform(0.05, 0.7))
            daemon.stop(signal.SIGKILL)
            for n, writer in enumerate(writers):
                writer.join()
                sent[n] = writer.sent
                answered[n] |= set(writer.answered)
        daemon.start()
        history = read_history(daemon.database)
        for n in range(WRITERS):
            states = history[f"host {n}"]
            stored = [int(info) for _, info, _ in states]
            lost = answered[n] - set(stored)
            assert not lost, f"{len(lost)} of {len(answered[n])} answered reports are lost"
            # Both states of a report or none, in order, and never more than was sent.
            assert stored == sorted(stored)
            assert stored[::2] == stored[1::2]
            assert len(set(stored)) == len(stored) / 2 <= sent[n]
            # An alert for each change, in the report's own transaction.
            before = "OK"
            for state, info, alerts in states:
                assert alerts == (state != before), info
                before = state
        assert sum(map(len, answered)) >= ROUNDS * WRITERS
        with contextlib.closing(sqlite3.connect(daemon.database)) as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)
            assert database.execute(
                "select count(*) from alerts where id not in (select alert_id from outbox)"
            ).fetchone() == (0,)
        assert daemon.stop() == 0


def wait_for_answers(writers: list[Writer]) -> None:
    eventually(lambda: all(writer.answered for writer in writers), "each has an answer")


def read_history(path: pathlib.Path) -> dict[str, list[tuple[str, str, int]]]:
    """Return state, info and the number of alerts for each state of each host's service."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    with contextlib.closing(sqlite3.connect(path)) as database:
        for name, state, info, alerts in database.execute(
            "select servers.name, states.state, info,"
            " (select count(*) from alerts where state_id = states.id)"
            " from states join services on services.id = service_id"
            " join servers on servers.id = server_id order by states.id"
        ):
            found.setdefault(name, []).append((state, info, alerts))
    return found


WAITS = """#!/bin/sh
# Tells that it has begun, and delivers only when somebody opens the gate.
echo $$ >>pids
echo "$OVERC_ALERT_ID" >>begun
read _ <gate
cat >>delivered
"""


def test_an_alert_raised_before_a_sigkill_is_sent_after_it(tmp_path: pathlib.Path) -> None:
    write_script(tmp_path / "waits", WAITS)
    os.mkfifo(tmp_path / "gate")
    begun = tmp_path / "begun"

    def ids() -> list[int]:
        return [int(line) for line in begun.read_text().split()] if begun.exists() else []

    def until_begun(n: int) -> None:
        eventually(lambda: len(ids()) == n, f"{n} deliveries have begun")

    def kill(daemon: Daemon) -> None:
        daemon.stop(signal.SIGKILL)
        for pid in (tmp_path / "pids").read_text().split():
            if is_running(int(pid)):
                os.kill(int(pid), signal.SIGKILL)

    with Daemon(tmp_path, sections="[alert:waits]\ncommand=./waits\n") as daemon:
        host = Host(daemon.client, "host")
        for text in ("first", "second", "third"):
            host.alert(text)
        until_begun(1)
        kill(daemon)
        # Killed again while the first is under way again.
        daemon.start()
        until_begun(2)
        kill(daemon)
        daemon.start()
        host.client = daemon.client
        for n in range(3):
            until_begun(3 + n)
            (tmp_path / "gate").write_text("open\n")
        eventually(lambda: outbox(daemon) == {"sent": 3})
        raised = [alert["id"] for alert in host.alerts()]
        assert ids() == [raised[0], raised[0], *raised]
        assert (tmp_path / "delivered").read_text() == "".join(
            f"host: [api/alert] {text}\n" for text in ("first", "second", "third")
        )
        # What was sent is not sent again.
        daemon.stop(signal.SIGKILL)
        daemon.start()
        host.client = daemon.client
        host.alert("fourth")
        until_begun(6)
        assert ids()[-1] == host.alerts()[-1]["id"]
        kill(daemon)


def outbox(daemon: Daemon) -> dict[str, int]:
    """Return how many alerts the outbox holds in each status."""
    with contextlib.closing(sqlite3.connect(daemon.database)) as database:
        return dict(database.execute("select status, count(*) from outbox group by status"))


def test_a_sigkill_amid_deliveries_loses_no_alert(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    moment = random.Random(2)
    kills = 4
    # Each alert in a message of its own, however many wait.
    with Daemon(tmp_path, sections=f"{recorder.section}digest-over=1000\n") as daemon:
        raised = 0
        for _ in range(kills):
            host = Host(daemon.client, "host")
            for _ in range(25):
                raised += 1
                host.alert(f"number {raised}")
            time.sleep(moment.uniform(0, 0.1))
            daemon.stop(signal.SIGKILL)
            daemon.start()
        eventually(lambda: outbox(daemon) == {"sent": raised})
        assert daemon.stop() == 0
    # A plugin that was started by the killed server may have been told nothing before it.
    told = [run for run in recorder.runs() if run.message]
    # At least once each, and once more at most for what was under way at a kill.
    assert {run.message for run in told} == {
        f"host: [api/alert] number {n}\n" for n in range(1, raised + 1)
    }
    assert len({run.alert_id for run in told}) == raised
    assert len(told) <= raised + kills
