from __future__ import annotations

from agent.doubles import a_report

from overc.agent.outbox import ALERTS_MOST, Outbox
from overc.model import AlertReport


def test_a_newer_state_takes_the_place_of_an_older_one() -> None:
    outbox = Outbox()
    for name, info in [("a", "1"), ("b", "1"), ("a", "2")]:
        outbox.put_state(a_report(name, info))
    assert [(r.name, r.info) for r in outbox.states(0.0)] == [("b", "1"), ("a", "2")]


def test_only_what_was_confirmed_is_forgotten() -> None:
    outbox = Outbox()
    old = a_report("a", "same")
    outbox.put_state(old)
    outbox.put_state(new := a_report("a", "same"))
    outbox.states_delivered([old])
    assert outbox.states(0.0) == [new]
    outbox.states_delivered([new])
    assert len(outbox) == 0


def test_alerts_of_the_same_words_are_two_alerts() -> None:
    outbox = Outbox()
    outbox.put_alert(first := AlertReport("x"))
    sent = outbox.alerts(0.0)
    outbox.put_alert(AlertReport("x"))
    assert sent == [first]
    outbox.alerts_delivered(sent)
    assert len(outbox) == 1


def test_the_newest_alerts_are_kept() -> None:
    outbox = Outbox()
    for number in range(ALERTS_MOST + 1):
        outbox.put_alert(AlertReport(str(number)))
    kept = outbox.alerts(0.0)
    assert (len(kept), kept[0].message, kept[-1].message) == (100, "1", "100")


def test_what_is_set_aside_waits_and_a_newer_state_with_it() -> None:
    outbox = Outbox()
    outbox.put_state(a_report("a"))
    outbox.put_state(a_report("b"))
    outbox.set_state_aside("a", 60.0)
    outbox.put_state(newer := a_report("a", "newer"))
    assert [r.name for r in outbox.states(59.0)] == ["b"]
    assert outbox.ready_at(1.0) == 1.0
    outbox.states_delivered(outbox.states(1.0))
    assert outbox.ready_at(1.0) == 60.0
    assert outbox.states(60.0) == [newer]
    assert outbox.ready_at(70.0) == 70.0


def test_alerts_set_aside() -> None:
    outbox = Outbox()
    assert outbox.ready_at(0.0) is None
    outbox.put_alert(AlertReport("x"))
    assert outbox.ready_at(1.0) == 1.0
    outbox.set_alerts_aside(9.0)
    assert (outbox.alerts(8.0), outbox.ready_at(1.0)) == ([], 9.0)
    assert len(outbox.alerts(9.0)) == 1
