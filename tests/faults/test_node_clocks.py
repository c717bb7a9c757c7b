"""Two real servers on one database, on machines whose clocks are apart."""

from __future__ import annotations

import glob
import signal
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, eventually
from support.http_client import STATUS, Host, a_service
from support.mariadb import Schema

FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None)
APART_S = 60
PERIOD_S = 3


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is missing: apt-get install faketime")
def test_a_clock_that_is_wrong_makes_no_false_alert(schema: Schema, tmp_path: Path) -> None:
    servers = []
    for name in ("right", "ahead"):
        (tmp_path / name).mkdir()
        servers.append(schema.serve(Daemon(tmp_path / name)))
    right, ahead = servers
    ahead.environ |= {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": f"+{APART_S}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    def events() -> list[str]:
        return [event for (event,) in schema.rows("select event from alerts order by id")]

    with right, ahead:
        host = Host(right.client, "web1")

        def reports() -> bool:
            return host.send(STATUS, period=PERIOD_S, services=[a_service("s")]).status == 200

        # As seen by the one that is ahead each report was late before it came.
        since = time.monotonic()
        eventually(
            lambda: reports() and time.monotonic() - since > 2 * PERIOD_S,
            "reports of two periods",
        )
        eventually(lambda: reports() and ahead.said("s behind ours"), "it knows")
        assert right.said("s ahead of ours")
        assert events() == []
        # The other one is gone, and so is the host. Where the one that is ahead has granted the
        # first period, it looks only when the other one has been silent for long enough.
        right.stop(signal.SIGKILL)
        eventually(lambda: events() == ["offline"], "the silence is found")
        eventually(lambda: ahead.said("all periods start anew"), "it counts by its own clock")
        assert events() == ["offline"]
        assert ahead.stop() == 0
