"""What the pages of a service and of a server show of the past, in words and in places. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

from overc.daemon.alerting.explaining import Explanation
from overc.daemon.rollups import DAY_S
from overc.daemon.store.engine import Row
from overc.web import graphs, timeline
from overc.web.graphs import Figures, Graph
from overc.web.timeline import GAP, NONE, Strip, Tick, percent_words
from overc.web.words import period_words, span_words, utc_text

RANGES = {24: "24 hours", 168: "7 days", 2160: "90 days"}
"""How far back the pages of a service and of a server offer to look."""

TICK_WIDTH = 10
STRIP_HEIGHT = 40
# Problems stand taller, so that the strip can be read without its colours.
_HEIGHTS = {"OK": 24, "WARN": 32, "UNK": 32, "FAIL": 40, GAP: 8, NONE: 3}
_WORDS = {
    "FAIL": "FAIL",
    "WARN": "WARN",
    "UNK": "UNK",
    "OK": "OK",
    GAP: "no report in time",
    NONE: "nothing known",
}
_GAP_WIDTH = 2
_WIDEST_SHARE = 0.995
_REST_MAX = 0.6


class Bar(NamedTuple):
    """A tick as the SVG draws it; `at` and `until` are epoch seconds."""

    x: float
    y: float
    width: float
    height: float
    mark: str
    at: int
    until: int
    words: str
    when: str
    """Its time in UTC, until a script says it in local time."""
    rest: float = 0
    """How high the part below it is that stands for the time in which it was OK."""


class Key(NamedTuple):
    """What a mark means."""

    mark: str
    word: str
    y: float
    height: float


class Label(NamedTuple):
    at: int
    words: str


@dataclass(frozen=True)
class StripView:
    bars: tuple[Bar, ...]
    width: int
    height: int
    by_day: bool
    labels: tuple[Label, ...]
    availability: str | None
    known: str | None
    """How much of the time is known, if it is not all of it."""
    summary: str

    @property
    def legend(self) -> list[Key]:
        """The marks that stand in it, the worst first."""
        there = {bar.mark for bar in self.bars} | {"ok" for bar in self.bars if bar.rest}
        return [
            Key(state.lower(), word, STRIP_HEIGHT - _HEIGHTS[state], _HEIGHTS[state])
            for state, word in _WORDS.items()
            if state.lower() in there
        ]

    @property
    def paths(self) -> list[tuple[str, str]]:
        """The same bars as one shape for each mark."""
        parts: dict[str, list[str]] = {}
        for bar in self.bars:
            for mark, y, height in (
                (bar.mark, bar.y, bar.height),
                ("ok", bar.y + bar.height, bar.rest),
            ):
                if height:
                    shape = f"M{bar.x:g} {y:g}h{bar.width:g}v{height:g}h-{bar.width:g}z"
                    parts.setdefault(mark, []).append(shape)
        return [(mark, "".join(part)) for mark, part in parts.items()]

    @property
    def words(self) -> list[str]:
        return [bar.words for bar in self.bars]


class Attempt(NamedTuple):
    """A line of a delivery log."""

    at: str
    plugin: str
    delivered: bool
    reminder: bool
    took: str
    words: str


class GraphView(NamedTuple):
    unit: str
    title: str
    figures: tuple[Figures, ...]


class Promised(NamedTuple):
    """What a service promises, and when it will be late."""

    words: str
    due: str | None = None
    """The UTC text of when the next report is due."""
    due_words: str = ""
    """`in 40 s`, or since when it is overdue."""
    is_over: bool = False
    late_for: str | None = None


@dataclass(frozen=True)
class ServiceView:
    strip: StripView | None = None
    graphs: Sequence[GraphView] = ()
    log: Mapping[int, Sequence[Attempt]] = field(default_factory=dict)
    """By the alert."""
    promised: Promised | None = None
    n_alerts: int = 0
    is_cut: bool = False
    """There are more states than were read."""


@dataclass(frozen=True)
class ServerView:
    strips: Mapping[int, StripView] = field(default_factory=dict)
    """By the service."""
    availability: str | None = None
    known_since: str | None = None
    agent: str | None = None
    """Its version."""
    n_alerts: int = 0


NO_VIEW = ServiceView()
NO_SERVER_VIEW = ServerView()


def strip_view(strip: Strip) -> StripView:
    grid = strip.grid
    bars = []
    for place, tick in enumerate(strip.ticks):
        height = _HEIGHTS[tick.state]
        rest = round(_rest(tick) * height, 1)
        bars.append(
            Bar(
                place * TICK_WIDTH + _GAP_WIDTH / 2,
                STRIP_HEIGHT - height,
                TICK_WIDTH - _GAP_WIDTH,
                height - rest,
                tick.state.lower(),
                tick.starts_at,
                tick.ends_at,
                tick.words,
                _when(tick.starts_at, tick.ends_at),
                rest,
            )
        )
    by_day = grid.ends_at - grid.starts_at > 2 * DAY_S
    quarters = [grid.starts_at + grid.n_ticks * part // 4 * grid.tick_s for part in range(4)]
    share = strip.known_ms / max(1000, (grid.now_at - grid.starts_at) * 1000)
    known = None
    if 0 < share < _WIDEST_SHARE:
        known = f"known for {span_words(strip.known_ms / 1000)}"
    return StripView(
        tuple(bars),
        grid.n_ticks * TICK_WIDTH,
        STRIP_HEIGHT,
        by_day,
        tuple(Label(at, _label(at, by_day=by_day)) for at in quarters),
        None if strip.availability is None else percent_words(strip.availability),
        known,
        timeline.summary(strip),
    )


def _rest(tick: Tick) -> float:
    """Return the share of a tick with a problem that is drawn as OK: short ones look short."""
    if tick.state not in ("FAIL", "WARN", "UNK") or not tick.known.ok_ms:
        return 0
    return min(_REST_MAX, tick.known.ok_ms / sum(tick.known))


def _when(at: int, until: int) -> str:
    start = datetime.fromtimestamp(at, timezone.utc)
    if until - at >= DAY_S:
        return f"{start:%Y-%m-%d}"
    return f"{start:%Y-%m-%d %H:%M}-{datetime.fromtimestamp(until, timezone.utc):%H:%M}"


def _label(at: int, *, by_day: bool) -> str:
    when = datetime.fromtimestamp(at, timezone.utc)
    return f"{when.day} {when:%b}" if by_day else f"{when:%H:%M}"


def graph_views(found: Iterable[Graph]) -> list[GraphView]:
    return [
        GraphView(one.unit, graphs.unit_words(one.unit), tuple(graphs.figures(one)))
        for one in found
    ]


def log(attempts: Iterable[Row]) -> dict[int, list[Attempt]]:
    """Return the attempts by their alert, the newest first as they came."""
    found: dict[int, list[Attempt]] = {}
    for alert_id, plugin, reminder, tried_at, took_s, delivered, words in attempts:
        took = f"{took_s:.1f} s" if took_s < 60 else span_words(took_s)
        one = Attempt(utc_text(tried_at), plugin, bool(delivered), bool(reminder), took, words)
        found.setdefault(alert_id, []).append(one)
    return found


def promised(why: Explanation, now_at: float) -> Promised:
    service = why.facts.service
    if service.due_at is not None:
        words = "by its calendar"
    elif service.period_s:
        words = f"every {period_words(service.period_s)}"
    else:
        return Promised("nothing, it can't be late")
    if service.grace_s:
        words += f", with {span_words(service.grace_s)} of grace"
    if service.timed_out:
        late = None if why.late_at is None else span_words(now_at - why.late_at)
        return Promised(words, late_for=late)
    if why.deadline_at is None:
        return Promised(words)
    left_s = why.deadline_at - now_at
    return Promised(words, utc_text(why.deadline_at), span_words(left_s), left_s < 0)


def overall(strips: Iterable[Strip]) -> str | None:
    """Return the availability of several services together."""
    known_ms = up_ms = 0
    for strip in strips:
        known = strip.known
        known_ms += sum(known)
        up_ms += known.ok_ms + known.warn_ms
    return percent_words(100 * up_ms / known_ms) if known_ms else None


OWN_SERVICE = "overc-agent"
_VERSION = re.compile(r"OverC ([0-9][0-9A-Za-z.+-]{0,30})")


def agent_version(status: Mapping[str, Any]) -> str | None:
    """Return the version of a server's agent, if it reports one about itself."""
    for server in status["servers"]:
        for service in server["services"]:
            if service["name"] == OWN_SERVICE and service["state"]:
                found = _VERSION.match(service["state"]["info"])
                return found[1] if found else None
    return None
