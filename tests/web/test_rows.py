"""Where alerts went, and who takes care of services, in words."""

from __future__ import annotations

from typing import Any

import pytest
from web.page_doubles import NOW_AT, delivery, server, service, state, status

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.alerting.keeping import Keepers
from overc.daemon.store.explain import AckFacts
from overc.daemon.store.kept_back import SilenceRow
from overc.web.glance import Glance
from overc.web.rows import Way, service_rows, troubled_first, ways

AT = "2026-03-01 09:00:01.500000"
DUE = "2026-03-01 09:00:00.500000"
LATER = "2026-03-01 11:00:00.000000"
UNTRIED: dict[str, Any] = {"tries": 0, "tried_at": None, "outcome": None}


@pytest.mark.parametrize(
    "one, way",
    [
        (delivery(), Way("sent", "mail", "sent", AT)),
        (delivery(tries=3), Way("sent", "mail", "sent", AT, ", try 3")),
        (
            delivery(reminders=1, reminded_at=LATER),
            Way("sent", "mail", "sent", AT, reminded="reminded, ", reminded_at=LATER),
        ),
        (
            delivery(reminders=1200, reminded_at=LATER),
            Way(
                "sent", "mail", "sent", AT,
                reminded="reminded 1,200 times, last ", reminded_at=LATER,
            ),
        ),
        (delivery(status="pending", **UNTRIED), Way("waits", "mail", "waits for its turn")),
        (
            delivery(status="pending", **{**UNTRIED, "due_at": LATER}),
            Way("waits", "mail", "waits until", LATER),
        ),
        (
            delivery(status="pending", outcome="no route"),
            Way("retry", "mail", "failed, waits for try 2", said="no route"),
        ),
        (
            delivery(status="pending", tries=4, due_at=LATER, outcome="no route"),
            Way("retry", "mail", "failed, try 5 at", LATER, said="no route"),
        ),
        (
            delivery(status="undelivered", outcome="no route"),
            Way("undelivered", "mail", "undelivered", AT, said="no route"),
        ),
        (
            delivery(status="undelivered", tries=9, reminder=True),
            Way(
                "undelivered", "mail", "reminder undelivered", AT,
                ", given up after 9 tries", said="queued",
            ),
        ),
        (
            delivery(status="undelivered", **UNTRIED),
            Way(
                "undelivered", "mail", "undelivered",
                said="its time was over before it was tried",
            ),
        ),
        (
            delivery(status="undelivered", **{**UNTRIED, "outcome": "not configured any more"}),
            Way("undelivered", "mail", "undelivered", said="not configured any more"),
        ),
        # Of the versions before.
        (
            delivery(status="failed", outcome="exit status 1"),
            Way("undelivered", "mail", "undelivered", AT, said="exit status 1"),
        ),
        (
            delivery(status="silenced", **{**UNTRIED, "silence_id": 7}),
            Way("silenced", "mail", "kept back by", silence_id=7),
        ),
        (
            delivery(status="silenced", **UNTRIED),
            Way("silenced", "mail", "kept back by maintenance"),
        ),
        (
            delivery(status="cancelled", **{**UNTRIED, "outcome": "over before it was due"}),
            Way("cancelled", "mail", "not sent", said="over before it was due"),
        ),
        (
            delivery(status="cancelled", **UNTRIED),
            Way("cancelled", "mail", "not sent", said="not needed any more"),
        ),
    ],
)  # fmt: skip
def test_ways(one: dict[str, Any], way: Way) -> None:
    assert ways([one], NOW_AT) == [way]


def test_what_is_due_at_this_moment_waits_for_its_turn() -> None:
    one = delivery(status="pending", **{**UNTRIED, "due_at": "2026-03-01 10:00:00.000000"})
    assert [way.words for way in ways([one], NOW_AT)] == ["waits for its turn"]
    assert [way.words for way in ways([one], NOW_AT - 1)] == ["waits until"]


def a_silence(id_: int, services: str, ends_at: float) -> SilenceRow:
    return SilenceRow(id_, "web*", services, "ann", "disks", NOW_AT, NOW_AT, ends_at)


def test_who_takes_care() -> None:
    silences = [a_silence(1, "disk", NOW_AT + 60), a_silence(2, "*", NOW_AT + 30)]
    ack = AckFacts("bob", "on it", NOW_AT)
    glance = Glance({11: ack}, Keepers(silences))
    one = server(1, "web1", service(11, "disk", None), service(12, "cpu", None))
    two = server(2, "db1", service(21, "disk", None))
    rows = list(service_rows(status(one, two), glance, NOW_AT))
    assert [row.ack for row in rows] == [ack, None, None]
    assert [row.silence for row in rows] == [
        # The one that ends last.
        KeepsBack("silence 1", NOW_AT + 60, "ann", "disks"),
        KeepsBack("silence 2", NOW_AT + 30, "ann", "disks"),
        None,
    ]
    assert [row.care for row in rows] == ["acknowledged, silenced", "silenced", ""]


def test_what_is_taken_care_of_comes_after_all_other_problems() -> None:
    glance = Glance({1: AckFacts("bob", "on it", NOW_AT), 4: AckFacts("bob", "x", NOW_AT)})
    words = ["FAIL", "WARN", "FAIL", "OK", "OK"]
    services = [service(id_, "s", state(word)) for id_, word in enumerate(words, start=1)]
    rows = service_rows(status(server(1, "a", *services)), glance, NOW_AT)
    assert [row.id for row in troubled_first(rows)] == [3, 2, 1, 4, 5]
