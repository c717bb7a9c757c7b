"""The make-believe hosts of `make demo`: 40 with 400 services, and what is wrong now. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from dev.demo_checks import (
    Check,
    certificate,
    disk,
    http,
    load,
    memory,
    network,
    nightly,
    packages,
    ping,
    process,
    rate,
    share,
    steady,
    time_offset,
)
from dev.demo_moment import DAY_S, HOUR_S, MINUTE_S, Moment, Reading

OFTEN_S = 10 * MINUTE_S

DEAD_HOST = "edge-syd"
DEAD_PERIOD_S = 30
DEAD_S = 2 * HOUR_S
"""For so long it had been silent when the demo began."""

FLAPPING = "app-4", "http api"
FLAP_S = 20
MAINTAINED = "web-6"


class Service(NamedTuple):
    server: str
    name: str
    period_s: int
    check: Check

    def reading(self, at: float) -> Reading:
        """Return what it reported, or would have, when nothing special was wrong."""
        return self.check(Moment(f"{self.server}/{self.name}", at))


class Problem(NamedTuple):
    """What is wrong when the demo begins, and stays so."""

    lasts_s: float
    """Before the beginning."""
    state: str
    info: Callable[[float], str]
    """By the seconds that it lasts."""
    ack: tuple[str, str] | None = None
    """Who took it on, and the reason."""


Checks = Mapping[str, tuple[int, Check]]

BASE: Checks = {
    "load": (OFTEN_S, load),
    "memory": (OFTEN_S, memory),
    "disk /": (HOUR_S, disk("/")),
    "network": (HOUR_S, network),
    "time": (HOUR_S, time_offset),
    "packages": (HOUR_S, packages),
}

ROLES: Mapping[str, tuple[tuple[str, ...], Checks]] = {
    "web": (
        tuple(f"web-{n}" for n in range(1, 9)),
        {
            "http": (OFTEN_S, http("https://shop.example.com/")),
            "certificate": (HOUR_S, certificate("shop.example.com")),
            "nginx": (HOUR_S, process("nginx", 5, 9)),
            "requests": (OFTEN_S, rate("requests", "/s", 20, 850, 1200, 2000)),
        },
    ),
    "app": (
        tuple(f"app-{n}" for n in range(1, 7)),
        {
            "http api": (OFTEN_S, http("http://127.0.0.1:8080/health")),
            "workers": (HOUR_S, process("gunicorn", 8, 8)),
            "jobs": (OFTEN_S, rate("jobs waiting", "", 0, 140, 500, 2000)),
            "errors": (HOUR_S, rate("errors", "%", 0.01, 0.9, 2, 5)),
        },
    ),
    "db": (
        tuple(f"db-{n}" for n in range(1, 6)),
        {
            "postgresql": (OFTEN_S, steady("PostgreSQL 16.4 accepts connections, in recovery: no")),
            "connections": (OFTEN_S, rate("connections", "", 12, 160, 240, 290)),
            "replication": (HOUR_S, rate("lag", "s", 0.05, 1.4, 60, 300)),
            "disk /var/lib/postgresql": (
                HOUR_S, disk("/var/lib/postgresql", days=75, low=48, high=83)),
        },
    ),
    "cache": (
        tuple(f"cache-{n}" for n in range(1, 4)),
        {
            "redis": (HOUR_S, process("redis-server", 1, 1)),
            "hit rate": (OFTEN_S, share("hit rate", 91, 98.5, 85, 60)),
            "evictions": (HOUR_S, rate("evictions", "/s", 0, 9, 50, 200)),
            "latency": (OFTEN_S, rate("latency", "ms", 0.2, 1.4, 5, 20)),
        },
    ),
    "mail": (
        tuple(f"mail-{n}" for n in range(1, 4)),
        {
            "smtp": (HOUR_S, steady("220 mail.example.com ESMTP Postfix, TLS 1.3")),
            "imap": (HOUR_S, steady("* OK Dovecot ready, 0.012 s")),
            "queue": (OFTEN_S, rate("messages queued", "", 2, 130, 1000, 5000)),
            "spam filter": (HOUR_S, process("rspamd", 4, 4)),
        },
    ),
    "backup": (
        ("backup-1", "backup-2"),
        {
            "backup db": (DAY_S, nightly("restic db", 380, 420)),
            "backup files": (DAY_S, nightly("restic files", 1900, 2200)),
            "backup mail": (DAY_S, nightly("restic mail", 610, 640)),
            "disk /backup": (HOUR_S, disk("/backup", days=110, low=52, high=84)),
        },
    ),
    "build": (
        tuple(f"build-{n}" for n in range(1, 5)),
        {
            "runners": (OFTEN_S, process("runner", 2, 12)),
            "queue": (OFTEN_S, rate("builds waiting", "", 0, 7, 20, 50)),
            "disk /var/lib/docker": (
                HOUR_S, disk("/var/lib/docker", days=6, low=22, high=84)),
            "registry": (HOUR_S, http("https://registry.example.com/v2/")),
        },
    ),
    "edge": (
        ("edge-fra", "edge-nyc", "edge-sao", "edge-sin", DEAD_HOST),
        {
            "ping fra": (OFTEN_S, ping("fra.example.com", 42)),
            "dns": (HOUR_S, steady("www.example.com is 192.0.2.10, 4 ms")),
            "bgp": (HOUR_S, steady("4 of 4 sessions established, 1,002,311 routes")),
            "traffic": (OFTEN_S, rate("traffic", "Mbit/s", 80, 2400, 4000, 4800)),
        },
    ),
    "storage": (
        ("storage-1", "storage-2"),
        {
            "zpool tank": (HOUR_S, steady("pool tank is ONLINE, 12 of 12 disks")),
            "smart": (HOUR_S, steady("12 of 12 disks PASSED, hottest 38 °C")),
            "scrub": (DAY_S, nightly("scrub of tank", 9000, 9400)),
            "nfs": (OFTEN_S, rate("operations", "/s", 60, 4200, 9000, 15000)),
            "disk /tank/home": (HOUR_S, disk("/tank/home", days=130, low=55, high=82)),
            "snapshots": (HOUR_S, steady("hourly 24, daily 31, monthly 12; newest 14 min old")),
            "power": (HOUR_S, steady("both supplies on, UPS 100%, 41 min on battery")),
        },
    ),
    "office": (
        ("vpn-1", "ldap-1"),
        {
            "tunnel nyc": (OFTEN_S, ping("10.40.0.1", 88)),
            "users": (OFTEN_S, rate("users", "", 3, 74, 120, 150)),
            "ldap": (HOUR_S, steady("bind as cn=monitor in 0.006 s")),
            "door controller": (HOUR_S, steady("Tür & Tor: both closed")),
        },
    ),
}  # fmt: skip


def _words(text: str) -> Callable[[float], str]:
    return lambda lasts_s: text


PROBLEMS: Mapping[tuple[str, str], Problem] = {
    ("db-2", "replication"): Problem(
        47 * MINUTE_S,
        "FAIL",
        lambda lasts_s: (
            f"replication stopped, lag {lasts_s:.0f} s\n"
            "FATAL: could not receive data from WAL stream:"
            " SSL connection has been closed unexpectedly\n"
            "last received 6F/01A2B8C0 from db-1.example.com:5432"
            f"|lag={lasts_s:.0f}s;60;300;0"
        ),
    ),
    ("vpn-1", "tunnel nyc"): Problem(
        4 * MINUTE_S, "FAIL",
        _words("10.40.0.1: no answer, 100% lost|rtt=0ms;176;528;0 lost=100%;5;40;0;100"),
    ),
    ("backup-1", "backup db"): Problem(
        7 * HOUR_S, "FAIL",
        _words(
            "restic: exit status 11 after 3 tries\n"
            "Fatal: unable to create lock in backend: repository is already locked exclusively"
            " by PID 4121 on backup-1 by root (UID 0, GID 0)\nlock was created 7h12m ago"
            "|size=0GB time=183s;7200;14400"
        ),
        ack=("mara", "stale lock after the reboot; unlocked, the run goes on by hand"),
    ),
    ("build-2", "disk /var/lib/docker"): Problem(
        22 * MINUTE_S, "FAIL",
        _words("/var/lib/docker 98.2% used, 3.6 of 200 GiB free, inodes 61%"
               "|'/var/lib/docker'=98.2%;85;95;0;100 inodes=61%;90;95;0;100"),
    ),
    ("mail-1", "queue"): Problem(
        26 * MINUTE_S, "WARN",
        lambda lasts_s: (
            f"messages queued {1010 + lasts_s / 9:.0f}, oldest 31 min: 4.7.0 rate limited by"
            f" mx.example.net|messages_queued={1010 + lasts_s / 9:.0f};1000;5000;0"
        ),
    ),
    ("web-3", "certificate"): Problem(
        3 * DAY_S, "WARN",
        _words("certificate of shop.example.com is valid for 18 days, by Example CA R3:"
               " its renewal fails with 403 urn:ietf:params:acme:error:unauthorized"
               "|days=18;21:;7:;0"),
    ),
    ("storage-1", "zpool tank"): Problem(
        2 * DAY_S, "WARN",
        _words("pool tank is DEGRADED, 11 of 12 disks\n"
               "sdh FAULTED 0 read, 214 write, 0 checksum errors: too many errors"),
        ack=("jonas", "the new disk comes on Thursday"),
    ),
    ("cache-2", "evictions"): Problem(
        51 * MINUTE_S, "WARN",
        lambda lasts_s: f"evictions {74 + lasts_s % 40:.0f} /s"
        f"|evictions={74 + lasts_s % 40:.0f};50;200;0",
    ),
    ("app-2", "workers"): Problem(
        13 * MINUTE_S, "UNK", _words("the check took longer than 30 s and was ended"),
    ),
    (MAINTAINED, "http"): Problem(
        8 * MINUTE_S, "FAIL",
        _words("https://shop.example.com/: connection refused"),
    ),
    (MAINTAINED, "nginx"): Problem(
        8 * MINUTE_S, "FAIL", _words("no process nginx runs|processes=0;;1:;0 memory=0MB"),
    ),
}  # fmt: skip


def fleet() -> list[Service]:
    """Return all services, those of a server side by side."""
    return [
        Service(server, name, DEAD_PERIOD_S if server == DEAD_HOST else period_s, check)
        for servers, own in ROLES.values()
        for server in servers
        # The dead host shows up with a few services only, or else it hides all other problems.
        for name, (period_s, check) in {**(BASE if server != DEAD_HOST else {}), **own}.items()
    ]


def reading(service: Service, at: float, began_at: float) -> Reading:
    """Return what a service reports at a time, in a demo that began at another one."""
    key = service.server, service.name
    problem = PROBLEMS.get(key)
    if problem is not None:
        lasts_s = at - began_at + problem.lasts_s
        if lasts_s >= 0:
            return Reading(problem.state, problem.info(lasts_s))
        return _well(service, at)
    if key == FLAPPING and at > began_at - 10 * FLAP_S and int(at / FLAP_S) % 2:
        return Reading("FAIL", "http://127.0.0.1:8080/health: 503 Service Unavailable|time=0.02s")
    return service.reading(at)


def _well(service: Service, at: float) -> Reading:
    """Return the newest good word before: a problem is to begin when it says that it does."""
    found = service.reading(at)
    return found if found.state == "OK" else Reading("OK", "well again")
