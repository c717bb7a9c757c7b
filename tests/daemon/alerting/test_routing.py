from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from overc.daemon.alerting import routing
from overc.daemon.alerting.routing import (
    Key,
    Plan,
    Route,
    Row,
    Silence,
    Standing,
    Subject,
    Waiting,
)
from overc.daemon.patterns import Patterns
from overc.model import Alert, Channel, Phase, State, Topic

NOW_AT = 1_000_000.0

WARN = Alert(Channel.SERVICE_STATE, "WARN", "", State.WARN, Phase.PROBLEM, Topic.STATE)
FAIL = Alert(Channel.SERVICE_STATE, "FAIL", "", State.FAIL, Phase.PROBLEM, Topic.STATE)
OK = Alert(Channel.SERVICE_STATE, "OK", "", State.OK, Phase.RECOVERY, Topic.STATE)
OFFLINE = Alert(Channel.PLUGIN, "offline", "", State.FAIL, Phase.PROBLEM, Topic.LATE)
ONLINE = Alert(Channel.PLUGIN, "online", "", State.OK, Phase.RECOVERY, Topic.LATE)
ASKED = Alert(Channel.API, "alert", "as sent", State.FAIL)
BROKEN = Alert(Channel.ALERT_PLUGIN, "failed", "mail failed", State.FAIL)

MAIL = Route("mail")
CHAT = Route("chat")


class Nightly(NamedTuple):
    """Quiet hours of one night."""

    begins_at: float
    ends_at: float

    def until(self, now_at: float) -> float | None:
        return self.ends_at if self.begins_at <= now_at < self.ends_at else None

    def begun_at(self, now_at: float) -> float | None:
        return self.begins_at if self.begins_at <= now_at < self.ends_at else None


def about(*alerts: Alert, service: str = "disk", server: str = "web1") -> list[Subject]:
    """Return alerts about one service, with ids from 10 up."""
    return [Subject(id_, alert, 1, 5, server, service) for id_, alert in enumerate(alerts, 10)]


def own(alert: Alert) -> Subject:
    return Subject(10, alert, None, None)


def silence(
    servers: str = "*", services: str = "*", ends_at: float = NOW_AT + 60, id_: int = 3
) -> Silence:
    return Silence(id_, Patterns(servers), Patterns(services), NOW_AT - 60, ends_at)


def standing(
    *waiting: Waiting, plugin: str = "mail", topic: str = "state", told: bool = True
) -> Standing:
    return Standing(Key(5, topic, plugin), 4, told, waiting)


def plan(
    subjects: Sequence[Subject],
    routes: Sequence[Route] = (MAIL,),
    silences: Sequence[Silence] = (),
    stands: Sequence[Standing] = (),
) -> Plan:
    return routing.plan(subjects, routes, silences, stands, NOW_AT)


def shown(plan: Plan) -> list[tuple[int, str, str, float]]:
    return [(row.alert_id, row.plugin, row.status, row.due_at - NOW_AT) for row in plan.rows]


@pytest.mark.parametrize("alert", [WARN, FAIL, OFFLINE, ASKED])
def test_by_default_everything_goes_everywhere_at_once(alert: Alert) -> None:
    planned = plan(about(alert), [MAIL, CHAT])
    assert planned.rows == (
        Row(10, "mail", 1, 5, "pending", NOW_AT),
        Row(10, "chat", 1, 5, "pending", NOW_AT),
    )
    stands = () if alert is ASKED else ("mail", "chat")
    topic = alert.topic.value
    assert planned.began == tuple((Key(5, topic, plugin), 10) for plugin in stands)
    assert (planned.cancelled, planned.over, planned.again) == ((), (), ())


@pytest.mark.parametrize(
    "route, wanted",
    [
        (Route("a", servers=Patterns("web*")), True),
        (Route("a", servers=Patterns("db*")), False),
        (Route("a", servers=Patterns("!web1")), False),
        (Route("a", services=Patterns("cpu, disk")), True),
        (Route("a", services=Patterns("cpu")), False),
        (Route("a", events=Patterns("service:state/FAIL")), True),
        (Route("a", events=Patterns("service:state/*")), True),
        (Route("a", events=Patterns("*/FAIL, plugin/*")), True),
        (Route("a", events=Patterns("plugin/*")), False),
        (Route("a", events=Patterns("!service:state/FAIL")), False),
        (Route("a", Patterns("web*"), Patterns("disk"), Patterns("*/FAIL")), True),
        (Route("a", Patterns("web*"), Patterns("disk"), Patterns("*/WARN")), False),
    ],
)
def test_a_route_gets_what_it_is_for(route: Route, wanted: bool) -> None:
    planned = plan(about(FAIL), [route])
    assert bool(planned.rows) is wanted
    assert bool(planned.began) is wanted


@pytest.mark.parametrize(
    "services, wanted", [("*", True), ("backup*", False), ("!disk", True), ("?*", False)]
)
def test_an_alert_about_a_server_has_no_service(services: str, wanted: bool) -> None:
    subject = Subject(10, ASKED, 1, None, "web1", "")
    assert bool(plan([subject], [Route("a", services=Patterns(services))]).rows) is wanted


@pytest.mark.parametrize(
    "events, told",
    [
        # Whatever servers a route is for, it hears of what is wrong with OverC.
        (["*", "*"], ["a", "b"]),
        (["service:state/*", "*"], ["b"]),
        # And if no route is for it, somebody has to hear of it.
        (["service:state/*", "plugin/*"], ["a", "b"]),
    ],
)
def test_what_overc_says_of_itself(events: list[str], told: list[str]) -> None:
    routes = [
        Route(name, Patterns("web*"), Patterns("disk"), Patterns(wanted))
        for name, wanted in zip("ab", events, strict=True)
    ]
    planned = plan([own(BROKEN)], routes, [silence()])
    assert [row.plugin for row in planned.rows] == told
    assert {row.status for row in planned.rows} == {"pending"}


@pytest.mark.parametrize("servers, wanted", [("*", True), ("OverC", True), ("web*", False)])
def test_other_alerts_without_a_server(servers: str, wanted: bool) -> None:
    assert bool(plan([own(ASKED)], [Route("a", servers=Patterns(servers))]).rows) is wanted


def test_a_recovery_goes_where_the_problem_stands_whatever_the_rules_say() -> None:
    routes = [MAIL, Route("chat", servers=Patterns("db*")), Route("sms")]
    stands = [standing(), standing(plugin="chat"), standing(plugin="gone")]
    planned = plan(about(OK), routes, stands=stands)
    assert shown(planned) == [(10, "mail", "pending", 0), (10, "chat", "pending", 0)]
    assert planned.over == tuple(one.key for one in stands)


def test_a_recovery_that_nobody_waits_for_goes_nowhere() -> None:
    assert plan(about(OK, ONLINE)) == Plan((), (), (), (), ())
    # Nor does it end another kind of problem.
    assert plan(about(ONLINE), stands=[standing()]) == Plan((), (), (), (), ())


@pytest.mark.parametrize(
    "alerts, sent",
    [
        ([OFFLINE, ONLINE], [10, 11]),
        ([FAIL, OK, FAIL], [10, 11, 12]),
        ([FAIL, OFFLINE, ONLINE, OK], [10, 11, 12, 13]),
        ([OK, FAIL], [11]),
        ([WARN, FAIL, WARN, OK], [10, 11, 12, 13]),
    ],
)
def test_of_several_alerts_at_once_each_is_sent(alerts: list[Alert], sent: list[int]) -> None:
    planned = plan(about(*alerts))
    assert shown(planned) == [(id_, "mail", "pending", 0) for id_ in sent]
    stands = alerts[-1].phase is Phase.PROBLEM
    assert planned.began == (((Key(5, "state", "mail"), sent[-1]),) if stands else ())
    assert planned.over == ()


@pytest.mark.parametrize(
    "route, due_s",
    [
        (Route("a", delay_s=300), 300),
        (Route("a", quiet=Nightly(NOW_AT - 9, NOW_AT + 9)), 9),
        (Route("a", delay_s=8, quiet=Nightly(NOW_AT - 9, NOW_AT + 9)), 9),
        (Route("a", delay_s=9, quiet=Nightly(NOW_AT - 9, NOW_AT + 9)), 9),
        (Route("a", delay_s=10, quiet=Nightly(NOW_AT - 9, NOW_AT + 9)), 10),
        (Route("a", delay_s=10, quiet=Nightly(NOW_AT + 9, NOW_AT + 50)), 50),
    ],
)
def test_when_a_problem_is_told(route: Route, due_s: float) -> None:
    assert shown(plan(about(FAIL), [route])) == [(10, "a", "pending", due_s)]
    # Over before that, it leaves no message.
    planned = plan(about(FAIL, OK), [route])
    assert shown(planned) == [(10, "a", "cancelled", due_s)]
    assert planned.rows[0].outcome == "over before it was due"
    assert (planned.began, planned.over) == ((), ())


def test_a_note_has_no_delay_but_quiet_hours() -> None:
    quiet = Nightly(NOW_AT - 9, NOW_AT + 9)
    planned = plan(about(ASKED), [Route("a", delay_s=60), Route("b", delay_s=60, quiet=quiet)])
    assert shown(planned) == [(10, "a", "pending", 0), (10, "b", "pending", 9)]


@pytest.mark.parametrize(
    "stands, cancelled, recovery_s",
    [
        # Nothing was tried and nothing was due.
        (standing(Waiting(7, NOW_AT + 60, 0), told=False), (7,), None),
        (
            standing(Waiting(7, NOW_AT + 60, 0), Waiting(8, NOW_AT + 60, 0), told=False),
            (7, 8),
            None,
        ),
        # It may be on its way, or have arrived without our knowing.
        (standing(Waiting(7, NOW_AT, 0), told=False), (), 0),
        (standing(Waiting(7, NOW_AT - 5, 1), told=False), (), 0),
        (standing(Waiting(7, NOW_AT + 60, 2), told=False), (), 60),
        # Told of WARN, FAIL still waits.
        (standing(Waiting(8, NOW_AT + 60, 0)), (8,), 0),
        (standing(Waiting(7, NOW_AT - 5, 1), Waiting(8, NOW_AT + 60, 0), told=False), (8,), 0),
        (standing(), (), 0),
        # Nobody need be reminded of what is over.
        (standing(Waiting(8, NOW_AT - 5, 0, True)), (8,), 0),
        (standing(Waiting(8, NOW_AT + 5, 1, True)), (), 5),
        # All of it was given up.
        (standing(told=False), (), None),
    ],
)
def test_what_a_recovery_makes_of_what_waits(
    stands: Standing, cancelled: tuple[int, ...], recovery_s: float | None
) -> None:
    planned = plan(about(OK), stands=[stands])
    assert planned.cancelled == cancelled
    assert planned.over == (stands.key,)
    recovery = [] if recovery_s is None else [(10, "mail", "pending", recovery_s)]
    assert shown(planned) == recovery


def test_a_recovery_in_quiet_hours_waits_as_its_problem_does() -> None:
    route = Route("mail", quiet=Nightly(NOW_AT - 9, NOW_AT + 9))
    assert shown(plan(about(OK), [route], stands=[standing()])) == [(10, "mail", "pending", 9)]


@pytest.mark.parametrize(
    "route, stands, due_s, again",
    [
        (MAIL, standing(), 0, True),
        (MAIL, standing(Waiting(7, NOW_AT - 1, 0), told=False), 0, False),
        # Right after what is told of it, not after a delay of its own.
        (Route("mail", delay_s=60), standing(), 0, True),
        (Route("mail", delay_s=60), standing(Waiting(7, NOW_AT + 9, 0), told=False), 9, False),
        (MAIL, standing(Waiting(7, NOW_AT + 30, 2), told=False), 30, False),
        (Route("mail", quiet=Nightly(NOW_AT - 9, NOW_AT + 9)), standing(), 9, True),
    ],
)
def test_a_problem_that_becomes_another_one(
    route: Route, stands: Standing, due_s: float, again: bool
) -> None:
    planned = plan(about(FAIL), [route], stands=[stands])
    assert shown(planned) == [(10, "mail", "pending", due_s)]
    assert planned.began == ()
    assert planned.again == ((stands.key,) if again else ())


def test_what_follows_is_told_to_those_who_want_it() -> None:
    route = Route("mail", events=Patterns("*/WARN"))
    planned = plan(about(FAIL), [route], stands=[standing()])
    assert planned == Plan((), (), (), (), ())
    # But the recovery comes.
    assert shown(plan(about(FAIL, OK), [route], stands=[standing()])) == [
        (11, "mail", "pending", 0)
    ]
    # And a problem begins for a route with the first alert that it gets.
    route = Route("mail", events=Patterns("*/FAIL"))
    planned = plan(about(WARN, FAIL), [route])
    assert shown(planned) == [(11, "mail", "pending", 0)]
    assert planned.began == ((Key(5, "state", "mail"), 11),)


def test_a_problem_that_ends_and_begins_anew() -> None:
    planned = plan(about(OK, FAIL), stands=[standing()])
    assert shown(planned) == [(10, "mail", "pending", 0), (11, "mail", "pending", 0)]
    assert planned.over == (Key(5, "state", "mail"),)
    assert planned.began == ((Key(5, "state", "mail"), 11),)


@pytest.mark.parametrize("alert", [FAIL, OFFLINE, ASKED])
def test_what_is_silenced_is_kept_back(alert: Alert) -> None:
    planned = plan(about(alert), [MAIL, Route("db", servers=Patterns("db*"))], [silence()])
    assert planned.rows == (Row(10, "mail", 1, 5, "silenced", NOW_AT, 3),)
    assert planned.began == ()


@pytest.mark.parametrize(
    "silences, by",
    [
        ([], None),
        ([silence("db*")], None),
        ([silence("web*", "cpu")], None),
        ([silence("web*", "disk")], 3),
        ([silence("!db1")], 3),
        ([silence(id_=1), silence(ends_at=NOW_AT + 90, id_=2), silence(id_=4)], 2),
    ],
)
def test_what_a_silence_is_for(silences: list[Silence], by: int | None) -> None:
    [row] = plan(about(FAIL), silences=silences).rows
    assert row.silence_id == by
    assert row.status == ("pending" if by is None else "silenced")


def test_a_silence_and_the_recovery_of_a_problem() -> None:
    # Told before the silence: it is waited for.
    assert shown(plan(about(OK), silences=[silence()], stands=[standing()])) == [
        (10, "mail", "pending", 0)
    ]
    # Kept back by the silence: nobody knows of it.
    assert shown(plan(about(FAIL, OK), silences=[silence()])) == [(10, "mail", "silenced", 0)]
    # WARN was told, FAIL is kept back, and it is still one problem.
    planned = plan(about(FAIL, OK), silences=[silence()], stands=[standing()])
    assert shown(planned) == [(10, "mail", "silenced", 0), (11, "mail", "pending", 0)]


def test_quiet_hours_that_follow_each_other() -> None:
    class Two(NamedTuple):
        def until(self, now_at: float) -> float | None:
            return {NOW_AT: NOW_AT + 5, NOW_AT + 5: NOW_AT + 9}.get(now_at)

    assert routing.open_at(Route("a", quiet=Two()), NOW_AT) == NOW_AT + 9


@pytest.mark.parametrize(
    "events, sentence",
    [
        ("plugin/late", "'plugin/late' can never match; known: service:state/OK, "),
        ("service:state/FAIL, plugin/late", "'plugin/late' can never match"),
        ("overc/foo", "'overc/foo' can never match"),
        ("!api", "'api' can never match"),
        ("plugin/online, service:state/OK", "names recoveries alone"),
        ("!plugin/online", "!plugin/online has no effect"),
        ("api/*, !api/alert", "can never match: what it names it leaves out again"),
    ],
)
def test_events_that_cant_be_meant_so(events: str, sentence: str) -> None:
    [warning] = routing.wrong_events(Patterns(events))
    assert warning.startswith(sentence)


@pytest.mark.parametrize(
    "events",
    [
        "*",
        "service:state/*",
        "service:state/FAIL, service:state/OK",
        "!service:state/WARN",
        "alert-plugin/*, overc/*",
        "plugin/forgotten",
    ],
)
def test_events_that_can_be_meant_so(events: str) -> None:
    assert routing.wrong_events(Patterns(events)) == []
