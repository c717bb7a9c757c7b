from __future__ import annotations

import pytest

from overc.daemon.calendars import parse_timezone
from overc.daemon.expectations import DEFAULT, Expectation, Flapping, Grace
from overc.daemon.judge import (
    OFFLINE,
    ONLINE,
    Times,
    Verdict,
    implied_memory,
    on_alert,
    on_report,
    on_tick,
    promise,
)
from overc.model import (
    Alert,
    AlertReport,
    Channel,
    Memory,
    Phase,
    ServiceReport,
    ServiceStatus,
    State,
    Topic,
)

OK, WARN, FAIL, UNK = State.OK, State.WARN, State.FAIL, State.UNK
NEW = ServiceStatus()
WALL_AT = 1_772_359_200.0  # 2026-03-01 10:00:00 UTC, a Sunday
NOW = Times(WALL_AT, 1000.0)
SINCE_AT = WALL_AT - 7200
LATE_AT = WALL_AT - 3600
UTC = parse_timezone("UTC")


def changed(
    before: str,
    after: State,
    since_at: float | None = WALL_AT,
    *,
    shown: State | None = None,
    more: str = "",
) -> Alert:
    message = f'State changed: "{before}" -> "{shown or after}"{more}'
    phase = Phase.RECOVERY if after is OK else Phase.PROBLEM
    previous = None if before == "(?)" else State(before)
    channel = Channel.SERVICE_STATE
    return Alert(channel, after.value, message, after, phase, Topic.STATE, previous, since_at)


def known(state: State, *, deadline_at: float | None = 100.0, late: bool = False) -> ServiceStatus:
    """A service as it is after reports that no rule held back."""
    memory = Memory(state, since_at=None if state is OK else SINCE_AT)
    if late:
        return ServiceStatus(
            state, 60, None, timed_out=True, memory=memory._replace(late_at=LATE_AT)
        )
    return ServiceStatus(state, 60, deadline_at, memory=None if state is OK else memory)


BACK = ONLINE._replace(since_at=LATE_AT)


@pytest.mark.parametrize(
    "before, state, alerts",
    [
        (NEW, OK, []),
        (NEW, WARN, [changed("(?)", WARN)]),
        (NEW, FAIL, [changed("(?)", FAIL)]),
        (NEW, UNK, [changed("(?)", UNK)]),
        (known(OK), OK, []),
        (known(OK), WARN, [changed("OK", WARN)]),
        (known(WARN), FAIL, [changed("WARN", FAIL, SINCE_AT)]),
        (known(FAIL), FAIL, []),
        (known(FAIL), UNK, [changed("FAIL", UNK, SINCE_AT)]),
        (known(UNK), OK, [changed("UNK", OK, SINCE_AT)]),
        (ServiceStatus(None, 60, None, timed_out=True), OK, [ONLINE]),
        (known(OK, late=True), OK, [BACK]),
        (known(FAIL, late=True), FAIL, [BACK]),
        (known(OK, late=True), FAIL, [BACK, changed("OK", FAIL)]),
        (known(WARN, late=True), OK, [BACK, changed("WARN", OK, SINCE_AT)]),
    ],
)
def test_a_report(before: ServiceStatus, state: State, alerts: list[Alert]) -> None:
    verdict = on_report(before, ServiceReport("disk", state, "info", 30), NOW)
    since_at = SINCE_AT if before.memory and before.memory.since_at else WALL_AT
    memory = None if state is OK else Memory(state, since_at=since_at)
    after = ServiceStatus(state, 30, 1030.0, timed_out=False, memory=memory)
    assert verdict == Verdict(after, tuple(alerts))


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
    verdict = on_tick(before, Times(WALL_AT, now_at))
    if not late:
        assert verdict == Verdict(before)
        return
    late_at = WALL_AT - (now_at - 100)
    assert verdict.alerts == (OFFLINE._replace(since_at=late_at),)
    assert verdict.service._replace(memory=None) == before._replace(
        timed_out=True, deadline_at=None, memory=None
    )
    told = before.memory or Memory(before.state)
    assert verdict.service.memory == told._replace(late_at=late_at)


def test_the_words_of_the_watchdog() -> None:
    assert (OFFLINE.channel, OFFLINE.event) == (Channel.PLUGIN, "offline")
    assert (OFFLINE.message, OFFLINE.severity) == ("Monitoring plugin offline", FAIL)
    assert (OFFLINE.phase, OFFLINE.topic) == (Phase.PROBLEM, Topic.LATE)
    assert (ONLINE.channel, ONLINE.event) == (Channel.PLUGIN, "online")
    assert (ONLINE.message, ONLINE.severity) == ("Monitoring plugin back online", OK)
    assert (ONLINE.phase, ONLINE.topic) == (Phase.RECOVERY, Topic.LATE)


def test_an_alert_as_it_was_sent() -> None:
    alert = on_alert(AlertReport("the roof\nis on fire", "house"))
    assert alert == Alert(Channel.API, "alert", "the roof\nis on fire", FAIL, Phase.NOTE)


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        on_tick(NEW, NOW).service.timed_out = True  # type: ignore[misc]


def test_a_problem_begins_when_the_host_saw_it_but_not_in_the_future() -> None:
    for seen_at, since_at in [(WALL_AT - 50, WALL_AT - 50), (WALL_AT + 50, WALL_AT)]:
        verdict = on_report(NEW, ServiceReport("disk", FAIL, "", 30, seen_at), NOW)
        assert verdict.alerts == (changed("(?)", FAIL, since_at),)


class Life:
    """A service that reports once a minute; `say` returns what people are told."""

    def __init__(self, expected: Expectation = DEFAULT) -> None:
        self.status = NEW
        self.expected = expected
        self.wall_at = WALL_AT - 60
        self.steady_at = 940.0

    def wait(self, span_s: float) -> None:
        self.wall_at += span_s
        self.steady_at += span_s

    def alerts(self, state: State, info: str = "") -> tuple[Alert, ...]:
        self.wait(60)
        report = ServiceReport("disk", state, info, 60)
        now = Times(self.wall_at, self.steady_at)
        verdict = on_report(self.status, report, now, self.expected)
        self.status = verdict.service
        return verdict.alerts

    def say(self, state: State, info: str = "") -> list[str]:
        return [alert.message for alert in self.alerts(state, info)]

    def events(self, states: str) -> list[list[str]]:
        """Say states by their first letters; return the events of each."""
        letters = {state.value[0]: state for state in State}
        return [[alert.event for alert in self.alerts(letters[one])] for one in states]

    def look(self) -> list[str]:
        verdict = on_tick(self.status, Times(self.wall_at, self.steady_at))
        self.status = verdict.service
        return [alert.event for alert in verdict.alerts]


def test_only_the_nth_bad_report_in_a_row_is_a_problem() -> None:
    life = Life(Expectation(after=3))
    assert life.say(OK) == []
    assert life.status.memory is None
    assert life.say(FAIL, "disk full\nof logs") == life.say(WARN, "nearly") == []
    assert life.say(FAIL, "again") == [
        'State changed: "OK" -> "FAIL" (3 in a row, first: disk full)'
    ]
    assert life.say(FAIL, "again") == []
    assert life.say(WARN) == ['State changed: "FAIL" -> "WARN"']
    assert life.alerts(OK) == (changed("WARN", OK, WALL_AT + 60),)
    assert life.status.memory is None


def test_a_good_report_ends_the_row() -> None:
    life = Life(Expectation(after=2))
    assert life.events("FOFOWUOFF") == [[], [], [], [], [], ["UNK"], ["OK"], [], ["FAIL"]]


def test_a_first_report_may_begin_the_row() -> None:
    life = Life(Expectation(after=2))
    assert life.say(FAIL) == []
    assert life.say(FAIL) == ['State changed: "(?)" -> "FAIL" (2 in a row)']


def test_silence_is_no_bad_report_and_ends_no_row() -> None:
    life = Life(Expectation(after=3))
    assert life.events("FF") == [[], []]
    life.wait(60)
    assert life.look() == ["offline"]
    assert life.events("FO") == [["online", "FAIL"], ["OK"]]
    assert life.events("FO") == [[], []]


def test_of_a_long_first_error_the_beginning_is_kept() -> None:
    life = Life(Expectation(after=2))
    life.say(FAIL, "x" * 5000)
    assert life.say(FAIL)[0].endswith(f"first: {'x' * 200})")


@pytest.mark.parametrize(
    "states, events",
    [
        ("OWO", [[], [], []]),
        ("WFW", [[], ["FAIL"], ["OK"]]),
        ("WFO", [[], ["FAIL"], ["OK"]]),
        ("FUWU", [["FAIL"], ["UNK"], ["OK"], ["UNK"]]),
    ],
)
def test_a_quiet_state_notifies_nobody(states: str, events: list[list[str]]) -> None:
    assert Life(Expectation(quiet_states=frozenset({WARN}))).events(states) == events


def test_what_is_said_of_a_quiet_state() -> None:
    life = Life(Expectation(quiet_states=frozenset({WARN})))
    life.say(WARN)
    assert life.alerts(FAIL) == (changed("OK", FAIL, WALL_AT + 60),)
    # It is no problem any more, and this is the state that it is in.
    assert life.alerts(WARN) == (changed("FAIL", OK, WALL_AT + 60, shown=WARN),)


def test_a_rule_that_came_or_went_leaves_no_problem_standing() -> None:
    life = Life()
    assert life.events("W") == [["WARN"]]
    life.expected = Expectation(quiet_states=frozenset({WARN}))
    assert life.events("WW") == [["OK"], []]
    life.expected = DEFAULT
    assert life.events("WW") == [["WARN"], []]
    assert life.alerts(OK) == (changed("WARN", OK, WALL_AT + 3 * 60),)


FLAPPING = Expectation(flapping=Flapping(4, 3600))


def test_flapping_is_said_once_and_so_is_its_end() -> None:
    life = Life(FLAPPING)
    assert life.events("OFOFO") == [[], ["FAIL"], ["OK"], ["FAIL"], ["flapping"]]
    assert life.events("FOWFOOO") == [[]] * 7
    life.wait(1740)
    assert life.events("O") == [["steady", "OK"]]
    assert life.events("FO") == [["FAIL"], ["OK"]]


def test_the_words_of_flapping() -> None:
    life = Life(FLAPPING)
    life.events("OFOF")
    [begun] = life.alerts(OK)
    assert begun.message == (
        "Flapping: its state changed 4 times within 1h; it is told again when it is steady"
    )
    assert (begun.channel, begun.phase, begun.topic) == (Channel.SERVICE_STATE, Phase.NOTE, "")
    assert begun.severity is WARN
    life.wait(1800)
    steady, _ = life.alerts(OK)
    assert (steady.message, steady.severity) == ('Steady again: "OK"', OK)
    assert (steady.channel, steady.phase, steady.topic) == (Channel.SERVICE_STATE, Phase.NOTE, "")


@pytest.mark.parametrize(
    "changes, states, end, events",
    [
        # A recovery that was held back, and its problem's beginning.
        (4, "OFOFOFO", "O", [("steady", None), ("OK", WALL_AT + 3 * 60)]),
        # The problem that was told is still there: nothing but that it is steady.
        (4, "OFOFOF", "F", [("steady", None)]),
        # Another kind of problem than was told.
        (4, "OFOFOW", "W", [("steady", None), ("WARN", WALL_AT + 3 * 60)]),
        # Nothing stood when it began, and nothing does at the end.
        (3, "OFOFO", "O", [("steady", None)]),
        # Nothing stood when it began, and now there is a problem.
        (3, "OFOFOFF", "F", [("steady", None), ("FAIL", WALL_AT + 5 * 60)]),
    ],
)
def test_after_flapping_people_know_what_is_true(
    changes: int, states: str, end: str, events: list[tuple[str, float | None]]
) -> None:
    life = Life(Expectation(flapping=Flapping(changes, 3600)))
    told = life.events(states)
    assert told[changes:] == [["flapping"]] + [[]] * (len(states) - changes - 1)
    life.wait(1800)
    found = life.alerts({"O": OK, "F": FAIL, "W": WARN}[end])
    assert [(alert.event, alert.since_at) for alert in found] == events


def test_slow_changes_are_no_flapping() -> None:
    life = Life(FLAPPING)
    for _ in range(5):
        life.wait(3600)
        assert life.events("FO") == [["FAIL"], ["OK"]]


def test_memories_of_changes_fade() -> None:
    life = Life(FLAPPING)
    life.events("OFO")
    assert life.status.memory is not None
    assert len(life.status.memory.changes) == 2
    life.wait(3600)
    life.say(OK)
    assert life.status.memory is None


def test_flapping_ends_with_its_rule() -> None:
    life = Life(FLAPPING)
    life.events("OFOFO")
    life.expected = DEFAULT
    assert life.events("OO") == [["steady", "OK"], []]
    assert life.status.memory is None


def test_a_clock_that_was_set_back_keeps_nobody_flapping() -> None:
    life = Life(FLAPPING)
    life.events("OFOFO")
    life.wall_at -= 86400
    assert life.events("O") == [["steady", "OK"]]


def test_a_flapping_service_may_be_late() -> None:
    life = Life(FLAPPING)
    life.events("OFOFO")
    life.wait(60)
    assert life.look() == ["offline"]
    assert life.events("F") == [["online"]]


@pytest.mark.parametrize(
    "grace, asked_s, deadline_at, grace_s",
    [
        (Grace(), None, 1060.0, 0.0),
        (Grace(30.0), None, 1090.0, 30.0),
        (Grace(share=0.5), None, 1090.0, 30.0),
        (Grace(30.0), 0.0, 1060.0, 0.0),
        (Grace(), 3.5, 1063.5, 3.5),
    ],
)
def test_grace(grace: Grace, asked_s: float | None, deadline_at: float, grace_s: float) -> None:
    report = ServiceReport("disk", OK, "", 60, grace_s=asked_s)
    after = on_report(NEW, report, NOW, Expectation(grace=grace)).service
    assert (after.deadline_at, after.grace_s) == (deadline_at, grace_s)
    assert on_tick(after, Times(WALL_AT, deadline_at - 0.1)).alerts == ()
    assert on_tick(after, Times(WALL_AT, deadline_at)).service.timed_out


@pytest.mark.parametrize(
    "before, report, unchanged",
    [
        (known(OK), ServiceReport("disk", OK, "", 60), True),
        (known(FAIL), ServiceReport("disk", FAIL, "", 60), True),
        (known(OK), ServiceReport("disk", FAIL, "", 60), False),
        (known(OK), ServiceReport("disk", OK, "", 61), False),
        (known(OK, late=True), ServiceReport("disk", OK, "", 60), False),
        (NEW, ServiceReport("disk", OK, "", 60), False),
        (known(OK)._replace(due_at=WALL_AT + 60), ServiceReport("disk", OK, "", 60), False),
        (known(FAIL)._replace(memory=Memory(bad=1)), ServiceReport("disk", FAIL, "", 60), False),
        (known(OK)._replace(memory=Memory(changes=(1.0,))), ServiceReport("d", OK, "", 60), False),
        (known(WARN)._replace(memory=Memory()), ServiceReport("disk", WARN, "", 60), True),
    ],
)
def test_what_says_nothing_new(
    before: ServiceStatus, report: ServiceReport, unchanged: bool
) -> None:
    promised = promise(before)
    assert (promised is not None and promised[:2] == (report.state, report.period_s)) == unchanged


@pytest.mark.parametrize(
    "status, memory",
    [
        (NEW, None),
        (ServiceStatus(OK, 60, 100.0), None),
        (ServiceStatus(FAIL, 60, 100.0), Memory(FAIL, since_at=5.0)),
        (ServiceStatus(OK, 60, None, timed_out=True), Memory(OK, late_at=69.0)),
        (ServiceStatus(WARN, 60, None, timed_out=True), Memory(WARN, since_at=5.0, late_at=69.0)),
        (ServiceStatus(None, None, None, timed_out=True), Memory(None)),
    ],
)
def test_services_of_earlier_versions(status: ServiceStatus, memory: Memory | None) -> None:
    assert implied_memory(status, 5.0, 9.0) == memory
