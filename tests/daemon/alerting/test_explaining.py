from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from overc.daemon.alerting.explaining import KeepsBack, explain, pieces, sentences
from overc.daemon.store.explain import (
    AckFacts,
    AlertFacts,
    AttemptFacts,
    DeliveryFacts,
    Facts,
    ServiceFacts,
    StandingFacts,
)
from overc.model import Memory, State

UTC = timezone.utc
STEADY_AT = 500_000.0


def at(time: str, day: int = 10) -> float:
    if time.count(":") == 1:
        time += ":00"
    return datetime.fromisoformat(f"2026-03-{day:02}T{time}+00:00").timestamp()


NOW = at("03:20")


def a_service(**more: Any) -> ServiceFacts:
    """A backup that reported 01:10 yesterday, and promised to do so each day."""
    known = ServiceFacts(
        id=1, name="backup", server_id=1, server="web1", period_s=86400, grace_s=7200.0,
        due_at=None, deadline_at=None, timed_out=False, state="OK", since_at=at("01:00", 1),
        info="4 GB", received_at=at("01:10", 9),
    )  # fmt: skip
    return known._replace(**more)


LATE = a_service(timed_out=True, memory=Memory(late_at=at("03:10")))
WELL = a_service(deadline_at=STEADY_AT + 600, info="", received_at=at("02:50"))


def an_alert(*deliveries: DeliveryFacts, **more: Any) -> AlertFacts:
    """The service is late since 03:10."""
    alert = AlertFacts(
        7, at("03:11"), "plugin", "offline", "FAIL", "Monitoring plugin offline", "problem",
        "late", at("03:10"),
    )  # fmt: skip
    return alert._replace(deliveries=deliveries, **more)


def a_row(plugin: str, status: str, *tried: tuple[str, bool, str], **more: Any) -> DeliveryFacts:
    attempts = tuple(AttemptFacts(at(time), 0.5, good, words) for time, good, words in tried)
    row = DeliveryFacts(
        1, 7, plugin, status, at("03:10"), len(attempts), False, None, None, None, attempts
    )
    return row._replace(**more)


MAIL = a_row("mail", "sent", ("03:10", True, ""))
CHAT = a_row(
    "chat", "pending", *[(time, False, "") for time in ("03:10", "03:11", "03:14")],
    due_at=at("03:26"),
)  # fmt: skip


def said(
    service: ServiceFacts,
    *alerts: AlertFacts,
    standing: tuple[StandingFacts, ...] = (),
    ack: AckFacts | None = None,
    keeps_back: tuple[KeepsBack, ...] = (),
) -> list[str]:
    why = explain(Facts(service, alerts, standing, ack), NOW, STEADY_AT, keeps_back)
    return sentences(why, NOW, UTC)


@pytest.mark.parametrize(
    "service, words",
    [
        (LATE, "LATE since 03:10 (1d + grace 2h, last report 01:10 yesterday)."),
        (
            LATE._replace(grace_s=0.0, state="FAIL", info="disk  full\n"),
            "LATE since 03:10 (1d, last report 01:10 yesterday)."
            " Before, FAIL since 2026-03-01 01:00: disk full.",
        ),
        (
            LATE._replace(due_at=at("01:00")),
            "LATE since 03:10 (due 01:00 by its calendar + grace 2h, last report 01:10 yesterday).",
        ),
        (
            WELL,
            "OK since 2026-03-01 01:00. Last report 02:50; the next one is awaited until 03:30"
            " (1d + grace 2h).",
        ),
        (
            WELL._replace(period_s=10, grace_s=0.0, since_at=at("03:19:58"), info="fine."),
            "OK since 03:19:58: fine. Last report 02:50:00; the next one is awaited until 03:30:00"
            " (10s).",
        ),
        (
            WELL._replace(due_at=at("03:30"), grace_s=0.0, since_at=None),
            "OK. Last report 02:50; the next one is awaited until 03:30"
            " (due 03:30 by its calendar).",
        ),
        (
            WELL._replace(deadline_at=None),
            "OK since 2026-03-01 01:00. Last report 02:50; no further one is awaited.",
        ),
        (WELL._replace(received_at=None, deadline_at=None), "OK since 2026-03-01 01:00."),
        (
            WELL._replace(received_at=None),
            "OK since 2026-03-01 01:00. The next one is awaited until 03:30 (1d + grace 2h).",
        ),
        (WELL._replace(state=None), "No state was ever reported, only alerts: it can't be late."),
        (
            WELL._replace(info="x" * 201, deadline_at=None),
            f"OK since 2026-03-01 01:00: {'x' * 200}..."
            " Last report 02:50; no further one is awaited.",
        ),
    ],
)
def test_the_state_and_the_promise(service: ServiceFacts, words: str) -> None:
    assert said(service, an_alert(MAIL))[0] == words


@pytest.mark.parametrize(
    "state, memory, words",
    [
        ("OK", Memory(), None),
        ("FAIL", None, None),
        ("FAIL", Memory(told=State.FAIL), None),
        ("FAIL", Memory(bad=1), "1 bad report is not told yet."),
        ("FAIL", Memory(bad=2), "2 bad reports in a row are not told yet."),
        ("WARN", Memory(), "WARN is no problem by its rules."),
        (
            "OK",
            Memory(flapping=True, bad=1),
            "It is flapping: its changes are not told one by one.",
        ),
        (None, Memory(told=None), None),
    ],
)
def test_why_nobody_was_told_of_a_state(
    state: str | None, memory: Memory | None, words: str | None
) -> None:
    first = said(WELL._replace(state=state, memory=memory), an_alert(MAIL))[0]
    if words is None:
        assert first.endswith(("(1d + grace 2h).", "it can't be late."))
    else:
        assert first.endswith(f"(1d + grace 2h). {words}")


def test_nobody_knows_any_more_since_when_it_is_late() -> None:
    assert said(LATE._replace(memory=None)) == [
        "LATE (1d + grace 2h, last report 01:10 yesterday).",
        "No alert was raised. Not silenced.",
    ]


@pytest.mark.parametrize(
    "row, words",
    [
        (MAIL, "mail 03:10 sent"),
        (a_row("mail", "sent", tried_at=at("03:11"), outcome="ok"), "mail 03:11 sent"),
        (a_row("mail", "sent"), "mail sent"),
        (
            a_row("mail", "sent", ("03:10", False, "no"), ("03:12", True, "")),
            "mail 03:12 sent at try 2",
        ),
        (CHAT, "chat 03:10 failed, try 4 at 03:26"),
        (
            a_row("chat", "pending", ("03:10", False, "exit status 1:\n no route")),
            "chat 03:10 failed (exit status 1: no route), try 2 at 03:20",
        ),
        (a_row("chat", "pending"), "chat waits for its turn"),
        (a_row("chat", "pending", due_at=at("06:00")), "chat at 06:00"),
        (
            a_row("chat", "undelivered", ("03:10", False, "a"), ("03:12", False, "b")),
            "chat 03:10 failed (b), given up after 2 tries",
        ),
        (a_row("chat", "undelivered", outcome="gone"), "chat failed (gone), given up"),
        (
            a_row("chat", "failed", tried_at=at("03:10"), outcome="exit status 2"),
            "chat 03:10 failed (exit status 2), given up",
        ),
        (
            a_row("chat", "cancelled", outcome="over before it was due"),
            "chat not told: over before it was due",
        ),
        (a_row("chat", "cancelled"), "chat not told: not needed any more"),
        (a_row("chat", "silenced", silence_id=3), "chat kept back by silence 3"),
        (a_row("chat", "silenced"), "chat kept back by maintenance"),
    ],
)
def test_a_delivery(row: DeliveryFacts, words: str) -> None:
    assert said(LATE, an_alert(row))[1] == f"Alerted: {words}. Not silenced."


def test_several_deliveries_as_a_person_reads_them() -> None:
    assert said(LATE, an_alert(MAIL, CHAT)) == [
        "LATE since 03:10 (1d + grace 2h, last report 01:10 yesterday).",
        "Alerted: mail 03:10 sent; chat 03:10 failed, try 4 at 03:26. Not silenced.",
    ]


def test_no_channel_takes_it() -> None:
    assert said(LATE, an_alert())[1] == "Alert raised 03:11: no channel takes it. Not silenced."


def standing(told: str | None = "03:10", remind: str | None = "04:10") -> StandingFacts:
    told_at, remind_at = (None if time is None else at(time) for time in (told, remind))
    return StandingFacts("mail", "late", 7, told_at, remind_at)


REMINDED = a_row("mail", "sent", ("03:15", True, ""), reminder=True)


@pytest.mark.parametrize(
    "rows, stands, words",
    [
        ([MAIL], standing(), "mail 03:10 sent, reminder at 04:10"),
        ([MAIL], standing(remind=None), "mail 03:10 sent"),
        ([MAIL, REMINDED], standing(), "mail 03:10 sent, reminded 03:15, reminder at 04:10"),
        (
            [MAIL, REMINDED, REMINDED],
            standing(remind=None),
            "mail 03:10 sent, reminded 2 times, last 03:15",
        ),
        (
            [a_row("mail", "silenced", silence_id=3)],
            standing("03:18", None),
            "mail kept back by silence 3, told 03:18",
        ),
        ([MAIL, a_row("mail", "pending", reminder=True)], standing(remind=None), "mail 03:10 sent"),
    ],
)
def test_reminders(rows: list[DeliveryFacts], stands: StandingFacts, words: str) -> None:
    assert said(LATE, an_alert(*rows), standing=(stands,))[1] == f"Alerted: {words}. Not silenced."


def test_what_is_acknowledged_is_not_going_to_be_said_again() -> None:
    ack = AckFacts("ann", "on it!", at("03:15"))
    assert said(LATE, an_alert(MAIL), standing=(standing(),), ack=ack)[1] == (
        "Alerted: mail 03:10 sent. Acknowledged 03:15 by ann: on it! Not silenced."
    )


@pytest.mark.parametrize(
    "keeps_back, words",
    [
        ((), "Not silenced."),
        (
            (KeepsBack("silence 3", at("06:00", 11), "ann", "disk swap"),),
            "Silenced until 06:00 tomorrow by ann (silence 3): disk swap.",
        ),
        (
            (
                KeepsBack("maintenance backups", at("04:00")),
                KeepsBack("silence 4", at("05:00"), "web1"),
            ),
            "Silenced until 04:00 (maintenance backups). Silenced until 05:00 by web1 (silence 4).",
        ),
    ],
)
def test_what_keeps_it_back(keeps_back: tuple[KeepsBack, ...], words: str) -> None:
    assert (
        said(LATE, an_alert(MAIL), keeps_back=keeps_back)[1] == f"Alerted: mail 03:10 sent. {words}"
    )


def test_two_problems_at_once() -> None:
    service = LATE._replace(state="FAIL", info="")
    failed = an_alert(
        MAIL, id=5, raised_at=at("02:00"), channel="service:state", event="FAIL", topic="state"
    )
    assert said(service, an_alert(CHAT), failed)[1:] == [
        "Alerted of FAIL 02:00: mail 03:10 sent.",
        "Alerted of offline 03:11: chat 03:10 failed, try 4 at 03:26. Not silenced.",
    ]


def test_a_service_that_is_well_again_tells_of_the_newest_alert_only() -> None:
    online = an_alert(MAIL, id=8, event="online", phase="recovery")
    assert said(WELL, online, an_alert(CHAT))[1] == "Alerted: mail 03:10 sent. Not silenced."


def test_the_reader_has_a_clock_of_his_own() -> None:
    why = explain(Facts(LATE, (an_alert(MAIL),), (), None), NOW, STEADY_AT, ())
    [first, _] = sentences(why, NOW, timezone(timedelta(hours=-4)))
    assert first == "LATE since 23:10 (1d + grace 2h, last report 21:10 yesterday)."


def test_the_times_may_be_written_by_others() -> None:
    # Whatever is in the words, it is taken for no time.
    info = "\U000f0000 5 \U000f00001.0\U000f0000"
    service = WELL._replace(info=info, state="FAIL")
    why = explain(Facts(service, (an_alert(MAIL),), (), None), NOW, STEADY_AT, ())
    assert pieces(why, NOW) == [
        [
            "FAIL since ", service.since_at, f": {info}. Last report ", service.received_at,
            "; the next one is awaited until ", NOW + 600, " (1d + grace 2h).",
        ],
        ["Alerted: mail ", at("03:10"), " sent. Not silenced."],
    ]  # fmt: skip


def test_words_without_a_time() -> None:
    service = WELL._replace(state=None, memory=None)
    why = explain(Facts(service, (), (), None), NOW, STEADY_AT, ())
    assert pieces(why, NOW) == [
        ["No state was ever reported, only alerts: it can't be late."],
        ["No alert was raised. Not silenced."],
    ]


@pytest.mark.parametrize("off_s", [-0.4, 0.0, 0.4])
def test_a_deadline_of_two_clocks_is_a_whole_second(off_s: float) -> None:
    service = WELL._replace(deadline_at=STEADY_AT + 600 + off_s)
    why = explain(Facts(service, (), (), None), NOW, STEADY_AT, ())
    assert why.deadline_at == NOW + 600
