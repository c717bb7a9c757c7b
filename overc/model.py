"""The words of the domain. Immutable values on the standard library, no I/O.

They are named tuples, not frozen dataclasses: some are made for every state that comes in, and a
named tuple is made in a quarter of the time. Times named `..._at` are epoch seconds, UTC; spans
named `..._s` are seconds.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

DEFAULT_PORT = 5000
"""Where the server listens, and agents push, unless told otherwise."""


class State(str, enum.Enum):
    """What a service says of itself. The values are the words of the wire and of the database."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNK = "UNK"

    def __init__(self, word: str) -> None:
        # A driver takes a plain string several times faster than a subclass of one.
        self.word = word
        """The value as a plain string."""

    def __str__(self) -> str:
        return self.value


EXIT_STATES = {0: State.OK, 1: State.WARN, 2: State.FAIL}
"""The Nagios plugin API's exit statuses; any other one is UNK."""


class Channel(str, enum.Enum):
    """Where an alert comes from."""

    SERVICE_STATE = "service:state"
    PLUGIN = "plugin"
    API = "api"
    ALERT_PLUGIN = "alert-plugin"
    OVERC = "overc"

    def __str__(self) -> str:
        return self.value


class ServerIdentity(NamedTuple):
    """The name that a host reports under, and the key that proves it."""

    name: str
    key: str


class ServiceReport(NamedTuple):
    """One state of one service, with the promise of when the next one comes."""

    name: str
    state: State
    info: str
    period_s: int
    seen_at: float | None = None
    """When the host saw it, by the host's own clock; None: just now."""
    grace_s: float | None = None
    """How long after the period it may still come; None: as the server's rules say."""


class AlertReport(NamedTuple):
    """A message that a host wants passed on, about a service or about itself."""

    message: str
    service: str | None = None


class Spooled(NamedTuple):
    """Which report of which spool this is, so that a resent one is known again."""

    spool: str
    """Names the spool, in all the world: a UUID."""
    seq: int
    """Counts the spool's reports from 1 up, in the order in which they were made."""


class Report(NamedTuple):
    """All that one request says, and who said it. Empty of both, it is a ping."""

    server: ServerIdentity
    peer_ip: str
    services: tuple[ServiceReport, ...] = ()
    alerts: tuple[AlertReport, ...] = ()
    spooled: Spooled | None = None


class Memory(NamedTuple):
    """What is to be remembered of a service beyond its state, to judge its next report by.

    See Note [Told and true] in `overc.daemon.judge`.
    """

    told: State | None = State.OK
    """The state that people were told of last; None before there was anything to tell."""
    bad: int = 0
    """How many bad reports came in a row that nobody was told of yet."""
    first_info: str = ""
    """What the first of them said."""
    since_at: float | None = None
    """Since when the problem lasts that people were told of; or of none yet, the coming one."""
    late_at: float | None = None
    """Since when the service is late."""
    changes: tuple[float, ...] = ()
    """When its state changed of late, where that is watched."""
    flapping: bool = False


class ServiceStatus(NamedTuple):
    """What the server holds to be true of a service now.

    `deadline_at` is on the steady clock (see `overc.clock`) and None while nothing is awaited: the
    service never promised a period, or it is late already. `timed_out` says that it is late.
    """

    state: State | None = None
    period_s: int | None = None
    deadline_at: float | None = None
    timed_out: bool = False
    grace_s: float = 0.0
    """How much of the time before the deadline is grace."""
    due_at: float | None = None
    """By the wall clock: when the next report is expected, where a calendar says it."""
    memory: Memory | None = None
    """None: there is nothing but the state to remember."""


class Phase(str, enum.Enum):
    """What an alert is to the problem that it is about."""

    PROBLEM = "problem"
    RECOVERY = "recovery"
    NOTE = "note"
    """It stands for itself: nothing follows that would end it."""

    def __str__(self) -> str:
        return self.value


class Topic(str, enum.Enum):
    """The kinds of problems that a service has side by side; a recovery ends one of them."""

    STATE = "state"
    LATE = "late"
    NONE = ""

    def __str__(self) -> str:
        return self.value


class Alert(NamedTuple):
    """Something that people should hear of."""

    channel: Channel
    event: str
    message: str
    severity: State
    phase: Phase = Phase.NOTE
    topic: Topic = Topic.NONE
    previous: State | None = None
    """The state before the one that this tells of."""
    since_at: float | None = None
    """By the wall clock: since when the problem lasts or, at its recovery, lasted."""


class Notice(NamedTuple):
    """One alert that was raised, with all that a message may say of it."""

    alert_id: int
    channel: str
    event: str
    severity: str
    message: str
    raised_at: float
    phase: str
    topic: str
    server: str | None
    """The title, for people; None: it is about OverC itself."""
    server_id: int | None
    service: str | None
    """The title; None: it is about the server as a whole."""
    service_id: int | None
    server_name: str | None
    service_name: str | None
    state: str | None
    """The state that was current when the alert was raised; None: the service has none."""
    info: str | None
    previous: str | None
    since_at: float | None
    """Since when the problem lasts or, at its recovery, lasted."""
    reminder: bool = False
