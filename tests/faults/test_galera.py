"""Two servers on a Galera cluster: a short run of the command in galera.py, and who alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.galera import KINDS, torture, two_servers
from support.alert_plugins import Recorder
from support.daemon import eventually
from support.galera import Cluster, need_galera, running_cluster
from support.http_client import STATUS, Host, a_service

HOSTS = 40
SERVICES = 3
PERIOD_S = 3


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[Cluster]:
    need_galera()
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(whole_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with an empty database."""
    whole_cluster.empty()
    yield whole_cluster
    whole_cluster.heal()


def test_each_answered_report_is_stored_once(cluster: Cluster, tmp_path: Path) -> None:
    result = torture(cluster, tmp_path, KINDS, n_writers=4)
    assert result.passed, result.show()


def test_each_alert_is_sent_by_one_server(cluster: Cluster, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    command = f"{tmp_path}/record {tmp_path}/kept"
    with two_servers(cluster, tmp_path, f"[alert:kept]\ncommand={command}\n") as servers:
        for n in range(HOSTS):
            host = Host(servers[n % 2].client, f"host{n}")
            services = [a_service(f"service{m}") for m in range(SERVICES)]
            assert host.send(STATUS, period=PERIOD_S, services=services).status == 200
        # Both watch all services, and a host's are told in one message.
        eventually(lambda: len(recorder.runs()) >= HOSTS, "an alert for each host", 60)
        schema = cluster.schema(cluster.nodes[2])
        eventually(lambda: not schema.rows("select 1 from outbox where status <> 'sent'"), "sent")
        for server in servers:
            assert server.stop() == 0
        told = Counter(message.partition(":")[0] for message in recorder.messages())
        assert told == {f"host{n}": 1 for n in range(HOSTS)}
        raised = schema.rows("select service_id, count(*) from alerts group by service_id")
        assert [count for _, count in raised] == [1] * HOSTS * SERVICES
