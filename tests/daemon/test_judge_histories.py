"""Whatever a service goes through, people know what is true of it, and hear nothing twice."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from overc.daemon.calendars import Calendar, parse_timezone
from overc.daemon.expectations import DEFAULT, Expectation, Flapping, Grace
from overc.daemon.judge import (
    STEADY_SHARE,
    Times,
    on_report,
    on_step,
    on_tick,
    promise,
)
from overc.model import Alert, Phase, ServiceReport, ServiceStatus, State, Topic

HISTORIES = 10_000 if os.environ.get("OVERC_NIGHTLY") else 200
WALL_AT = 1_772_359_200.0
OK = State.OK
HOURLY = Calendar.parse("7 * * * *", parse_timezone("UTC"))


class Step(NamedTuple):
    """After so many seconds a report comes in, the watchdog looks, or the server starts anew."""

    after_s: float
    event: State | Expectation | None
    period_s: int
    grace_s: float | None


EXPECTATIONS = st.builds(
    Expectation,
    grace=st.sampled_from([Grace(), Grace(30.0), Grace(share=0.5)]),
    after=st.sampled_from([1, 2, 3]),
    quiet_states=st.sampled_from([frozenset(), frozenset({State.WARN}), frozenset(State) - {OK}]),
    flapping=st.none() | st.builds(Flapping, st.integers(2, 4), st.sampled_from([300.0, 3600.0])),
    calendar=st.sampled_from([None, None, HOURLY]),
)
STATES = st.sampled_from([OK, OK, State.FAIL, State.FAIL, State.WARN, State.UNK])
EVENTS = {"R": STATES, "T": st.none(), "E": EXPECTATIONS | st.just(DEFAULT)}
STEPS = st.builds(
    Step,
    st.sampled_from([0.0, 0.5, 10.0, 60.0, 60.0, 61.0, 200.0, 2000.0, 4000.0]),
    st.sampled_from("RRRRRRRTE").flatmap(lambda kind: EVENTS[kind]),
    st.sampled_from([1, 60, 60, 3600]),
    st.sampled_from([None, None, None, 5.0]),
)


class People:
    """What people know who read every alert."""

    def __init__(self) -> None:
        self.problem: State | None = None
        self.since_at: float | None = None
        self.late_since_at: float | None = None
        self.flapping = False

    def hear(self, alerts: tuple[Alert, ...]) -> None:
        for alert in alerts:
            if alert.topic is Topic.LATE:
                self._hear_of_silence(alert)
            elif alert.topic is Topic.STATE:
                self._hear_of_a_state(alert)
            else:
                assert alert.phase is Phase.NOTE
                # Each is said once.
                assert alert.event == ("steady" if self.flapping else "flapping")
                self.flapping = not self.flapping

    def _hear_of_silence(self, alert: Alert) -> None:
        if alert.phase is Phase.PROBLEM:
            assert self.late_since_at is None
            self.late_since_at = alert.since_at
        else:
            # No UP without DOWN, and it tells how long it lasted.
            assert alert.phase is Phase.RECOVERY
            assert self.late_since_at is not None
            assert self.late_since_at == alert.since_at
            self.late_since_at = None

    def _hear_of_a_state(self, alert: Alert) -> None:
        assert not self.flapping
        assert (alert.previous or OK) is (self.problem or OK)
        if alert.phase is Phase.PROBLEM:
            assert alert.event != self.problem
            assert alert.severity.value == alert.event != OK
            assert self.problem is None or alert.since_at == self.since_at
            self.problem, self.since_at = State(alert.event), alert.since_at
        else:
            assert (alert.event, alert.severity) == ("OK", OK)
            assert self.problem is not None
            assert alert.since_at == self.since_at
            self.problem = self.since_at = None


class Truth:
    """What is true of the service, counted in the plainest way."""

    def __init__(self) -> None:
        self.state = OK
        self.bad: list[float] = []
        """When its bad reports in a row came."""
        self.changes: list[float] = []
        self.flaps = False

    def report(self, state: State, expected: Expectation, now_at: float) -> None:
        before = OK if self.state in expected.quiet_states else self.state
        self.state = state
        after = OK if state in expected.quiet_states else state
        self.bad = [] if after is OK else [*self.bad, now_at]
        rule = expected.flapping
        if rule is None:
            self.flaps, self.changes = False, []
            return
        self.changes += [now_at] if after is not before else []
        recent = [at for at in self.changes if at > now_at - rule.window_s]
        # What one rule has no use for is not there for another one that comes later.
        self.changes = recent = recent[-rule.changes :]
        lately = [at for at in self.changes if at > now_at - rule.window_s * STEADY_SHARE]
        if self.flaps and not lately:
            self.flaps, self.changes = False, []
        elif not self.flaps:
            self.flaps = after is not before and len(recent) >= rule.changes


@settings(max_examples=HISTORIES, deadline=None)
@given(EXPECTATIONS, st.lists(STEPS, min_size=5, max_size=60))
def test_a_history(expected: Expectation, history: list[Step]) -> None:
    service = ServiceStatus()
    people, truth = People(), Truth()
    now = Times(WALL_AT, 5000.0)
    judged_by: tuple[Expectation, float | None] | None = None
    for step in history:
        now = Times(now.wall_at + step.after_s, now.steady_at + step.after_s)
        if step.event is None:
            verdict = on_tick(service, now)
            promised = service.deadline_at
            assert bool(verdict.alerts) == (promised is not None and promised <= now.steady_at)
            assert verdict.service.timed_out == (bool(verdict.alerts) or service.timed_out)
        elif isinstance(step.event, Expectation):
            expected = step.event
            continue
        else:
            report = ServiceReport("disk", step.event, "info", step.period_s, None, step.grace_s)
            verdict = on_report(service, report, now, expected)
            known = promise(service) if judged_by == (expected, step.grace_s) else None
            if known is not None and known[:2] == (report.state, report.period_s):
                assert verdict.alerts == ()
                deadline_at = now.steady_at + known.lasts_s
                assert verdict.service == service._replace(deadline_at=deadline_at)
                assert verdict.service.memory is service.memory
            judged_by = expected, step.grace_s
            truth.report(step.event, expected, now.wall_at)
            assert not verdict.service.timed_out
        changes = [alert for alert in verdict.alerts if alert.topic is Topic.STATE]
        assert len(changes) <= (step.event is not None)
        stood = people.problem
        people.hear(verdict.alerts)
        service = verdict.service
        assert (people.late_since_at is not None) == service.timed_out
        if step.event is not None:
            check(people, truth, expected, stood)
            if service.state is OK and people.problem is None and not truth.changes:
                assert service.memory is None


def check(people: People, truth: Truth, expected: Expectation, stood: State | None) -> None:
    """Nothing is lost, and nothing is said too early."""
    assert people.flapping == truth.flaps
    if truth.flaps:
        assert people.problem is stood
    elif not truth.bad:
        assert people.problem is None
    elif stood is not None or len(truth.bad) >= expected.after:
        assert people.problem is truth.state
        if stood is None:
            assert people.since_at == truth.bad[0]
    else:
        assert people.problem is None


@settings(max_examples=HISTORIES // 10)
@given(st.lists(STATES, max_size=40))
def test_without_rules_every_change_is_told(states: list[State]) -> None:
    service, now_at = ServiceStatus(), 0.0
    told = []
    for state in states:
        now_at += 60
        report = ServiceReport("disk", state, "", 60)
        verdict = on_report(service, report, Times(now_at, now_at))
        service = verdict.service
        told += [alert.message for alert in verdict.alerts]
    shown = [OK.value, *states]
    expected = [
        f'State changed: "{before}" -> "{after}"'
        for before, after in pairwise(shown)
        if before != after
    ]
    if states and states[0] is not OK:
        expected[0] = f'State changed: "(?)" -> "{states[0]}"'
    assert told == expected


@settings(max_examples=HISTORIES)
@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 600.0, 3000.0]), st.sampled_from([0.0, -7200.0, 9000.0])),
        min_size=1,
        max_size=30,
    )
)
def test_steps_of_the_wall_clock_make_nobody_late(steps: list[tuple[float, float]]) -> None:
    """A service reports at each of its times, by a clock that is right; the server's is not."""
    expected = Expectation(Grace(60.0), calendar=HOURLY)
    true_at, error_s, steady_at = WALL_AT, 0.0, 5000.0
    report = ServiceReport("backup", OK, "", 60)
    service = on_report(ServiceStatus(), report, Times(WALL_AT, steady_at), expected).service
    for after_s, step_s in steps:
        end_at = true_at + after_s
        # A right clock's times, met at once. The error is of whole hours, or it would be seen.
        while (next_at := HOURLY.next_after(true_at)) <= end_at:
            steady_at += next_at - true_at
            true_at = next_at
            now = Times(true_at + error_s, steady_at)
            assert on_tick(service, now).alerts == ()
            service = on_report(service, report, now, expected).service
        steady_at += end_at - true_at
        true_at = end_at
        before_at = true_at + error_s
        verdict = on_tick(service, Times(before_at, steady_at))
        assert verdict.alerts == ()
        error_s += step_s - step_s % 3600
        now = Times(true_at + error_s, steady_at)
        service = verdict.service
        if step_s:
            service = on_step(service, before_at, now, expected)
        assert on_tick(service, now).alerts == ()
