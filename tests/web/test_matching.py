"""What a silence would match."""

from __future__ import annotations

import pytest

from overc.daemon.patterns import Patterns
from overc.web.matching import NAMED, by_server, match

ROWS = [("web1", "disk"), ("web1", "http"), ("web2", "disk"), ("db1", "disk"), ("db1", "repl")]


@pytest.mark.parametrize(
    "servers, services, n_services, n_servers, named",
    [
        ("*", "*", 5, 3, ROWS),
        ("web*", "*", 3, 2, ROWS[:3]),
        ("web*, !web2", "disk", 1, 1, ROWS[:1]),
        ("*", "disk", 3, 3, [ROWS[0], ROWS[2], ROWS[3]]),
        ("*", "!disk", 2, 2, [ROWS[1], ROWS[4]]),
        ("mail*", "*", 0, 0, []),
        ("web2", "http", 0, 0, []),
    ],
)
def test_match(
    servers: str, services: str, n_services: int, n_servers: int, named: list[tuple[str, str]]
) -> None:
    found = match(by_server(ROWS), Patterns(servers), Patterns(services))
    assert found == (n_services, n_servers, named)


def test_not_all_are_named() -> None:
    names = by_server((f"web{n}", f"s{m}") for n in range(10) for m in range(10))
    found = match(names, Patterns("*"), Patterns("*"))
    assert (found.n_services, found.n_servers, len(found.named)) == (100, 10, NAMED)
