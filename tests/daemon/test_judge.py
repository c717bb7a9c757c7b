from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.daemon.judge import OFFLINE, ONLINE, Verdict, on_alert, on_report, on_tick
from overc.model import Alert, AlertReport, Channel, ServiceReport, ServiceStatus, State

OK, WARN, FAIL, UNK = State.OK, State.WARN, State.FAIL, State.UNK
NEW = ServiceStatus()


def changed(before: str, after: State) -> Alert:
    message = f'State changed: "{before}" -> "{after}"'
    return Alert(Channel.SERVICE_STATE, after.value, message, after)


def known(state: State, *, deadline_at: float | None = 100.0, late: bool = False) -> ServiceStatus:
    return ServiceStatus(state, 60, None if late else deadline_at, late)


@pytest.mark.parametrize(
    "before, state, alerts",
    [
        (NEW, OK, []),
        (NEW, WARN, [changed("(?)", WARN)]),
        (NEW, FAIL, [changed("(?)", FAIL)]),
        (NEW, UNK, [changed("(?)", UNK)]),
        (known(OK), OK, []),
        (known(OK), WARN, [changed("OK", WARN)]),
        (known(WARN), FAIL, [changed("WARN", FAIL)]),
        (known(FAIL), FAIL, []),
        (known(FAIL), UNK, [changed("FAIL", UNK)]),
        (known(UNK), OK, [changed("UNK", OK)]),
        (ServiceStatus(None, 60, None, timed_out=True), OK, [ONLINE]),
        (known(OK, late=True), OK, [ONLINE]),
        (known(FAIL, late=True), FAIL, [ONLINE]),
        (known(OK, late=True), FAIL, [ONLINE, changed("OK", FAIL)]),
        (known(WARN, late=True), OK, [ONLINE, changed("WARN", OK)]),
    ],
)
def test_a_report(before: ServiceStatus, state: State, alerts: list[Alert]) -> None:
    verdict = on_report(before, ServiceReport("disk", state, "info", 30), 1000.0)
    assert verdict == Verdict(ServiceStatus(state, 30, 1030.0, timed_out=False), tuple(alerts))


@pytest.mark.parametrize(
    "before, now_at, late",
    [
        (known(OK), 99.9, False),
        (known(OK), 100.0, True),
        (known(FAIL), 5000.0, True),
        (known(OK, deadline_at=None), 5000.0, False),
        (known(OK, late=True), 5000.0, False),
        (ServiceStatus(OK, 60, 100.0, timed_out=True), 5000.0, False),
        (NEW, 5000.0, False),
    ],
)
def test_a_tick(before: ServiceStatus, now_at: float, late: bool) -> None:
    if late:
        after = before._replace(timed_out=True, deadline_at=None)
        assert on_tick(before, now_at) == Verdict(after, (OFFLINE,))
    else:
        assert on_tick(before, now_at) == Verdict(before)


def test_the_words_of_the_watchdog() -> None:
    assert (OFFLINE.channel, OFFLINE.event) == (Channel.PLUGIN, "offline")
    assert (OFFLINE.message, OFFLINE.severity) == ("Monitoring plugin offline", FAIL)
    assert (ONLINE.channel, ONLINE.event) == (Channel.PLUGIN, "online")
    assert (ONLINE.message, ONLINE.severity) == ("Monitoring plugin back online", OK)


def test_an_alert_as_it_was_sent() -> None:
    alert = on_alert(AlertReport("the roof\nis on fire", "house"))
    assert alert == Alert(Channel.API, "alert", "the roof\nis on fire", FAIL)


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        on_tick(NEW, 0.0).service.timed_out = True  # type: ignore[misc]


# A service's life: after so many seconds either a report comes in or the watchdog looks.
Step = tuple[float, State | None, int]
LIVES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 5.0, 10.0, 59.0, 60.0, 61.0, 3600.0]),
        st.none() | st.sampled_from(State),
        st.sampled_from([1, 10, 60]),
    ),
    max_size=40,
)


@given(LIVES)
def test_a_life(life: list[Step]) -> None:
    service = NEW
    now_at, deadline_at = 0.0, float("inf")
    absences: list[Alert] = []
    for after_s, state, period_s in life:
        now_at += after_s
        before = service._replace()
        if state is None:
            verdict = on_tick(service, now_at)
            # Late exactly when the promise is over, and said only once.
            newly_late = now_at >= deadline_at and not before.timed_out
            assert verdict.alerts == ((OFFLINE,) if newly_late else ())
            assert verdict.service.state is before.state
            assert verdict.service.period_s == before.period_s
            assert verdict.service.timed_out == (before.timed_out or newly_late)
        else:
            report = ServiceReport("disk", state, "", period_s)
            verdict = on_report(service, report, now_at)
            assert verdict == on_report(before, report, now_at)
            deadline_at = now_at + period_s
            assert verdict.service == ServiceStatus(state, period_s, deadline_at)
            states = [a for a in verdict.alerts if a.channel is Channel.SERVICE_STATE]
            assert bool(states) == (state is not (before.state or OK))
            assert (ONLINE in verdict.alerts) == before.timed_out
        assert service == before
        absences += [a for a in verdict.alerts if a.channel is Channel.PLUGIN]
        service = verdict.service
        assert service.deadline_at is None or not service.timed_out
    assert absences[:1] in ([], [OFFLINE])
    assert all(one != other for one, other in pairwise(absences))
