"""An HTTP server in a thread: keeps what is posted to it, and answers well, badly or never."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class HttpReceiver:
    """Answers by the path: `/redirect`, `/hang`, `/endless`; else with the status given."""

    def __init__(self, status: int = 200) -> None:
        self.posted: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.hung_up = threading.Semaphore(0)
        """Released for each client of `/hang` and `/endless` that has gone."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.paths.append(self.path)
                receiver.posted.append(json.loads(body))
                if self.path.startswith("/redirect"):
                    self.send_response(302)
                    self.send_header("Location", "/elsewhere")
                    self.end_headers()
                elif self.path.startswith("/hang"):
                    self._until_gone(b"")
                elif self.path.startswith("/endless"):
                    self.send_response(500)
                    self.end_headers()
                    self._until_gone(b"x" * 65536)
                else:
                    self.send_response(status)
                    self.end_headers()

            def _until_gone(self, words: bytes) -> None:
                try:
                    if words:
                        while True:
                            self.wfile.write(words)
                    self.rfile.read(1)
                except OSError:
                    pass
                receiver.hung_up.release()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HttpReceiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
