"""What goes where, and when: alerts, routes, silences and acknowledgements. Pure.

Note [Who gets what]
~~~~~~~~~~~~~~~~~~~~
A note stands for itself: it goes to every route that wants it. So does a problem, and from then on
it stands at that route. What follows while it stands, WARN and then FAIL, is sent after it; its
recovery goes exactly to the routes where it stands, whatever else they want. A problem of which
nothing was tried yet, and nothing was due, when it is over leaves no message.

What is silenced is kept back without standing: should it be told when the silence ends, it stands
from then on. A problem that was told before the silence stands all the time, and its recovery is
sent in spite of the silence: it was waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from overc.daemon.patterns import EVERYTHING, Patterns
from overc.model import Alert, Channel, Phase

OWN_CHANNELS = (Channel.ALERT_PLUGIN, Channel.OVERC)
"""What OverC says of itself, whatever servers a route is for."""

OWN_NAME = "OverC"

PENDING = "pending"
SILENCED = "silenced"
CANCELLED = "cancelled"

OVER = "over before it was due"
ACKED = "acknowledged before it was due"

EVENTS = {
    "service:state/OK": Phase.RECOVERY,
    "service:state/WARN": Phase.PROBLEM,
    "service:state/FAIL": Phase.PROBLEM,
    "service:state/UNK": Phase.PROBLEM,
    "service:state/flapping": Phase.NOTE,
    "service:state/steady": Phase.NOTE,
    "plugin/offline": Phase.PROBLEM,
    "plugin/online": Phase.RECOVERY,
    "plugin/forgotten": Phase.NOTE,
    "api/alert": Phase.NOTE,
    "alert-plugin/failed": Phase.NOTE,
    "alert-plugin/works": Phase.NOTE,
    "overc/silence-ending": Phase.NOTE,
    "overc/silence-ended": Phase.NOTE,
}
"""All that is raised, with what it is to a problem."""

QUIET_HOPS = 3
"""Where a clock is set back, quiet hours may end within themselves."""


class Hours(Protocol):
    """Hours in which nothing is sent: `overc.daemon.calendars.Hours`."""

    def until(self, now_at: float) -> float | None: ...


class Windows(Protocol):
    """Times that come again: `overc.daemon.calendars.Windows`."""

    def until(self, now_at: float) -> float | None: ...

    def begun_at(self, now_at: float) -> float | None: ...


class Route(NamedTuple):
    """Which alerts one alert plugin gets, and when."""

    name: str
    servers: Patterns = EVERYTHING
    services: Patterns = EVERYTHING
    events: Patterns = EVERYTHING
    """Of `channel/event`, such as `service:state/FAIL`."""
    delay_s: float = 0.0
    """A problem that is over before it is this old is not told."""
    remind_s: float | None = None
    quiet: Hours | None = None

    @property
    def asks_names(self) -> bool:
        """Names of servers or services decide what it gets."""
        return not (self.servers.everything and self.services.everything)

    @property
    def holds_back(self) -> bool:
        """What it gets may be due later than it is raised."""
        return self.delay_s > 0 or self.quiet is not None


class Maintenance(NamedTuple):
    """Times that come again in which the alerts of services are kept back."""

    name: str
    windows: Windows
    servers: Patterns = EVERYTHING
    services: Patterns = EVERYTHING
    reason: str = ""


class Silence(NamedTuple):
    """A time for which the alerts of services are kept back."""

    id: int
    servers: Patterns
    services: Patterns
    starts_at: float
    ends_at: float

    def covers(self, server: str, service: str) -> bool:
        return self.servers.match(server) and self.services.match(service)


class Subject(NamedTuple):
    """An alert that was raised, with the names that rules ask for."""

    alert_id: int
    alert: Alert
    server_id: int | None
    """None: it is about OverC itself."""
    service_id: int | None
    """None: it is about the server as a whole."""
    server: str = ""
    service: str = ""


class Key(NamedTuple):
    """A problem as one route knows it."""

    service_id: int
    topic: str
    plugin: str


class Waiting(NamedTuple):
    """A row of the outbox that is still pending."""

    id: int
    due_at: float
    tries: int
    reminder: bool = False


class Standing(NamedTuple):
    """A problem that a route was told of, or is to be told of."""

    key: Key
    alert_id: int
    """With which it began, for this route."""
    told: bool
    waiting: tuple[Waiting, ...] = ()
    """What is pending of it."""


class Row(NamedTuple):
    """A row to be added to the outbox."""

    alert_id: int
    plugin: str
    server_id: int | None
    service_id: int | None
    status: str
    due_at: float
    silence_id: int | None = None
    reminder: bool = False
    outcome: str | None = None


class Plan(NamedTuple):
    """What alerts change, to be applied in the order of the fields."""

    cancelled: tuple[int, ...]
    """Rows of the outbox that need not be sent any more."""
    over: tuple[Key, ...]
    """Problems that stand no longer."""
    again: tuple[Key, ...]
    """Problems of which more is to be told, so that there is no need to remind of them."""
    rows: tuple[Row, ...]
    began: tuple[tuple[Key, int], ...]
    """Problems that stand from now on, each with its alert."""


def plan(
    subjects: Iterable[Subject],
    routes: Sequence[Route],
    silences: Sequence[Silence],
    standing: Iterable[Standing],
    now_at: float,
) -> Plan:
    """Say what goes where of alerts that are raised now, in this order.

    `silences`: those that are in force. `standing`: all problems that stand of the services that
    the alerts are about, as far as the alerts have topics. See Note [Who gets what].
    """
    desk = _Desk(routes, silences, standing, now_at)
    for subject in subjects:
        phase = subject.alert.phase
        if subject.service_id is None or phase is Phase.NOTE:
            desk.note(subject)
        elif phase is Phase.PROBLEM:
            desk.problem(subject, subject.service_id)
        else:
            desk.recovery(subject, subject.service_id)
    return desk.plan()


def find_silence(silences: Iterable[Silence], server: str, service: str) -> Silence | None:
    """Return what silences a service, of all that does so the one that lasts longest."""
    found = [silence for silence in silences if silence.covers(server, service)]
    return max(found, key=lambda silence: silence.ends_at, default=None)


def open_at(route: Route, at: float) -> float:
    """Return when a route may speak, not before `at`: outside of its quiet hours."""
    for _ in range(QUIET_HOPS):
        until_at = None if route.quiet is None else route.quiet.until(at)
        if until_at is None or until_at <= at:
            break
        at = until_at
    return at


def wants(route: Route, subject: Subject) -> bool:
    """The route is for alerts such as this one."""
    alert = subject.alert
    if not route.events.match(f"{alert.channel.value}/{alert.event}"):
        return False
    if subject.server_id is None:
        if alert.channel in OWN_CHANNELS:
            return True
        return route.servers.match(OWN_NAME) and route.services.match("")
    return route.servers.match(subject.server) and route.services.match(subject.service)


def wrong_events(patterns: Patterns) -> list[str]:
    """Return a sentence for each part of a route's events that can't be meant as it stands."""
    found = []
    for word in patterns.text.split(", "):
        left_out = word.startswith("!")
        pattern = word.removeprefix("!").strip()
        meant = {event for event in EVENTS if Patterns(pattern).match(event)}
        if not meant:
            found.append(f"{pattern!r} can never match; known: {', '.join(EVENTS)}")
        elif left_out and all(EVENTS[event] is Phase.RECOVERY for event in meant):
            found.append(f"!{pattern} has no effect: recoveries go wherever their problems went")
    if found:
        return found
    phases = {phase for event, phase in EVENTS.items() if patterns.match(event)}
    if not phases:
        return ["can never match: what it names it leaves out again"]
    if phases == {Phase.RECOVERY}:
        return ["names recoveries alone, and they go where their problems went"]
    return []


class _Row:
    """A row that this plan adds, as long as it may still change its mind."""

    __slots__ = ("due_at", "outcome", "row", "status")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.due_at = row.due_at
        self.status = row.status
        self.outcome = row.outcome

    def done(self) -> Row:
        return self.row._replace(status=self.status, outcome=self.outcome)


class _Problem:
    """A problem that stands, in the course of a plan."""

    __slots__ = ("added", "alert_id", "new", "told", "waiting")

    def __init__(self, alert_id: int, waiting: tuple[Waiting, ...], *, told: bool, new: bool):
        self.alert_id = alert_id
        self.waiting = waiting
        self.told = told
        self.new = new
        self.added: list[_Row] = []

    def last_due_at(self) -> float:
        dues = [row.due_at for row in self.waiting] + [row.due_at for row in self.added]
        return max(dues, default=0.0)


class _Desk:
    def __init__(
        self,
        routes: Sequence[Route],
        silences: Sequence[Silence],
        standing: Iterable[Standing],
        now_at: float,
    ) -> None:
        self._routes = routes
        self._silences = silences
        self._now_at = now_at
        self._standing: dict[tuple[int, str], dict[str, _Problem]] = {}
        for one in standing:
            service_id, topic, plugin = one.key
            problem = _Problem(one.alert_id, one.waiting, told=one.told, new=False)
            self._standing.setdefault((service_id, topic), {})[plugin] = problem
        self._rows: list[_Row] = []
        self._cancelled: list[int] = []
        self._over: list[Key] = []
        self._again: dict[Key, None] = {}

    def note(self, subject: Subject) -> None:
        silence = self._silence(subject)
        for route in self._takers(subject):
            if silence is not None:
                self._add(subject, route.name, self._now_at, silence)
            else:
                self._add(subject, route.name, open_at(route, self._now_at))

    def problem(self, subject: Subject, service_id: int) -> None:
        silence = self._silence(subject)
        topic = subject.alert.topic.value
        at_routes = self._standing.setdefault((service_id, topic), {})
        for route in self._takers(subject):
            if silence is not None:
                self._add(subject, route.name, self._now_at, silence)
                continue
            problem = at_routes.get(route.name)
            if problem is None:
                due_at = open_at(route, self._now_at + route.delay_s)
                problem = _Problem(subject.alert_id, (), told=False, new=True)
                at_routes[route.name] = problem
            else:
                # The problem has waited already; this is told right after what is told of it.
                due_at = open_at(route, max(self._now_at, problem.last_due_at()))
                if problem.told:
                    self._again[Key(service_id, topic, route.name)] = None
            problem.added.append(self._add(subject, route.name, due_at))

    def recovery(self, subject: Subject, service_id: int) -> None:
        topic = subject.alert.topic.value
        at_routes = self._standing.pop((service_id, topic), {})
        for plugin, problem in at_routes.items():
            key = Key(service_id, topic, plugin)
            self._again.pop(key, None)
            if not problem.new:
                self._over.append(key)
        for route in self._routes:
            stood = at_routes.get(route.name)
            due_at = None if stood is None else self._take_back(stood)
            if due_at is not None:
                self._add(subject, route.name, open_at(route, max(self._now_at, due_at)))

    def plan(self) -> Plan:
        began = tuple(
            (Key(service_id, topic, plugin), problem.alert_id)
            for (service_id, topic), at_routes in self._standing.items()
            for plugin, problem in at_routes.items()
            if problem.new
        )
        rows = tuple(row.done() for row in self._rows)
        return Plan(tuple(self._cancelled), tuple(self._over), tuple(self._again), rows, began)

    def _take_back(self, problem: _Problem) -> float | None:
        """Cancel what need not be told of a problem that is over.

        Return when its recovery may be told, as far as the problem decides that; None: never, since
        nothing was told.
        """
        due_at = 0.0 if problem.told else None
        for waiting in problem.waiting:
            # What was tried may have arrived. What is due may be on its way.
            if waiting.tries == 0 and (waiting.reminder or waiting.due_at > self._now_at):
                self._cancelled.append(waiting.id)
            else:
                due_at = max(due_at or 0.0, waiting.due_at)
        for row in problem.added:
            if row.due_at > self._now_at:
                row.status, row.outcome = CANCELLED, OVER
            else:
                due_at = max(due_at or 0.0, row.due_at)
        return due_at

    def _takers(self, subject: Subject) -> Sequence[Route]:
        found = [route for route in self._routes if wants(route, subject)]
        if not found and subject.server_id is None and subject.alert.channel in OWN_CHANNELS:
            # Somebody has to hear of it.
            return self._routes
        return found

    def _silence(self, subject: Subject) -> Silence | None:
        if subject.server_id is None:
            return None
        return find_silence(self._silences, subject.server, subject.service)

    def _add(
        self, subject: Subject, plugin: str, due_at: float, silence: Silence | None = None
    ) -> _Row:
        row = _Row(
            Row(
                subject.alert_id, plugin, subject.server_id, subject.service_id,
                PENDING if silence is None else SILENCED, due_at,
                None if silence is None else silence.id,
            )
        )  # fmt: skip
        self._rows.append(row)
        return row
