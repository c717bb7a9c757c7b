"""A small HTTP client that sends whatever a test wants sent, and a host that reports with it."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

TIMEOUT_S = 30.0

PING = "/api/ping"
STATUS = "/api/set/service/status"
ALERTS = "/api/set/alerts"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> str:
        """The sentence of a refusal, which has to be a whole one."""
        assert self.headers.get_content_type() == "application/json", self.headers
        found = self.json
        assert list(found) == ["error"], found
        assert isinstance(found["error"], str)
        assert found["error"].strip(), found
        return str(found["error"])


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP Basic credentials."""
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def a_service(name: str, state: str = "OK", info: str | None = None, **more: Any) -> Json:
    return {"name": name, "state": state, **({} if info is None else {"info": info}), **more}


class Client:
    """Talks to a server on loopback. `headers` go with each request."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self.port = port
        self.headers = dict(headers or {})

    def connect(self, source_ip: str = "127.0.0.1") -> socket.socket:
        """Return a bare connection, for what http.client would not send."""
        return socket.create_connection(
            ("127.0.0.1", self.port), TIMEOUT_S, source_address=(source_ip, 0)
        )

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | Json | None = None,
        headers: Mapping[str, str] | None = None,
        source_ip: str = "127.0.0.1",
    ) -> Reply:
        """Send one request on a connection of its own. A dict is sent as JSON."""
        if isinstance(body, dict):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, TIMEOUT_S, source_address=(source_ip, 0)
        )
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            found = connection.getresponse()
            return Reply(found.status, found.headers, found.read())
        finally:
            connection.close()

    def exchange(self, sent: bytes) -> bytes:
        """Send raw bytes and return all that comes back until the server ends the connection."""
        with self.connect() as connection:
            connection.sendall(sent)
            return read_all(connection)

    def get(self, path: str) -> Json:
        reply = self.request("GET", path)
        assert reply.status == 200, reply
        found: Json = reply.json
        return found

    def post(self, path: str, body: bytes | str | Json, **more: Any) -> Reply:
        return self.request("POST", path, body, **more)

    def servers(self) -> dict[str, Json]:
        """Return the status of each server by its name."""
        found = self.get("/ui/api/status/")
        return {server["name"]: server for server in found["servers"]}


class Host:
    """One name that reports to a server, and what the server tells of it."""

    def __init__(self, client: Client, name: str, key: str = "1234") -> None:
        self.client = client
        self.name = name
        self.key = key

    @property
    def identity(self) -> Json:
        return {"name": self.name, "key": self.key}

    def send(self, path: str, **more: Any) -> Reply:
        """Post a body that starts with our identity."""
        return self.client.post(path, {"server": self.identity, **more})

    def ping(self) -> Reply:
        return self.send(PING)

    def report(self, *services: Json, period: Any = 60) -> None:
        """Send a status report, which has to be taken."""
        reply = self.send(STATUS, period=period, services=list(services))
        assert (reply.status, reply.json) == (200, {"ok": 1}), reply

    def alert(self, message: str, service: str | None = None) -> None:
        """Send an alert, which has to be taken."""
        sent = {"message": message} if service is None else {"message": message, "service": service}
        reply = self.send(ALERTS, alerts=[sent])
        assert (reply.status, reply.json) == (200, {"ok": 1}), reply

    def is_known(self) -> bool:
        return self.name in self.client.servers()

    def status(self) -> Json:
        return self.client.servers()[self.name]

    def services(self) -> dict[str, Json]:
        """Return the status of each service by its name."""
        return {one["name"]: one for one in self.status()["services"]}

    def state(self, service: str) -> Json:
        found: Json = self.services()[service]["state"]
        return found

    def history(self, service: str, query: str = "") -> list[Json]:
        """Return the states of a service, newest first."""
        path = f"/ui/api/status/service/{self.services()[service]['id']}/states{query}"
        states: list[Json] = self.client.get(path)["states"]
        return states

    def alerts(self) -> list[Json]:
        """Return the alerts of the host and its services, oldest first."""
        found = self.client.get(f"/ui/api/status/alerts/server/{self.status()['id']}")["alerts"]
        return list(reversed(found))


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the peer ends the connection, by a reset too."""
    received = bytearray()
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)


def raw_post(path: str, body: bytes, *headers: str) -> bytes:
    """Return the bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
