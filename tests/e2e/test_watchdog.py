"""When a service is called late, and when it must not be."""

from __future__ import annotations

import contextlib
import glob
import pathlib
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from support.daemon import Daemon, eventually, running
from support.http_client import STATUS, Host, a_service

LATE_MAX_S = 1.0
"""What the contract promises."""

SLACK_S = 3.0
"""Beyond the promise, for a machine of two cores that has more to do than we have."""


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp + "+00:00").timestamp()


def offline(host: Host) -> list[str]:
    """Return the services for which an offline alert was raised, in order."""
    return [a["service"] for a in host.alerts() if a["event"] == "offline"]


@contextlib.contextmanager
def reporting(host: Host, service: str, period_s: int, every_s: float) -> Iterator[None]:
    """Report a service all the time, as an agent that is well does."""
    over = threading.Event()
    refused: list[object] = []

    def report() -> None:
        while not over.is_set():
            reply = host.send(STATUS, period=period_s, services=[a_service(service)])
            if reply.status != 200:
                refused.append(reply)
            over.wait(every_s)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not refused


def wait_until_late(host: Host, service: str, limit_s: float) -> float:
    """Return when a service was seen to be late, on the monotonic clock."""
    eventually(lambda: host.state(service)["timed_out"], f"{service} is late", limit_s)
    return time.monotonic()


def test_late_no_sooner_than_the_period_and_no_later_than_a_second_after(host: Host) -> None:
    periods = {f"{period_s} {n}": period_s for n in range(10) for period_s in (1, 2, 3)}
    with reporting(host, "well", period_s=5, every_s=0.3):
        for name, period_s in periods.items():
            host.report(a_service(name, period=period_s))
        eventually(lambda: len(offline(host)) == len(periods), "all but one are late")
    assert set(offline(host)) == set(periods)
    late_at = {a["service"]: seconds(a["ctime"]) for a in host.alerts()}
    for name, service in host.services().items():
        if name != "well":
            took_s = late_at[name] - seconds(service["state"]["rtime"])
            assert periods[name] <= took_s < periods[name] + LATE_MAX_S + SLACK_S, name


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_after_a_restart_every_service_has_its_period_again(
    tmp_path: pathlib.Path, end: signal.Signals
) -> None:
    with Daemon(tmp_path) as daemon:
        host = Host(daemon.client, "host")
        host.report(a_service("was late", period=1))
        wait_until_late(host, "was late", 30)
        host.report(a_service("well"), a_service("dead"), period=2)
        daemon.stop(end)
        # Both deadlines pass while nobody could report.
        time.sleep(2.5)
        started_at = time.monotonic()
        daemon.start()
        host.client = daemon.client
        assert {n: s["state"]["timed_out"] for n, s in host.services().items()} == {
            "was late": True, "well": False, "dead": False,
        }  # fmt: skip
        listens_at = time.monotonic()
        with reporting(host, "well", period_s=10, every_s=0.3):
            late_at = wait_until_late(host, "dead", 30)
        assert started_at + 2 <= late_at < listens_at + 2 + LATE_MAX_S + SLACK_S
        assert offline(host) == ["was late", "dead"]
        assert daemon.stop() == 0


def test_a_stopped_server_blames_nobody_and_still_finds_the_dead(
    host: Host, daemon: Daemon
) -> None:
    pause_s = 5.0
    host.report(a_service("punctual"), a_service("dead"), period=3)
    with reporting(host, "eager", period_s=3, every_s=0.3):
        daemon.child.signal(signal.SIGSTOP)
        time.sleep(pause_s)
        resumed_at = time.monotonic()
        daemon.child.signal(signal.SIGCONT)
        # Its deadline passed during the pause, and it comes as soon as it can.
        host.report(a_service("punctual"), period=600)
        late_at = wait_until_late(host, "dead", 30)
    assert late_at - resumed_at < 3 + LATE_MAX_S + SLACK_S
    assert offline(host) == ["dead"]
    assert daemon.said("the watchdog paused for")


def test_the_watchdog_outlives_a_database_that_is_locked(tmp_path: pathlib.Path) -> None:
    with Daemon(tmp_path, "request-timeout=1") as daemon:
        host = Host(daemon.client, "host")
        host.report(a_service("dead"), period=2)
        other = sqlite3.connect(daemon.database, isolation_level=None)
        other.execute("begin immediate")
        # The tick that wants to mark it late waits for the lock until SQLite gives up.
        eventually(lambda: daemon.said("the watchdog's tick failed"))
        assert daemon.client.get("/ui/api/status/")["stats"]["supervisor_lag"] > 1
        assert host.state("dead")["timed_out"] is False
        refused = host.send(STATUS, period=60, services=[a_service("s")])
        assert refused.status == 503
        assert refused.error
        assert int(refused.headers["Retry-After"]) > 0
        other.execute("rollback")
        other.close()
        wait_until_late(host, "dead", 30)
        eventually(lambda: daemon.said("the watchdog works again"))
        host.report(a_service("s"), period=1)
        wait_until_late(host, "s", 30)
        assert offline(host) == ["dead", "s"]
        assert daemon.client.get("/ui/api/status/")["stats"]["supervisor_lag"] == 0
        assert daemon.stop() == 0


FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)

FAKETIME_SLACK_S = 20.0
"""libfaketime itself holds threads up for seconds; a timer that follows the wall clock does for an
hour."""


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is missing: apt-get install faketime")
def test_steps_of_the_wall_clock_change_no_verdict(tmp_path: pathlib.Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environ = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    period_s = 2
    with running(tmp_path, environ=environ) as daemon:
        host = Host(daemon.client, "host")
        with reporting(host, "well", period_s=10, every_s=0.3):
            for step in ("+1h", "-1h", "+0"):
                before_at = time.monotonic()
                host.report(a_service(f"dead before {step}"), period=period_s)
                (tmp_path / "offset.new").write_text(step)
                (tmp_path / "offset.new").rename(offset)
                host.report(a_service(f"dead after {step}"), period=period_s)
                reported_at = time.monotonic()
                shown = seconds(host.state(f"dead after {step}")["rtime"]) - time.time()
                assert abs(shown - 3600 * int(step[:2])) < 60, "the server's clock was stepped"
                for service in (f"dead before {step}", f"dead after {step}"):
                    late_at = wait_until_late(host, service, 30)
                    assert before_at + period_s <= late_at
                    assert late_at < reported_at + period_s + FAKETIME_SLACK_S
        assert "well" not in offline(host)
        assert len(offline(host)) == 2 * 3
        assert daemon.client.get("/ui/api/status/")["stats"]["supervisor_lag"] == 0
