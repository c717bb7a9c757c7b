"""One server for each module whose tests do not disturb each other, and a host for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.daemon import Daemon, running
from support.http_client import Client, Host


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("server")) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """Of the server as it runs now: a test may have restarted it."""
    return daemon.client


@pytest.fixture
def host(client: Client, request: pytest.FixtureRequest) -> Host:
    """A name that no other test uses."""
    return Host(client, request.node.nodeid.rpartition("::")[2][:200])
