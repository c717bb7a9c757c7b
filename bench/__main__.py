"""`python -m bench`: runs the rows one after the other and prints what they found."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from bench import agents, conditions, deadlines, late, pages, posts, reads, results
from bench.databases import FAILURES
from bench.load import ROOT, LoadError, find_generator
from bench.processes import StartError, yardstick
from bench.profiling import ProfileError
from bench.results import Row
from bench.run import Refused, Run

Measure = Callable[[Run, str], Row]

ROWS: dict[str, tuple[Measure, tuple[str, ...]]] = {
    "post1": (posts.post1, ("sqlite", "mariadb")),
    "post50": (posts.post50, ("sqlite", "mariadb")),
    "history": (posts.long_history, ("sqlite",)),
    "watchdog": (deadlines.watchdog, ("sqlite",)),
    "late": (late.late_at_once, ("sqlite", "mariadb")),
    "status10k": (reads.status10k, ("sqlite",)),
    "status100k": (reads.status100k, ("sqlite",)),
    "dashboard10k": (pages.dashboard10k, ("sqlite",)),
    "dashboard100k": (pages.dashboard100k, ("sqlite",)),
    "memory": (reads.memory, ("sqlite",)),
    "agent": (agents.agent, ("sqlite",)),
}
"""The rows, and the databases that each can run on."""

EXPECTED = (
    StartError, LoadError, Refused, ProfileError, OSError, *FAILURES, *pages.FAILURES
)  # fmt: skip
"""What may go wrong in a row without a fault in the harness."""


def main() -> int:
    options = _options()
    # Ended by a signal too, we end what we started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options.cache.mkdir(parents=True, exist_ok=True)
    generator = find_generator(options.connections, options.own_load)
    found = conditions.observe(options.cache, generator)
    for name, value in found.items():
        print(f"{name:<17} {value}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary, yardstick(Path(temporary)) as measure:
        run = Run(
            measure, generator, options.cache.resolve(), options.runs, options.seconds,
            options.services, options.history, options.perfdata, options.profile,
        )  # fmt: skip
        for name in options.only or ROWS:
            for engine in ROWS[name][1]:
                if options.database in ("all", engine):
                    rows.append(_measured(run, name, engine))
    if not rows:
        print(f"\nnone of these rows runs on {options.database}")
        return 2
    if options.json:
        results.write_json(options.json, found, rows)
    return 1 if any(row.fault for row in rows) else 0


def _measured(run: Run, name: str, engine: str) -> Row:
    begun_at = time.monotonic()
    sync_ms = conditions.fdatasync_ms(run.cache)
    try:
        row = ROWS[name][0](run, engine)
    except EXPECTED as e:
        row = Row(name, engine, "not measured", fault=f"{type(e).__name__}: {e}")
    except Exception:
        row = Row(name, engine, "not measured", fault=traceback.format_exc())
    row.notes.append(f"took {time.monotonic() - begun_at:.0f} s, fdatasync {sync_ms:.2f} ms before")
    print(f"\n{results.table(row)}", flush=True)
    return row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=ROWS, metavar="ROW",
        help=f"only this row, again for more: {', '.join(ROWS)}")  # fmt: skip
    parser.add_argument("--database", choices=("sqlite", "mariadb", "all"), default="all",
        help="which database under the server [all: each row on those it is made for]")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
        help="one short run of each row on little data: shows that it works")  # fmt: skip
    parser.add_argument("--runs", type=int, help="alternating runs [3]")
    parser.add_argument("--seconds", type=int, help="length of each run [6]")
    parser.add_argument("--connections", type=int, default=32, help="at once [32]")
    parser.add_argument("--services", type=int, help="of the large rows [100000]")
    parser.add_argument("--history", type=int, help="rows of history [10000000]")
    parser.add_argument("--perfdata", action="store_true", help="infos end in performance data")
    parser.add_argument("--own-load", action="store_true", help="don't use wrk")
    parser.add_argument("--cache", type=Path, default=ROOT / "var/bench", metavar="FOLDER",
        help="for databases, on the disk to be measured; large ones are kept [var/bench]",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--profile", nargs="?", const="gil", choices=("all", "gil"),
        help="sample the server with py-spy [gil: only threads that hold Python's lock]",
    )  # fmt: skip
    options = parser.parse_args()
    runs, seconds, services, history = (1, 1, 2_000, 50_000) if options.quick else (
        3, 6, 100_000, 10_000_000
    )  # fmt: skip
    options.runs = options.runs or runs
    options.seconds = options.seconds or seconds
    options.services = options.services or services
    options.history = options.history or history
    return options


if __name__ == "__main__":
    sys.exit(main())
