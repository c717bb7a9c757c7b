"""Break servers and database nodes of a cluster under load, and count what became of the reports.

    python tests/faults/galera.py --faults 30

Two servers work on two nodes of a Galera cluster of three. Hosts report to the one and to the other
as a balancer would have them, and what got no answer is sent again, maybe elsewhere. Meanwhile now
a server is killed, now a node of the database, and now a node hangs, for so long that the others
go on without it.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from faults.sigkill import Database, Result, Writer, at_work, count, new_writers, wait_for_answers
from support.daemon import Daemon, eventually
from support.galera import Cluster, GaleraNode, running_cluster

KINDS = ("server", "node", "hang")

HANG_S = 9.0
"""At most. After five seconds the others go on without a node."""


class OnCluster(Database):
    """The database as one of the nodes has it, with all that was committed on any of them."""

    def __init__(self, cluster: Cluster, node: GaleraNode) -> None:
        self._schema = cluster.schema(node)

    def rows(self, sql: str) -> list[tuple[str, str, str, int]]:
        with self._schema.connected() as connection, connection.cursor() as cursor:
            cursor.execute("set session wsrep_sync_wait = 1")
            cursor.execute(sql)
            return list(cursor.fetchall())


@contextlib.contextmanager
def two_servers(cluster: Cluster, folder: pathlib.Path, sections: str) -> Iterator[list[Daemon]]:
    """Have a server on each of the first two nodes; both are started at once."""
    servers = []
    with contextlib.ExitStack() as stack:
        for number, node in enumerate(cluster.nodes[:2], 1):
            place = folder / f"server{number}"
            place.mkdir()
            servers.append(cluster.schema(node).serve(Daemon(place, sections=sections)))
            stack.callback(servers[-1].kill)
        for server in servers:
            server.spawn()
        for server in servers:
            server.wait_until_started()
        eventually(lambda: all(map(_is_well, servers)), "all servers have their database")
        yield servers


def _is_well(server: Daemon) -> bool:
    return server.client.request("GET", "/healthz").status == 200


def torture(
    cluster: Cluster,
    folder: pathlib.Path,
    faults: Sequence[str],
    *,
    n_writers: int = 6,
    seed: int = 1,
) -> Result:
    """Run the load and the faults, some of KINDS; return the counts."""
    begun_at = time.monotonic()
    moment = random.Random(seed)
    writers = new_writers(n_writers, seed)
    with two_servers(cluster, folder, "[alert:none]\ncommand=true\n") as servers:
        _balance(writers, servers, moment)
        with at_work(writers):
            for n, kind in enumerate(faults):
                wait_for_answers(writers)
                end = time.monotonic() + moment.uniform(0, 1)
                while time.monotonic() < end:
                    time.sleep(0.05)
                    _balance(writers, servers, moment)
                _break(kind, moment.randrange(2), cluster, servers, writers, moment)
                _balance(writers, servers, moment)
                if sys.stderr.isatty() and __name__ == "__main__":
                    print(f"\r{n + 1} faults", end="", file=sys.stderr)
        for server in servers:
            assert server.stop() == 0
    databases = [OnCluster(cluster, node) for node in cluster.nodes]
    sizes = [one.rows("select count(*), max(id), sum(id) from states") for one in databases]
    assert sizes[1:] == sizes[:-1], f"the nodes differ: {sizes}"
    spent_s = int(time.monotonic() - begun_at)
    return count("galera", "all", len(faults), databases[0], writers, spent_s)


def _balance(writers: Iterable[Writer], servers: Sequence[Daemon], moment: random.Random) -> None:
    for writer in writers:
        writer.port = moment.choice(servers).client.port


def _break(
    kind: str,
    which: int,
    cluster: Cluster,
    servers: Sequence[Daemon],
    writers: Iterable[Writer],
    moment: random.Random,
) -> None:
    """Have a fault, and mend it."""
    server, node = servers[which], cluster.nodes[which]
    if kind == "server":
        server.stop(signal.SIGKILL)
        _balance(writers, [servers[1 - which]], moment)
        time.sleep(moment.uniform(0, 1))
        server.start()
    elif kind == "node":
        node.kill()
        time.sleep(moment.uniform(0, 1))
        node.start()
    else:
        node.pause()
        time.sleep(moment.uniform(0, HANG_S))
        node.resume()
    cluster.heal()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    faults = [KINDS[n % len(KINDS)] for n in range(chosen.faults)]
    with tempfile.TemporaryDirectory(prefix="overc-galera-") as name, running_cluster() as cluster:
        folder = pathlib.Path(name)
        result = torture(cluster, folder, faults, n_writers=chosen.writers, seed=chosen.seed)
    print(result.show())
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
