from __future__ import annotations

from typing import NamedTuple

import pytest

from overc.daemon.alerting import resuming
from overc.daemon.alerting.resuming import Due, Kept
from overc.daemon.alerting.routing import Key, Route, Row, Silence
from overc.daemon.patterns import Patterns

NOW_AT = 1_000_000.0
KEY = Key(5, "state", "mail")
MAIL = Route("mail", remind_s=3600)


class Nightly(NamedTuple):
    begins_at: float
    ends_at: float

    def until(self, now_at: float) -> float | None:
        return self.ends_at if self.begins_at <= now_at < self.ends_at else None


ASLEEP = Nightly(NOW_AT - 9, NOW_AT + 9)


def silence(services: str = "*", ends_at: float = NOW_AT + 60, id_: int = 3) -> Silence:
    return Silence(id_, Patterns("*"), Patterns(services), NOW_AT - 60, ends_at)


def due(*, acked: bool = False) -> Due:
    return Due(KEY, 10, 1, "web1", "disk", acked)


def kept(alert_id: int = 10, key: Key = KEY, raised_s: float = 0, *, acked: bool = False) -> Kept:
    return Kept(alert_id + 100, key, alert_id, 1, "web1", "disk", NOW_AT + raised_s, acked)


def test_a_reminder() -> None:
    reminders = resuming.remind([due()], [MAIL], [silence("cpu")], NOW_AT)
    assert reminders.rows == (Row(10, "mail", 1, 5, "pending", NOW_AT, reminder=True),)
    # The next one is thought of when this one is delivered.
    assert reminders.remind_at == ((KEY, None),)


@pytest.mark.parametrize(
    "one, route, silences, next_s",
    [
        (due(acked=True), MAIL, [], 3600),
        (due(), MAIL, [silence()], 60),
        # A silence may be ended before its time.
        (due(), MAIL, [silence(ends_at=NOW_AT + 9000)], 3600),
        (due(), Route("mail", remind_s=3600, quiet=ASLEEP), [], 9),
        (due(), Route("mail"), [], None),
        (due(), Route("chat", remind_s=3600), [], None),
    ],
)
def test_what_keeps_a_reminder_back(
    one: Due, route: Route, silences: list[Silence], next_s: float | None
) -> None:
    reminders = resuming.remind([one], [route], silences, NOW_AT)
    assert reminders.rows == ()
    next_at = None if next_s is None else NOW_AT + next_s
    assert reminders.remind_at == ((KEY, next_at),)


def test_what_a_silence_kept_back_is_told_at_its_end() -> None:
    other = Key(5, "late", "mail")
    summary = resuming.sum_up(3, [kept(10), kept(11, other)], [MAIL], [], {other}, NOW_AT)
    assert summary.rows == (
        Row(10, "mail", 1, 5, "pending", NOW_AT, 3),
        Row(11, "mail", 1, 5, "pending", NOW_AT, 3),
    )
    # The other one stood before the silence.
    assert (summary.began, summary.again) == (((KEY, 10),), (other,))
    assert summary.moved == ()


@pytest.mark.parametrize(
    "found, route, told",
    [
        # Of several alerts of one problem the newest.
        ([kept(10), kept(12), kept(11)], MAIL, [(12, 0)]),
        ([kept(acked=True)], MAIL, []),
        ([kept()], Route("chat"), []),
        ([kept()], Route("mail", quiet=ASLEEP), [(10, 9)]),
        ([kept(raised_s=-40)], Route("mail", delay_s=60), [(10, 20)]),
        ([kept(raised_s=-80)], Route("mail", delay_s=60), [(10, 0)]),
        ([kept(raised_s=-60)], Route("mail", delay_s=65, quiet=ASLEEP), [(10, 9)]),
    ],
)
def test_what_is_told_of_it(found: list[Kept], route: Route, told: list[tuple[int, float]]) -> None:
    summary = resuming.sum_up(3, found, [route], [], (), NOW_AT)
    assert [(row.alert_id, row.due_at - NOW_AT) for row in summary.rows] == told
    assert [alert_id for _, alert_id in summary.began] == [alert_id for alert_id, _ in told]


def test_what_another_silence_keeps_back_waits_for_its_end() -> None:
    others = [silence("cpu", id_=4), silence("disk", id_=5)]
    summary = resuming.sum_up(3, [kept(10), kept(11)], [MAIL], others, (), NOW_AT)
    assert (summary.rows, summary.began) == ((), ())
    assert summary.moved == ((110, 5), (111, 5))
