"""A private Galera cluster: MariaDB servers that share every commit, on free ports of loopback."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence

import pytest
from support.daemon import eventually
from support.mariadb import MariaDb, Schema, need_mariadb

PROVIDER = ("/usr/lib/galera/libgalera_smm.so", "galera-4")

PORTS_EACH = 2
"""A node listens for the others, and for what it has missed."""

TRANSFER = """#!/bin/sh
# Called by both sides when a node joins. The nodes begin with the same files and keep what they
# write, so none of them ever needs a copy of another one's files, only the latest transactions,
# which the provider sends by itself. What is left to do is to tell the joiner where it stands.
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2; shift ;;
        --address) address=$2; shift ;;
        --datadir) folder=$2; shift ;;
        --gtid) position=$2; shift ;;
        --gtid-domain-id) domain=$2; shift ;;
        --bypass) bypass=yes ;;
    esac
    shift
done
if [ "$role" = joiner ]; then
    rm -f "$folder/position"
    echo "ready $folder/position"
    until [ -s "$folder/position" ]; do sleep 0.05; done
    cat "$folder/position"
elif [ "${bypass:-}" = yes ]; then
    echo continue
    echo "$position $domain" >"$address.new"
    mv "$address.new" "$address"
    echo "done $position"
else
    exit 1
fi
"""


def need_galera() -> None:
    """Skip the test where there is no Galera; with CI set that is a failure."""
    need_mariadb()
    path, package = PROVIDER
    if not os.path.exists(path):
        reason = f"{path} is missing: install the Debian package {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class GaleraNode(MariaDb):
    """One server of a cluster."""

    def __init__(self, number: int, files: pathlib.Path | None = None) -> None:
        """`files`: of the node that was first, which has ended well."""
        self._number = number
        super().__init__(files)
        for name in ("galera.cache", "gvwstate.dat"):
            (self.data / name).unlink(missing_ok=True)
        scripts = self.folder / "bin"
        scripts.mkdir()
        script = scripts / "wsrep_sst_position"
        script.write_text(TRANSFER)
        script.chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
        # Their sockets must not be anybody's connection by the time they are needed.
        self._ports = _free_ports(PORTS_EACH)
        self.peers: Sequence[GaleraNode] = ()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._ports[0]}"

    def start(self, *settings: str) -> GaleraNode:
        """Join those that run, as the node that was here before; return when all was caught up."""
        super().start(*self._cluster_settings(), *self._position(), *settings)
        return self

    def begin(self) -> GaleraNode:
        """Start as the first one of a cluster."""
        return self.start("--wsrep-new-cluster")

    def _answers(self) -> bool:
        if not super()._answers():
            return False
        return ("Synced",) in self.admin(
            "select variable_value from information_schema.global_status"
            " where variable_name = 'wsrep_local_state_comment'"
        )

    def _cluster_settings(self) -> list[str]:
        first, second = self._ports
        peers = ",".join(node.address for node in self.peers)
        return [
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={PROVIDER[0]}",
            "--wsrep-cluster-name=overc",
            f"--wsrep-cluster-address=gcomm://{peers}",
            f"--wsrep-node-name=node{self._number}",
            f"--wsrep-node-address={self.address}",
            f"--wsrep-provider-options=base_port={first};ist.recv_addr=127.0.0.1:{second};"
            "gcache.size=64M",
            "--wsrep-sst-method=position",
        ]

    def _position(self) -> list[str]:
        """Return from where it goes on after it was killed; its last words can't tell."""
        state = self.data / "grastate.dat"
        if not state.exists() or not re.search(r"seqno:\s*-1\b", state.read_text()):
            return []
        command = self._command(*self._cluster_settings(), "--wsrep-recover")
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )
        found = re.search(r"Recovered position: *(\S+:\d+)", done.stdout + done.stderr)
        assert found is not None, done.stdout + done.stderr
        return [f"--wsrep-start-position={found[1]}"]


class Cluster:
    """Nodes that were started one after the other, each with the same database."""

    def __init__(self, size: int) -> None:
        first = GaleraNode(1)
        self.nodes = [first]
        try:
            first.begin()
            self._schema = first.schema()
            first.stop()
            self.nodes += [GaleraNode(number, first.data) for number in range(2, size + 1)]
            for node in self.nodes:
                node.peers = self.nodes
            first.begin()
            for node in self.nodes[1:]:
                node.start()
        except BaseException:
            self.close()
            raise

    def schema(self, node: GaleraNode) -> Schema:
        """Return the database as a node offers it."""
        return Schema(node, self._schema.name, self._schema.user, self._schema.password)

    def empty(self) -> None:
        name = self._schema.name
        self.nodes[0].admin(f"drop database {name}")
        self.nodes[0].admin(f"create database {name}")

    def heal(self) -> None:
        """Wait until all nodes are one cluster again."""
        for node in self.nodes:
            node.heal()
        eventually(self._is_whole, "all nodes are one cluster", 120)

    def _is_whole(self) -> bool:
        return all(_size(node) == len(self.nodes) for node in self.nodes)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def _size(node: GaleraNode) -> int:
    found = dict(node.admin("show status like 'wsrep_cluster_%'"))
    return int(found["wsrep_cluster_size"]) if found["wsrep_cluster_status"] == "Primary" else 0


@contextlib.contextmanager
def running_cluster(size: int = 3) -> Iterator[Cluster]:
    """Run a cluster. Of three nodes one may be away, and the others go on."""
    cluster = Cluster(size)
    try:
        yield cluster
    finally:
        cluster.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
