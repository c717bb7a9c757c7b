"""A server that records what it is sent, and answers as it is told, byte for byte."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def reply(status: int, body: str | bytes | dict[str, Any], **headers: str) -> bytes:
    """Return the bytes of a whole reply."""
    if isinstance(body, dict):
        body = json.dumps(body)
    content = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} Said So", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class FakeServer(ThreadingHTTPServer):
    """Answers every request with `answer`; pieces of it are sent `pause_s` apart.

    With `silent`, it answers nothing until the test is over.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.answer: Iterable[bytes] = [reply(200, {"ok": 1, "pong": 1})]
        self.pause_s = 0.0
        self.silent = False
        self.over = threading.Event()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: many a client here goes away early."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.requests.append(Request(self.command, self.path, self.headers, body))
        if self.server.silent:
            self.server.over.wait()
            return
        for piece in self.server.answer:
            self.wfile.write(piece)
            if self.server.pause_s and self.server.over.wait(self.server.pause_s):
                return

    do_GET = do_DELETE = do_POST

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep the tests quiet."""


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[FakeServer]:
    """Run a server on a port of its own, in a thread."""
    server = FakeServer()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
