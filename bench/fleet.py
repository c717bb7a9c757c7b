"""The hosts that report in a measurement: their names, and the bodies they send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

LONG_PERIOD_S = 36_000
"""Nothing falls late while something else is measured."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many servers with so many services each."""

    servers: int
    services_each: int
    perfdata: bool = False
    """Whether infos end in performance data, as those of Nagios plugins do."""
    period_s: int = LONG_PERIOD_S

    @property
    def services(self) -> int:
        return self.servers * self.services_each

    def bodies(self, states: int, count: int, random: Random) -> list[bytes]:
        """Return reports of `states` services each, drawn at random."""
        return [
            self.body(
                random.randrange(self.servers),
                random.sample(range(self.services_each), min(states, self.services_each)),
                random,
            )
            for _ in range(count)
        ]

    def registration(self, states: int, random: Random) -> Iterator[bytes]:
        """Yield reports that name each service once, the servers mixed up."""
        chunks = [
            (server, first)
            for server in range(self.servers)
            for first in range(0, self.services_each, states)
        ]
        random.shuffle(chunks)
        for server, first in chunks:
            yield self.body(server, range(first, min(first + states, self.services_each)), random)

    def body(self, server: int, services: range | list[int], random: Random) -> bytes:
        """Return a report that all is well. It is one line: files hold a body on each."""
        report = {
            "server": {"name": f"host{server:05}.example.com", "key": f"key-of-{server:05}"},
            "period": self.period_s,
            "services": [
                {"name": f"service-{service:04}", "state": "OK", "info": self._info(random)}
                for service in services
            ],
        }
        return json.dumps(report, separators=(",", ":")).encode()

    def _info(self, random: Random) -> str:
        used = random.random()
        info = f"{used:.2f} of 1.00 in use"
        return f"{info}|used={used:.2f};0.8;0.9;0;1" if self.perfdata else info
