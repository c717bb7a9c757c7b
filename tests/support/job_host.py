"""A machine whose jobs report to a server that records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fake_server import FakeServer

from overc.job_files import JobFiles

PATIENCE_S = 60
DAILY = ["--service", "backup", "--period", "1d"]
CLEAN_ENV = {name: value for name, value in os.environ.items() if not name.startswith("OVERC_")}


class Host:
    """A machine with a state folder of its own."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self.folder = folder
        self.url = server.url
        self.server = server
        self.environ = {**CLEAN_ENV, "STATE_DIRECTORY": str(folder / "state")}
        self.files = JobFiles(str(folder / "state"), "web1")

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "overc.cli", "-s", self.url, "-i", "web1:k3y", "run", *args]

    def run(self, *args: str, environ: Mapping[str, str] | None = None) -> Any:
        return subprocess.run(
            self.command(*args),
            env={**self.environ, **(environ or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def reports(self) -> list[dict[str, Any]]:
        """Return the services of each request, with the fields of the whole request."""
        found = []
        for request in self.server.requests:
            assert request.path == "/api/set/service/status"
            content = request.json
            assert content["server"] == {"name": "web1", "key": "k3y"}
            [service] = content["services"]
            found.append({**content, **service})
        return found
