"""What a report or the passing of time makes of a service, and which alerts it raises. Pure.

Note [Told and true]
~~~~~~~~~~~~~~~~~~~~
What a service says and what people were told of it are two things as soon as a rule holds alerts
back: a state that is to notify nobody, a bad report that is not yet the Nth in a row, a state that
flaps. So alerts compare the new state with `Memory.told`, not with the state before. Whatever was
held back, an alert is raised when the two differ and nothing holds it back any more; a recovery is
raised only where a problem was told, and tells since when that one lasted. Rules may change while
the server is stopped: the next report is judged by what was told, so no problem is left standing
and none is left out.

Without rules people are told of everything at once. Then there is no memory but of problems, for
their beginnings, and a healthy service has none.

Note [Flapping]
~~~~~~~~~~~~~~~
With `6 in 1h` a service flaps from the sixth change of its state within an hour on, and is steady
when it has kept one state for half an hour. Both are told once, as notes: nothing recovers from
them. In between its state raises no alerts, and a problem that was told before goes on standing.
When the service is steady again, what is true is compared with what was told: a problem that is
still there and was not told is raised then, one that was told and is over recovers then. Being late
is another topic and is not held back.

Note [Expected times]
~~~~~~~~~~~~~~~~~~~~~
A calendar's times are the wall clock's, deadlines are on the steady clock (Note [Two clocks]). A
report is given the calendar's next time as `due_at`, and the deadline is as far away as the wall
clock then says. The wall clock may step before it is reached. A service whose deadline passes
before its time has come is not late: the deadline is moved. When the clock steps forward, nobody
knows of the times that it stepped over which of them the services had met by the true time; they
are let go, and the next ones count (`on_step`).
"""

from __future__ import annotations

import json
from typing import NamedTuple

from overc.daemon.expectations import DEFAULT, Expectation, Flapping
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
from overc.wording import span

ONLINE = Alert(
    Channel.PLUGIN, "online", "Monitoring plugin back online", State.OK, Phase.RECOVERY, Topic.LATE
)
OFFLINE = Alert(
    Channel.PLUGIN, "offline", "Monitoring plugin offline", State.FAIL, Phase.PROBLEM, Topic.LATE
)

FIRST_INFO_MAX = 200
"""Characters of the first bad report's info that are kept."""

RECHECK_S = 60.0
"""How far a deadline is moved at most whose time has not come: the clock may step again."""

STEADY_SHARE = 0.5
"""Of the time in which changes are counted: so long a state has to last to be steady."""

_CALM = Memory()


class Times(NamedTuple):
    """Now, on both clocks (see Note [Two clocks])."""

    wall_at: float
    steady_at: float


class Verdict(NamedTuple):
    """The service as it is from now on, and the alerts to raise, in order."""

    service: ServiceStatus
    alerts: tuple[Alert, ...] = ()


class Promise(NamedTuple):
    """What a report has to say so that the promised time begins anew and nothing else happens."""

    state: State
    period_s: int
    lasts_s: float
    """How far away the deadline is then."""


def promise(service: ServiceStatus) -> Promise | None:
    """Return what another report of this service may say for `on_report` to do no more.

    That is if the same is expected of the service, and the report asks for the same grace. Nearly
    every report is like this, and to see it costs a tenth of judging it.
    """
    if (
        service.state is None
        or service.period_s is None
        or service.timed_out
        or service.due_at is not None
        or (service.memory is not None and not _is_settled(service.memory))
    ):
        return None
    return Promise(service.state, service.period_s, service.period_s + service.grace_s)


def on_report(
    service: ServiceStatus, report: ServiceReport, now: Times, expected: Expectation = DEFAULT
) -> Verdict:
    """Judge a service that has just reported.

    The report's own time says at most since when there is a problem: who promises a period is held
    to our clock.
    """
    memory, alerts = _hear(service, report, now.wall_at, expected)
    if service.timed_out:
        late_at = service.memory.late_at if service.memory else None
        alerts = (ONLINE._replace(since_at=late_at), *alerts)
    grace_s = expected.grace_s(report)
    due_at = expected.due_at(now.wall_at)
    after = ServiceStatus(
        report.state,
        report.period_s,
        _deadline_at(now, report.period_s, due_at, grace_s),
        False,
        grace_s,
        due_at,
        memory,
    )
    return Verdict(after, alerts)


def on_tick(service: ServiceStatus, now: Times) -> Verdict:
    """Judge a service that has not reported. One that is late already raises no second alert."""
    if service.timed_out or service.deadline_at is None or service.deadline_at > now.steady_at:
        return Verdict(service)
    if service.due_at is not None:
        left_s = service.due_at + service.grace_s - now.wall_at
        if left_s > 0:
            deadline_at = now.steady_at + min(left_s, RECHECK_S)
            return Verdict(service._replace(deadline_at=deadline_at))
    # Since when: the tick comes a little after the deadline, or much, where nobody could look.
    late_at = now.wall_at - (now.steady_at - service.deadline_at)
    memory = (service.memory or _calm(service.state))._replace(late_at=late_at)
    late = service._replace(timed_out=True, deadline_at=None, memory=memory)
    return Verdict(late, (OFFLINE._replace(since_at=late_at),))


def on_step(
    service: ServiceStatus, before_at: float, now: Times, expected: Expectation
) -> ServiceStatus:
    """Return a service that a calendar awaits after the wall clock stepped from `before_at`."""
    due_at = service.due_at
    if service.deadline_at is None or due_at is None:
        return service
    if before_at < due_at <= now.wall_at:
        # Stepped over.
        due_at = expected.due_at(now.wall_at)
    elif due_at <= now.wall_at:
        # Its time came before the step: the grace that is left is no matter of the wall clock.
        return service
    deadline_at = _deadline_at(now, service.period_s or 0, due_at, service.grace_s)
    return service._replace(due_at=due_at, deadline_at=deadline_at)


def on_alert(report: AlertReport) -> Alert:
    """Return the alert that a host asked for."""
    return Alert(Channel.API, "alert", report.message, State.FAIL)


def implied_memory(
    service: ServiceStatus, since_at: float | None, seen_at: float | None
) -> Memory | None:
    """Return the memory of a service that was stored without one: everything had been told."""
    if service.state in (None, State.OK) and not service.timed_out:
        return None
    memory = _calm(service.state)
    if service.state not in (None, State.OK):
        memory = memory._replace(since_at=since_at)
    if service.timed_out and seen_at is not None and service.period_s is not None:
        memory = memory._replace(late_at=seen_at + service.period_s)
    return memory


def _deadline_at(now: Times, period_s: int, due_at: float | None, grace_s: float) -> float:
    if due_at is None:
        return now.steady_at + period_s + grace_s
    return now.steady_at + (due_at - now.wall_at) + grace_s


def _calm(state: State | None) -> Memory:
    """Return the memory of a service of which everything was told."""
    return Memory(state)


def _is_settled(memory: Memory) -> bool:
    """Say whether a report that repeats the state changes nothing."""
    return not (memory.bad or memory.changes or memory.flapping)


def _hear(
    service: ServiceStatus, report: ServiceReport, wall_at: float, expected: Expectation
) -> tuple[Memory | None, tuple[Alert, ...]]:
    """Compare what a service says with what was told of it: see Note [Told and true]."""
    memory = service.memory or _calm(service.state)
    state = expected.troubling(report.state)
    told = memory.told or State.OK
    if service.memory is None and state is told and report.state is service.state:
        return None, ()
    memory = _count(memory._replace(late_at=None), state, report, wall_at, expected)
    changed = expected.troubling(service.state or State.OK) is not state
    memory, alerts = _flap(memory, changed, report.state, wall_at, expected.flapping)
    if state is not told and not memory.flapping and memory.bad in (0, expected.after):
        alerts = (*alerts, _news(memory, state, report.state, expected.after))
        memory = Memory(
            state,
            since_at=None if state is State.OK else memory.since_at,
            changes=memory.changes,
        )
    if memory == _CALM and report.state is State.OK:
        return None, alerts
    # The same object, so that it shows that nothing is to be stored.
    return (service.memory if memory == service.memory else memory), alerts


def _count(
    memory: Memory, state: State, report: ServiceReport, wall_at: float, expected: Expectation
) -> Memory:
    """Count a bad report of which nobody was told; a good one ends the row."""
    if memory.told not in (None, State.OK):
        return memory
    if state is State.OK:
        return memory._replace(told=state, bad=0, first_info="", since_at=None)
    if memory.bad:
        return memory._replace(bad=min(memory.bad + 1, expected.after))
    seen_at = wall_at if report.seen_at is None else min(report.seen_at, wall_at)
    first_info = ""
    if expected.after > 1:
        first_info = report.info.strip().partition("\n")[0][:FIRST_INFO_MAX]
    return memory._replace(bad=1, first_info=first_info, since_at=seen_at)


def _flap(
    memory: Memory, changed: bool, state: State, wall_at: float, rule: Flapping | None
) -> tuple[Memory, tuple[Alert, ...]]:
    """Tell that a service begins to flap, or is steady again: see Note [Flapping]."""
    if rule is None:
        if memory.flapping:
            return memory._replace(flapping=False, changes=()), (_steady(state),)
        return memory._replace(changes=()), ()
    # What lies in the future was noted before the wall clock was set back.
    changes = tuple([at for at in memory.changes if wall_at - rule.window_s < at <= wall_at])
    if changed:
        changes = (*changes, wall_at)[-rule.changes :]
    if not memory.flapping:
        flapping = changed and len(changes) >= rule.changes
        alerts = (_flapping(rule),) if flapping else ()
        return memory._replace(flapping=flapping, changes=changes), alerts
    if changes and changes[-1] > wall_at - rule.window_s * STEADY_SHARE:
        return memory._replace(changes=changes), ()
    return memory._replace(flapping=False, changes=()), (_steady(state),)


def _news(memory: Memory, state: State, shown: State, after: int) -> Alert:
    """Return the alert that says that a service is in another state than was told."""
    told = memory.told
    before = json.dumps(told.value) if told else '"(?)"'
    message = f"State changed: {before} -> {json.dumps(shown.value)}"
    if after > 1 and memory.bad:
        first = f", first: {memory.first_info}" if memory.first_info else ""
        message += f" ({memory.bad} in a row{first})"
    phase = Phase.RECOVERY if state is State.OK else Phase.PROBLEM
    return Alert(
        Channel.SERVICE_STATE,
        state.value,
        message,
        state,
        phase,
        Topic.STATE,
        told,
        memory.since_at,
    )


def _flapping(rule: Flapping) -> Alert:
    message = (
        f"Flapping: its state changed {rule.changes} times within {span(rule.window_s)};"
        " it is told again when it is steady"
    )
    return Alert(Channel.SERVICE_STATE, "flapping", message, State.WARN)


def _steady(state: State) -> Alert:
    message = f"Steady again: {json.dumps(state.value)}"
    return Alert(Channel.SERVICE_STATE, "steady", message, State.OK)


def is_expired(
    service: ServiceStatus, seen_at: float | None, wall_at: float, expected: Expectation
) -> bool:
    """Say whether a service has been silent for so long that it is to be forgotten."""
    silent_s = expected.expire_after_s
    if silent_s is None or seen_at is None or not service.timed_out:
        return False
    return wall_at - seen_at >= silent_s


def on_forgotten(name: str, expected: Expectation) -> Alert:
    """Return the last word on a service, said of its server: the service is gone."""
    message = f"Service {json.dumps(name, ensure_ascii=False)} is forgotten: no report for "
    message += span(expected.expire_after_s or 0)
    return Alert(Channel.PLUGIN, "forgotten", message, State.WARN)


def is_well(service: ServiceStatus) -> bool:
    """Say whether there is nothing of the service that people would have to take care of."""
    told = service.memory.told if service.memory else service.state
    return not service.timed_out and told in (None, State.OK)
