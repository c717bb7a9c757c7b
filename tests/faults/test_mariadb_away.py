"""A real server whose MariaDB server hangs, dies, fills up, or refuses."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pymysql
import pytest
from pymysql.constants import ER
from support.daemon import Daemon, eventually
from support.http_client import STATUS, Client, Host, Reply, a_service
from support.mariadb import MariaDb, Schema

HEALED_S = 10.0
"""The promise: healthy again so soon after the database is."""

BOUND_S = 30.0
"""A request is answered within so long, whatever the database does."""


def report(client: Client, info: str = "fine") -> Reply:
    return Host(client, "host").send(STATUS, period=600, services=[a_service("s", info=info)])


def is_healthy(client: Client) -> bool:
    return client.request("GET", "/healthz").status == 200


def check_503(reply: Reply) -> str:
    assert reply.status == 503, reply
    assert int(reply.headers["Retry-After"]) > 0
    return reply.error


def check_healed(daemon: Daemon, since: float) -> None:
    eventually(lambda: is_healthy(daemon.client), "healthy again", HEALED_S)
    assert report(daemon.client, "after").status == 200
    assert time.monotonic() - since < HEALED_S
    assert Host(daemon.client, "host").state("s")["info"] == "after"
    assert daemon.starts == 1
    # Not a traceback for each connection that was lost, but a line.
    for words in ("Rollback failed", "Unhandled", "pymysql.err", "ConnectionLost", "DB API"):
        assert words not in daemon.log(), daemon.log()


def test_a_database_that_hangs(mariadb: MariaDb, daemon: Daemon) -> None:
    daemon.start()
    assert report(daemon.client).status == 200
    mariadb.pause()
    asked: list[Callable[[], Reply]] = [
        lambda: report(daemon.client, "lost"),
        lambda: daemon.client.request("GET", "/healthz"),
        lambda: daemon.client.request("GET", "/ui/api/status/"),
    ] * 3
    begun_at = time.monotonic()
    with ThreadPoolExecutor(len(asked)) as pool:
        replies = list(pool.map(lambda ask: ask(), asked))
    assert [reply.status for reply in replies] == [503] * len(asked)
    assert time.monotonic() - begun_at < BOUND_S
    mariadb.resume()
    check_healed(daemon, time.monotonic())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_database_that_is_started_anew(mariadb: MariaDb, daemon: Daemon, number: int) -> None:
    daemon.start()
    assert report(daemon.client).status == 200
    mariadb.stop(number)
    mariadb.start()
    # The connections of before are dead, and nobody hears of it.
    assert is_healthy(daemon.client)
    assert report(daemon.client, "after").status == 200
    mariadb.stop(number)
    assert "Unable to store a report" in check_503(report(daemon.client))
    assert daemon.client.request("GET", "/healthz").status == 503
    assert daemon.said("no connection to the database mysql://")
    mariadb.start()
    check_healed(daemon, time.monotonic())
    eventually(lambda: daemon.said("answers again"))


def test_a_database_that_is_away_at_the_start(mariadb: MariaDb, daemon: Daemon) -> None:
    mariadb.stop()
    daemon.start()
    assert daemon.said("can't be opened: Can't connect to MySQL server")
    assert daemon.said("the next try is in 2 s")
    check_503(report(daemon.client))
    health = daemon.client.request("GET", "/healthz")
    assert health.status == 503
    assert "connection" in health.json["database"]
    mariadb.start()
    check_healed(daemon, time.monotonic())


def test_a_database_that_hangs_at_the_start(mariadb: MariaDb, daemon: Daemon) -> None:
    mariadb.pause()
    daemon.start()
    assert daemon.said("can't be opened")
    check_503(report(daemon.client))
    mariadb.resume()
    check_healed(daemon, time.monotonic())


def test_a_database_that_is_only_read(mariadb: MariaDb, daemon: Daemon) -> None:
    daemon.start()
    assert report(daemon.client).status == 200
    mariadb.admin("set global read_only = 1")
    try:
        assert "read-only" in check_503(report(daemon.client, "lost"))
        # Reads go on.
        assert Host(daemon.client, "host").state("s")["info"] == "fine"
    finally:
        mariadb.admin("set global read_only = 0")
    check_healed(daemon, time.monotonic())


def test_too_many_connections(mariadb: MariaDb, schema: Schema, daemon: Daemon) -> None:
    daemon.start()
    assert report(daemon.client).status == 200
    with contextlib.ExitStack() as others:
        taken: set[int] = set()

        def refused() -> bool:
            # The server's own connections end, and others take their places.
            for (id_,) in mariadb.admin(
                f"select id from information_schema.processlist where user = '{schema.user}'"
            ):
                if id_ not in taken:
                    with contextlib.suppress(pymysql.err.OperationalError):
                        mariadb.admin(f"kill {id_}")
            take_all(schema, others, taken)
            reply = report(daemon.client, "lost")
            return reply.status == 503 and "Too many connections" in check_503(reply)

        eventually(refused, "there is no connection left")
    check_healed(daemon, time.monotonic())


def take_all(schema: Schema, others: contextlib.ExitStack, taken: set[int]) -> None:
    while True:
        try:
            taken.add(others.enter_context(schema.connected()).thread_id())
        except pymysql.err.OperationalError as e:
            if e.args[0] != ER.CON_COUNT_ERROR:
                raise
            return


WRONG: list[tuple[str, Callable[[Schema], object], str]] = [
    (
        "password",
        lambda schema: schema.server.admin(
            f"alter user {schema.user}@127.0.0.1 identified by 'other'"
        ),
        "Access denied for user",
    ),
    (
        "database",
        lambda schema: schema.server.admin(f"drop database {schema.name}"),
        "Unknown database",
    ),
    (
        "rights",
        lambda schema: schema.server.admin(
            f"revoke all on {schema.name}.* from {schema.user}@127.0.0.1"
        ),
        "Access denied for user",
    ),
    (
        "some rights",
        lambda schema: schema.server.admin(
            f"revoke create on {schema.name}.* from {schema.user}@127.0.0.1"
        ),
        "CREATE command denied",
    ),
]


@pytest.mark.parametrize(
    ("change", "sentence"), [one[1:] for one in WRONG], ids=[w[0] for w in WRONG]
)
def test_what_will_not_pass_by_itself_ends_the_start(
    schema: Schema, daemon: Daemon, change: Callable[[Schema], object], sentence: str
) -> None:
    change(schema)
    daemon.spawn()
    assert daemon.child.wait() == 1
    assert f"overc: the database mysql://{schema.user}@127.0.0.1" in daemon.log()
    assert sentence in daemon.log()
    assert "Traceback" not in daemon.log()
    assert schema.password not in daemon.log()
