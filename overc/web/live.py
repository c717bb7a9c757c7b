"""The event stream: tells open pages what has changed, without being asked.

Note [Live]
~~~~~~~~~~~
While somebody looks there are rounds: one follows soon after a commit, at most every LEAST_S, and
one each TICK_S in any case, since other nodes and the clock change things too. A round brings the
board up to date and gives each viewer what came since the version that he has; viewers at the same
version get the same bytes. Nobody has a queue: who does not read fast enough is passed over until
his connection takes more, and then gets what came in between as one change. So a viewer costs at
most one answer's memory, and one that does not read at all is let go; it comes back by itself and
says what it has seen last. While nobody looks, nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from overc.clock import Clock
from overc.daemon.rest import Rest
from overc.daemon.store.errors import StorageError
from overc.logging import get_logger
from overc.web.access import Refusal, header
from overc.web.answers import ALWAYS, RETRY_AFTER_S
from overc.web.banners import Banner, banners
from overc.web.live_rows import Board
from overc.web.live_topics import TOPICS, Selected, Topics

LEAST_S = 0.25
"""Between two rounds."""

TICK_S = 1.0
"""A round comes at least so often."""

HEARTBEAT_S = 14.0
"""So often each viewer hears something: one that hears nothing for 40 s takes it for broken."""

SLOW_S = 30.0
"""A viewer that has read nothing for so long is let go."""

VIEWERS_MAX = 1000

ROWS_MAX = 5000
"""So many rows in one event; when more have changed the page had better load all of them anew."""

ID_CHARS = 18

HEADERS = {
    **ALWAYS,
    "Content-Type": "text/event-stream",
    # Asks nginx to pass each event on when it comes.
    "X-Accel-Buffering": "no",
}

log = get_logger(__name__)


class Wanted(NamedTuple):
    """What a viewer asks for."""

    selected: Selected
    rows: bool
    since: int | None
    """The version of what it shows; None: it shows what is there now."""

    @property
    def changes(self) -> bool:
        """It shows something that is to be told to have changed."""
        return self.selected != Selected()


def read_wanted(args: Mapping[bytes, list[bytes]], last_event_id: str | None) -> Wanted:
    """Return what a request asks for. Raises Refusal.

    `last_event_id`: what a browser says when it comes back by itself. One that makes no sense is
    none of ours, like those of a former process.
    """

    def last(name: str) -> str | None:
        values = args.get(name.encode())
        return values[-1].decode(errors="replace") if values else None

    def number(name: str) -> int | None:
        text = last(name)
        if text is not None and not _is_number(text):
            raise Refusal(400, f"{name}: expected a number, got {text!r:.40}")
        return None if text is None else int(text)

    rows, topic = last("rows") or "no", last("topic")
    if rows not in ("yes", "no"):
        raise Refusal(400, f"rows: expected yes or no, got {rows!r:.40}")
    if topic is not None and topic not in TOPICS:
        raise Refusal(400, f"topic: expected {' or '.join(TOPICS)}, got {topic!r:.40}")
    selected = Selected(number("server"), number("service"), topic)
    if sum(one is not None for one in selected) + (rows == "yes") > 1:
        raise Refusal(400, "ask for one of rows, server, service and topic in one stream")
    since = number("since")
    if last_event_id is not None:
        since = int(last_event_id) if _is_number(last_event_id) else 0
    return Wanted(selected, rows == "yes", since)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= ID_CHARS


@implementer(IPushProducer)
class Viewer:
    """An open page."""

    def __init__(self, request: Request, wanted: Wanted, clock: Clock) -> None:
        self.wanted = wanted
        self.version = wanted.since
        """What it has; None: it is to be taken as it is at its first round."""
        self.said: object = None
        """What it was last told of how things stand."""
        self.said_at = 0.0
        self.paused_at: float | None = None
        """Since when its connection takes no more."""
        self.ended: Deferred[None] = Deferred()
        self._request = request
        self._clock = clock

    def begin(self) -> None:
        _set_headers(self._request)
        self._request.registerProducer(self, True)
        self.send(b"retry: 2000\n\n")

    def send(self, data: bytes) -> None:
        self._request.write(data)

    def pauseProducing(self) -> None:
        if self.paused_at is None:
            self.paused_at = self._clock.steady()

    def resumeProducing(self) -> None:
        self.paused_at = None

    def stopProducing(self) -> None:
        """Do nothing: the request says so too when its connection is gone."""

    def end(self) -> None:
        """End the stream, and the connection once all is sent."""
        channel: Any = self._request.channel
        channel.persistent = False
        self._request.unregisterProducer()
        if self.paused_at is not None:
            # What waits would wait for ever.
            self.abort()
        if not self.ended.called:
            self.ended.callback(None)

    def abort(self) -> None:
        channel: Any = self._request.channel
        channel.transport.abortConnection()


class Live(Service):
    """Serves all viewers."""

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        board: Board,
        topics: Topics,
        lag_s: Callable[[], float],
        viewers_max: int = VIEWERS_MAX,
    ) -> None:
        """`lag_s`: by how much the watchdog is behind."""
        self._clock = clock
        self._board = board
        self._topics = topics
        self._lag_s = lag_s
        self._viewers_max = viewers_max
        self._viewers: dict[Viewer, None] = {}
        self._rest = Rest(reactor)
        self._running: Deferred[None] | None = None
        self._nudged = False
        self._idle = False
        self._now: tuple[dict[str, object], bytes] | None = None
        """The same object for as long as it says the same."""

    def nudge(self) -> None:
        """Say that something was committed."""
        self._nudged = True
        if self._idle:
            self._rest.wake()

    def care_changed(self) -> None:
        """Say that somebody takes care of something now, or does not any more."""
        self._board.stale()
        self._topics.stale()
        self.nudge()

    def open(self, request: Request) -> Deferred[None]:
        """Begin a stream. The Deferred fires when it is over; cancel it when the client is gone.

        Raises Refusal.
        """
        wanted = read_wanted(request.args or {}, header(request, b"last-event-id"))
        if request.method == b"HEAD":
            _set_headers(request)
            return succeed(None)
        if not self.running or len(self._viewers) >= self._viewers_max:
            why = "too many pages look" if self.running else "the server is not ready"
            raise Refusal(503, f"{why}: try again soon", {"Retry-After": str(RETRY_AFTER_S)})
        viewer = Viewer(request, wanted, self._clock)
        self._viewers[viewer] = None
        viewer.ended.addBoth(self._forget, viewer)
        viewer.begin()
        self.nudge()
        if self._running is None:
            self._running = ensureDeferred(self._run())
        return viewer.ended

    async def stopService(self) -> None:
        super().stopService()
        for viewer in list(self._viewers):
            viewer.end()
        self._rest.wake()
        if self._running is not None:
            await self._running

    def _forget(self, result: Any, viewer: Viewer) -> Any:
        self._viewers.pop(viewer, None)
        if not self._viewers:
            self._rest.wake()
        return result

    async def _run(self) -> None:
        while self._viewers:
            self._nudged = False
            try:
                await self._round()
            except Exception:
                log.failure("open pages could not be told what is new, the next try follows")
            if self._viewers:
                await self._rest.pause(LEAST_S)
            if self._viewers and not self._nudged:
                self._idle = True
                await self._rest.pause(TICK_S - LEAST_S)
                self._idle = False
        self._running = None

    async def _round(self) -> None:
        failed: StorageError | None = None
        try:
            await self._board.refresh()
            if any(viewer.wanted.changes for viewer in self._viewers):
                await self._topics.refresh()
        except StorageError as e:
            failed = e
        self._look(failed)
        events = _Events(self._board, self._topics)
        for viewer in list(self._viewers):
            self._serve(viewer, None if failed else events)

    def _look(self, failed: StorageError | None) -> None:
        """Note how things stand."""
        now_at, glance = self._clock.wall(), self._board.glance
        found = banners(glance, self._lag_s(), now_at)
        if failed is not None:
            found.append(Banner("database", f"{failed}. What is shown may be old."))
        said: dict[str, object] = {
            "counts": self._board.counts(),
            "attention": self._board.attention,
            "banners": [one._asdict() for one in found],
        }
        if self._now is not None and self._now[0] == said:
            said = self._now[0]
        self._now = said, msgspec.json.encode({"at": round(now_at, 3), **said})

    def _serve(self, viewer: Viewer, events: _Events | None) -> None:
        now_at = self._clock.steady()
        if viewer.paused_at is not None:
            if now_at - viewer.paused_at >= SLOW_S:
                viewer.abort()
            return
        data = b""
        if events is not None:
            data = events.of(viewer)
            viewer.version = events.version
        assert self._now is not None
        said, encoded = self._now
        if viewer.said is not said or now_at - viewer.said_at >= HEARTBEAT_S:
            viewer.said, viewer.said_at = said, now_at
            data += _event("now", viewer.version, encoded)
        if data:
            viewer.send(data)


class _Events:
    """What there is to tell in one round, made once for all viewers that have the same version."""

    def __init__(self, board: Board, topics: Topics) -> None:
        self._board = board
        self._topics = topics
        self._rows: dict[int, bytes] = {}
        self.version = board.version

    def of(self, viewer: Viewer) -> bytes:
        since, wanted = viewer.version, viewer.wanted
        if since is None or since == self.version:
            return b""
        if not self._board.knows(since):
            return _event("reset", self.version, b"{}")
        if wanted.rows:
            found = self._rows.get(since)
            if found is None:
                found = self._rows[since] = self._delta(since)
            return found
        if wanted.changes and self._topics.changed_since(wanted.selected, since):
            return _event("changed", self.version, b"{}")
        return b""

    def _delta(self, since: int) -> bytes:
        delta = self._board.delta(since, ROWS_MAX)
        if delta is None:
            return _event("reset", self.version, b"{}")
        return b"" if delta == b"{}" else _event("rows", self.version, delta)


def _set_headers(request: Request) -> None:
    for name, value in HEADERS.items():
        request.setHeader(name, value)


def _event(kind: str, version: int | None, data: bytes) -> bytes:
    id_ = b"" if version is None else b"id: %d\n" % version
    return b"event: %b\n%bdata: %b\n\n" % (kind.encode(), id_, data)
