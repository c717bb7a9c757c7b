"""A load generator for machines without wrk: keep-alive connections, one request at a time.

`python -m bench.load_generator URL CONNECTIONS SECONDS BODIES SEED RATE` prints one line of JSON,
as bench/post.lua does. Two processes share the connections: one is slower than a fast server.
"""

from __future__ import annotations

import heapq
import json
import multiprocessing
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

PROCESSES = 2
ANSWER_LIMIT_S = 10.0


@dataclass(slots=True)
class Outcome:
    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0
    duration_s: float = 0.0


class Connection:
    """A connection with at most one request under way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), ANSWER_LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Return the status once an answer is complete. Raises ConnectionError when it ended."""
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._received += piece
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        lines = head.lower().split(b"\r\n")
        lengths = [line[15:] for line in lines if line.startswith(b"content-length:")]
        if len(body) < int(lengths[0] if lengths else 0):
            return None
        self._received = b""
        return int(lines[0].split()[1])


def run(
    host: str, port: int, requests: list[bytes], connections: int, duration_s: float,
    rate_per_s: float, seed: int,
) -> Outcome:  # fmt: skip
    """Keep connections busy, or at a rate, until the time is over."""
    random, outcome = Random(seed), Outcome()
    selector = selectors.DefaultSelector()
    resting: list[tuple[float, int, Connection]] = []
    started_at = time.perf_counter()
    ends_at, next_at = started_at + duration_s, started_at
    interval_s = 1 / rate_per_s if rate_per_s else 0.0
    for number in range(connections):
        connection = Connection(host, port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        next_at += interval_s
        resting.append((next_at if interval_s else started_at, number, connection))
    heapq.heapify(resting)
    order = connections
    while (now := time.perf_counter()) < ends_at:
        while resting and resting[0][0] <= now:
            heapq.heappop(resting)[2].send(random.choice(requests))
        wait_s = (resting[0][0] if resting else ends_at) - time.perf_counter()
        for key, _ in selector.select(max(0.0, min(wait_s, ends_at - now))):
            connection = key.data
            try:
                status = connection.receive()
            except OSError:
                outcome.broken += 1
                selector.unregister(connection.socket)
                connection.socket.close()
                continue
            if status is None:
                continue
            at = time.perf_counter()
            if status == 200:
                outcome.latencies_s.append(at - connection.sent_at)
            else:
                outcome.refused += 1
            if interval_s:
                next_at = max(next_at, at - 1) + interval_s
                order += 1
                heapq.heappush(resting, (next_at, order, connection))
            else:
                connection.send(random.choice(requests))
    outcome.duration_s = time.perf_counter() - started_at
    return outcome


def summarize(outcomes: list[Outcome]) -> dict[str, float]:
    latencies = sorted(one for outcome in outcomes for one in outcome.latencies_s) or [0.0]
    return {
        "requests": sum(len(outcome.latencies_s) for outcome in outcomes),
        "duration_s": max(outcome.duration_s for outcome in outcomes),
        "refused": sum(outcome.refused for outcome in outcomes),
        "broken": sum(outcome.broken for outcome in outcomes),
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
        "max_ms": 1000 * latencies[-1],
    }


def main() -> None:
    url, connections, duration_s, path, seed, rate_per_s = sys.argv[1:]
    target = urlsplit(url)
    assert target.hostname is not None
    assert target.port is not None
    requests = [
        f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/json\r\n\r\n".encode()
        + body
        for body in Path(path).read_bytes().splitlines()
    ]
    shares = [
        (
            target.hostname, target.port, requests, int(connections) // PROCESSES,
            float(duration_s), float(rate_per_s) / PROCESSES, int(seed) * PROCESSES + number,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    with multiprocessing.Pool(PROCESSES) as pool:
        print(json.dumps(summarize(pool.starmap(run, shares))))


if __name__ == "__main__":
    main()
