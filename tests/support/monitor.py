"""A real server for the pages in a browser: what is reported to it, where its pages are."""

from __future__ import annotations

import signal
from typing import Any

from support.daemon import Daemon
from support.http_client import STATUS, Client, Json, a_service

KEY = "1234"


class Monitor:
    """A running server. It can be stopped, and started again on the same data and port."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.port = daemon.client.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def client(self) -> Client:
        return self.daemon.client

    def report(
        self,
        server: str,
        service: str,
        state: str = "OK",
        info: str = "",
        period: float = 3600,
        **more: Any,
    ) -> None:
        """Report one state, which has to be taken. `more`: other fields of the service."""
        self.reports([(server, a_service(service, state, info, period=period, **more))])

    def reports(self, states: list[tuple[str, Json]]) -> None:
        """Report many states, (server, service) each: one request for each server."""
        services: dict[str, list[Json]] = {}
        for server, service in states:
            services.setdefault(server, []).append(service)
        for server, of_server in services.items():
            self.post(STATUS, {**_identity(server), "period": 3600, "services": of_server})

    def alert(self, server: str, message: str, service: str | None = None) -> None:
        sent = {"message": message} if service is None else {"message": message, "service": service}
        self.post("/api/set/alerts", {**_identity(server), "alerts": [sent]})

    def post(self, path: str, body: Json) -> Json:
        """Send a request, which has to be taken; return the reply."""
        reply = self.client.post(path, body)
        assert reply.status == 200, (reply.status, reply.text)
        found: Json = reply.json
        return found

    def get_json(self, path: str) -> Json:
        return self.client.get(path)

    def server_id(self, server: str) -> int:
        return int(self.client.servers()[server]["id"])

    def service_id(self, server: str, service: str) -> int:
        services = self.client.servers()[server]["services"]
        return int(next(one["id"] for one in services if one["name"] == service))

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server, as a restart or a crash (SIGKILL) would."""
        status = self.daemon.stop(number)
        assert status in (0, -number), self.daemon.log()

    def start(self) -> None:
        """Start it again on the same data and port, so that open pages find it."""
        config = self.daemon.config.read_text(encoding="utf-8")
        config = config.replace("listen=tcp:0:", f"listen=tcp:{self.port}:")
        self.daemon.config.write_text(config, encoding="utf-8")
        self.daemon.start()


def _identity(server: str) -> Json:
    return {"server": {"name": server, "key": KEY}}
