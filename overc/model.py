"""The words of the domain. Frozen values on the standard library, no I/O.

Times named `..._at` are epoch seconds, UTC; spans named `..._s` are seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

DEFAULT_PORT = 5000
"""Where the server listens, and agents push, unless told otherwise."""


class State(str, enum.Enum):
    """What a service says of itself. The values are the words of the wire and of the database."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNK = "UNK"

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

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The name that a host reports under, and the key that proves it."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One state of one service, with the promise of when the next one comes."""

    name: str
    state: State
    info: str
    period_s: int


@dataclass(frozen=True, slots=True)
class AlertReport:
    """A message that a host wants passed on, about a service or about itself."""

    message: str
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that one request says, and who said it. Empty of both, it is a ping."""

    server: ServerIdentity
    peer_ip: str
    services: tuple[ServiceReport, ...] = ()
    alerts: tuple[AlertReport, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What the server holds to be true of a service now.

    `deadline_at` is on the steady clock (see `overc.clock`) and None while nothing is awaited: the
    service never promised a period, or it is late already. `timed_out` says that it is late.
    """

    state: State | None = None
    period_s: int | None = None
    deadline_at: float | None = None
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that people should hear of."""

    channel: Channel
    event: str
    message: str
    severity: State
