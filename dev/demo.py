"""A server full of lifelike, moving data, in the foreground: what `make demo` starts.

Its data is made anew each time, in var/demo/; with KEEP=yes the demo goes on where it ended. All of
it comes in by the public API. The past is told in the background, while the pages can be used.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dev import demo_story
from dev.demo_fleet import FLAPPING, MAINTAINED, PROBLEMS, fleet
from dev.run import ROOT, StartError, port_number, start, stop, wait_for_port

FOLDER = ROOT / "var/demo"
STATUS = "/api/set/service/status"
STEP_S = 0.5
TIMEOUT_S = 60.0

MESSAGES = (
    ("build-1", "shop 4.18.2 deployed to web-1 ... web-8 by mara"),
    ("backup-2", "verified 12 of 12 snapshots, 4.1 TB read"),
    ("ldap-1", "3 accounts locked after 10 wrong passwords each, from 198.51.100.23"),
)


class Refused(Exception):
    """The server did not take what the demo sent."""


class Api:
    """The server's public API, over one connection. For one thread."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Raises Refused, and OSError when the server has gone."""
        sent = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, sent)
        reply = self._connection.getresponse()
        words = reply.read()
        if reply.status != status:
            raise Refused(f"{method} {path} is answered {reply.status}: {words[:300]!r}")
        return json.loads(words)


@dataclass(frozen=True)
class Demo:
    """A running demo."""

    port: int
    began_at: float
    is_new: bool
    past_is_told: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def begin(self) -> None:
        """Say how things are now. When it returns the pages are worth a look."""
        if not self.is_new:
            return
        api = Api(self.port)
        for request in demo_story.first_reports(fleet(), self.began_at):
            api.send("POST", STATUS, request.body())
        self._attend(api)
        for server, message in MESSAGES:
            identity = {"name": server, "key": demo_story.key_of(server)}
            api.send(
                "POST", "/api/set/alerts", {"server": identity, "alerts": [{"message": message}]}
            )
        # Somebody has made a machine anew, and its agent has a key of its own.
        stranger = {"server": {"name": "web-4", "key": "another key"}}
        api.send("POST", "/api/ping", stranger, status=403)

    def _attend(self, api: Api) -> None:
        for (server, service), problem in PROBLEMS.items():
            if problem.ack is not None:
                author, reason = problem.ack
                taken = {"server": server, "service": service, "author": author, "reason": reason}
                api.send("POST", "/ui/api/ack", taken)
        tonight = datetime.now(timezone.utc).replace(hour=22, minute=0, second=0, microsecond=0)
        for silence in (
            {"servers": "build-*", "services": "disk*", "for": "2h",
             "author": "jonas", "reason": "images are pruned, then the disks grow"},
            {"servers": "db-4, db-5", "from": str(tonight + timedelta(days=1))[:16],
             "for": "3h", "author": "mara", "reason": "PostgreSQL 17"},
        ):  # fmt: skip
            api.send("POST", "/ui/api/silences", silence)

    def tell_past(self, stopping: threading.Event) -> None:
        """Send what was before the demo began."""
        if self.is_new:
            api = Api(self.port)
            for request in demo_story.past(fleet(), self.began_at):
                if stopping.is_set():
                    return
                api.send("POST", STATUS, request.body())
        self.past_is_told.set()

    def go_on(self, stopping: threading.Event) -> None:
        """Report in real time until it is stopped."""
        present = demo_story.Present(fleet(), self.began_at, time.time())
        api = Api(self.port)
        while not stopping.wait(STEP_S):
            for request in present.due(time.time()):
                api.send("POST", STATUS, request.body())


@contextlib.contextmanager
def running(
    folder: Path, port: int, stopping: threading.Event, keep: bool = False
) -> Iterator[Demo]:
    """Run a demo, its reports in threads of this process. Raises StartError, Refused.

    `stopping` is set when it can't go on, and by whoever wants it to end.
    """
    began = folder / "began"
    if not (keep and began.exists()):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    is_new = not began.exists()
    began_at = time.time() if is_new else float(began.read_text())
    config = folder / "server.ini"
    if is_new:
        config.write_text(server_config(folder, began_at), encoding="utf-8")
    server = start(
        ["overc-server", "--config", str(config)],
        {"OVERC_LISTEN": f"tcp:{port}:interface=127.0.0.1"},
        folder / "server.log",
    )
    threads: list[threading.Thread] = []
    try:
        wait_for_port(server, port, [], folder / "server.log")
        demo = Demo(port, began_at, is_new, threading.Event())
        demo.begin()
        began.write_text(str(began_at))
        for work in (demo.go_on, demo.tell_past):
            threads.append(threading.Thread(target=_work, args=(work, stopping)))
            threads[-1].start()
        yield demo
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        stop(server)


def _work(work: Callable[[threading.Event], None], stopping: threading.Event) -> None:
    try:
        work(stopping)
    except (Refused, OSError, http.client.HTTPException) as e:
        if not stopping.is_set():
            print(f"overc: the demo can't go on: {type(e).__name__}: {e}", file=sys.stderr)
            stopping.set()


def server_config(folder: Path, began_at: float) -> str:
    log = ROOT / "etc/overc/alert.d/log.sh"
    window_at = datetime.fromtimestamp(began_at - 600, timezone.utc)
    down = "cat >/dev/null; echo 'sms.example.net: 502 Bad Gateway, no credit left'; exit 1"
    return f"""\
# Made by make demo.
[overc]
database=sqlite:///overc.db
keep-history=100d
timezone=UTC
badges=web-*/*

[page:shop]
title=Example Shop
servers={", ".join(demo_story.PUBLIC_SERVERS)}
services={demo_story.PUBLIC}

[alert:chat]
command={shlex.join([str(log), str(folder / "chat.log")])}

[alert:mail]
command={shlex.join([str(log), str(folder / "mail.log")])}
events=service:state/FAIL, plugin/*
servers=!web-*
delay=30s

[alert:sms]
command={shlex.join(["sh", "-c", down])}
events=service:state/FAIL
servers=vpn-*, db-*
retry-for=5s

[expect:flapping]
servers={FLAPPING[0]}
services={FLAPPING[1]}
flapping=6 in 1h

[maintenance:kernel-updates]
servers={MAINTAINED}
calendar=*-*-* {window_at:%H:%M}
duration=4h
reason=new kernels, one host after the other
"""


def main() -> int:
    try:
        return run()
    except (StartError, Refused) as e:
        print(f"overc: {e}", file=sys.stderr)
        return 1


def run() -> int:
    stopping, asked = threading.Event(), threading.Event()

    def end(signum: int, frame: object) -> None:
        asked.set()
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    port = port_number("demo")
    keep = os.environ.get("KEEP", "") not in ("", "no")
    with running(FOLDER, port, stopping, keep) as demo:
        print(f"OverC  {demo.url}  a demo: 40 servers, 400 services, none of it is real")
        print(f"       data in {FOLDER}; what was before arrives in the next minutes")
        print("       Ctrl-C ends it; make demo KEEP=yes goes on with the same data", flush=True)
        stopping.wait()
    if not asked.is_set():
        return 1
    print("\nOverC  the demo is over")
    return 0


if __name__ == "__main__":
    sys.exit(main())
