"""What the tests of acks, silences and explanations share."""

from __future__ import annotations

import json
from typing import Any

from support_daemon import WALL_AT, Reply, rows
from web.doubles import Fixture

from overc.web.shapes import utc

HOUR_S = 3600
NOW = utc(WALL_AT)
WHICH = 'say which service: "service_id", or "server" and "service" by name'


class Always:
    """A window of maintenance that is open, or is not."""

    def __init__(self, until_at: float | None) -> None:
        self.until_at = until_at

    def until(self, now_at: float) -> float | None:
        return self.until_at

    def begun_at(self, now_at: float) -> float | None:
        return None if self.until_at is None else now_at


def send(web: Fixture, method: str, path: str, content: Any, **headers: str) -> Reply:
    return web.ask(method, path, json.dumps(content).encode(), headers)


def asked(web: Fixture, method: str, path: str, content: Any = None) -> Any:
    """Return the JSON of an answer that has to be a good one."""
    answer = web.ask(method, path, b"" if content is None else json.dumps(content).encode())
    assert answer.code == 200, answer.body
    return answer.json


def refused(answer: Reply) -> tuple[int, str]:
    return answer.code, answer.error


def silences(web: Fixture) -> list[tuple[Any, ...]]:
    return rows(
        web.path, "select servers, services, author, reason, starts_at, ends_at from silences"
    )
