"""Who was told and why, and who shall not be told: acks, silences, explanations, tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from overc.clock import Clock
from overc.config import parse_duration
from overc.daemon.alerting import attending, explaining
from overc.daemon.alerting.trial import NoTrial, Trial, TrialUnderWay
from overc.daemon.store import explain, kept_back
from overc.daemon.store.engine import Store, Transaction
from overc.web import attention_json, reports
from overc.web.access import Refusal
from overc.web.answers import Answer, as_json
from overc.web.insight import Insight
from overc.web.reporting import Intake

DAY_S = 86400
SPAN_MAX_S = 366 * DAY_S
"""Of a silence: what is to be left alone for longer is better not watched."""

ID_END = 10**18
"""Databases fail on longer ones."""

UTC_OFFSET_MAX_MIN = 24 * 60 - 1
SOMEBODY = "somebody"


class Asked(NamedTuple):
    """A request, as far as it matters here."""

    body: bytes
    args: dict[bytes, list[bytes]]
    peer_ip: str
    user: str | None
    """By whose credentials it came in."""
    is_remote: bool = False
    """A proxy has checked who the user is, so this name always stands."""

    def argument(self, name: str) -> str | None:
        values = self.args.get(name.encode())
        return values[-1].decode(errors="replace") if values else None

    def author(self, given: str | UnsetType | None) -> str:
        if self.is_remote and given and given != self.user:
            return f"{given} ({self.user})"
        return given or self.user or self.peer_ip or SOMEBODY


class _Body(msgspec.Struct):
    def count_keys(self) -> int:
        return len(msgspec.to_builtins(self))


class _Which(_Body):
    service_id: int | UnsetType | None = UNSET
    server: str | UnsetType | None = UNSET
    service: str | UnsetType | None = UNSET


class _Ack(_Which, kw_only=True):
    reason: str
    author: str | UnsetType | None = UNSET


class _Silence(_Body, kw_only=True):
    reason: str
    servers: str = "*"
    services: str = "*"
    server_id: int | UnsetType | None = UNSET
    service_id: int | UnsetType | None = UNSET
    author: str | UnsetType | None = UNSET
    start: int | float | str | UnsetType | None = msgspec.field(name="from", default=UNSET)
    until: int | float | str | UnsetType | None = UNSET
    span: int | float | str | UnsetType | None = msgspec.field(name="for", default=UNSET)


class _Change(_Body):
    until: int | float | str | UnsetType | None = UNSET
    span: int | float | str | UnsetType | None = msgspec.field(name="for", default=UNSET)


class _Snooze(_Body):
    reason: str | UnsetType | None = UNSET
    services: str | UnsetType | None = UNSET
    span: int | float | str | UnsetType | None = msgspec.field(name="for", default=UNSET)
    end: bool = False


class _Test(_Body):
    plugin: str | UnsetType | None = UNSET


_ACK = msgspec.json.Decoder(_Ack)
_WHICH = msgspec.json.Decoder(_Which)
_SILENCE = msgspec.json.Decoder(_Silence)
_CHANGE = msgspec.json.Decoder(_Change)
_SNOOZE = msgspec.json.Decoder(_Snooze)
_TEST = msgspec.json.Decoder(_Test)


class Attention:
    """Every method returns an Answer or raises what `overc.web.answers.refusal_of` knows."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        intake: Intake,
        trial: Trial,
        insight: Insight,
        zone: tzinfo | None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`zone`: by whose clock people read times, unless they say so.

        `changed` is called after what is kept back, or no longer is, has changed.
        """
        self._store = store
        self._clock = clock
        self._intake = intake
        self._trial = trial
        self._insight = insight
        self._zone = zone
        self._changed = changed

    async def acknowledge(self, asked: Asked) -> Answer:
        sent = reports.decode(_ACK, asked.body)
        author = asked.author(sent.author)
        now_at = self._clock.wall()

        def write(tx: Transaction) -> int:
            service_id = _service_id(tx, sent)
            with_words = _in_words(attending.acknowledge)
            refused = with_words(tx, service_id, author, sent.reason, now_at)
            if refused is not None:
                raise Refusal(409, refused)
            return service_id

        service_id = await self._store.write("acknowledge a problem", write)
        self._changed()
        return as_json({"ok": 1, "service_id": service_id})

    async def unacknowledge(self, asked: Asked) -> Answer:
        sent = reports.decode(_WHICH, asked.body)

        def write(tx: Transaction) -> int:
            service_id = _service_id(tx, sent)
            if not kept_back.is_acknowledged(tx, service_id):
                raise Refusal(409, "nobody has acknowledged a problem of this service")
            attending.clear_acks(tx, [service_id])
            return service_id

        service_id = await self._store.write("take back an acknowledgement", write)
        self._changed()
        return as_json({"ok": 1, "service_id": service_id})

    async def silences(self, asked: Asked) -> Answer:
        return as_json(await self._insight.silences())

    async def silence(self, asked: Asked) -> Answer:
        sent = reports.decode(_SILENCE, asked.body)
        now_at = self._clock.wall()
        start_at, until_at = parse_time(sent.start, "from"), parse_time(sent.until, "until")
        span_s = _span_s(sent.span)
        starts_at = now_at if start_at is None else max(start_at, now_at)
        if (span_s is None) is (until_at is None):
            raise Refusal(400, 'give either "for", such as "2h", or "until", a time in UTC')
        ends_at = until_at or starts_at + (span_s or 0)
        author = asked.author(sent.author)
        servers, services = await self._which(sent)
        return await self._silence(servers, services, author, sent.reason, starts_at, ends_at)

    async def _which(self, sent: _Silence) -> tuple[str, str]:
        """Return the patterns of a silence; for a server or a service by its id, those of its
        name."""
        given = [id_ for id_ in (sent.server_id, sent.service_id) if id_ is not UNSET]
        if not given:
            return sent.servers, sent.services
        if len(given) > 1 or (sent.servers, sent.services) != ("*", "*"):
            raise Refusal(400, 'give "servers" and "services", or "server_id", or "service_id"')
        [id_] = given
        if id_ is None or not 0 <= id_ < ID_END:
            raise Refusal(404, "there is nothing of this id: it may have been deleted")
        if sent.service_id is UNSET:
            name = await self._insight.server_name(id_)
            if name is None:
                raise Refusal(404, f"there is no server {id_}: it may have been deleted")
            return attending.exactly(name), "*"
        names = await self._insight.names(id_)
        if names is None:
            raise Refusal(404, f"there is no service {id_}: it may have been deleted")
        server, service = map(attending.exactly, names)
        return server, service

    async def change_silence(self, asked: Asked, silence_id: int) -> Answer:
        """Let a silence end at another time, or last longer."""
        sent = reports.decode(_CHANGE, asked.body)
        now_at = self._clock.wall()
        span_s, until_at = _span_s(sent.span), parse_time(sent.until, "until")
        if (span_s is None) is (until_at is None):
            raise Refusal(400, 'give either "for", how much longer, or "until", a time in UTC')

        def write(tx: Transaction) -> tuple[float, float]:
            found = kept_back.silence(tx, silence_id)
            if found is None:
                raise Refusal(404, f"there is no silence {silence_id}")
            ends_at = until_at or found.ends_at + (span_s or 0)
            refused = _in_words(attending.change_silence)(tx, silence_id, ends_at, now_at)
            if refused is not None:
                raise Refusal(409, refused)
            return found.starts_at, ends_at

        times = await self._store.write("change a silence", write)
        self._changed()
        return as_json({"ok": 1, **attention_json.begun(silence_id, *times)})

    async def preview(self, asked: Asked) -> Answer:
        """Say what a silence would keep back; nothing is changed."""
        servers, services = asked.argument("servers"), asked.argument("services")
        try:
            found = await self._insight.preview(servers or "*", services or "*")
        except ValueError as e:
            raise Refusal(400, str(e)) from None
        return as_json(
            {
                "n_services": found.n_services,
                "n_servers": found.n_servers,
                "services": [{"server": server, "name": name} for server, name in found.named],
            }
        )

    async def end_silence(self, asked: Asked, silence_id: int) -> Answer:
        now_at = self._clock.wall()

        def write(tx: Transaction) -> None:
            if kept_back.silence(tx, silence_id) is None:
                raise Refusal(404, f"there is no silence {silence_id}")
            refused = attending.end_silence(tx, silence_id, now_at)
            if refused is not None:
                raise Refusal(409, refused)

        await self._store.write("end a silence", write)
        self._changed()
        return as_json({"ok": 1})

    async def snooze(self, asked: Asked) -> Answer:
        """Let a host silence itself. Its key is proved as by a ping."""
        report = reports.decode_ping(asked.body, asked.peer_ip)
        sent = reports.decode(_SNOOZE, asked.body)
        host = report.server.name
        span_s = _span_s(sent.span)
        if sent.end is (span_s is not None and bool(sent.reason)):
            raise Refusal(400, 'give "for", such as "20m", and "reason"; or "end": true alone')
        servers = attending.exactly(host)
        # What no pattern can say exactly would be the name of others too.
        if "?" in servers.replace("[?]", ""):
            raise Refusal(
                409,
                "a name with a comma, with white space at an end or a ! at its beginning can't"
                " silence itself: use /ui/api/silences",
            )
        await self._intake.submit(report)
        now_at = self._clock.wall()
        if span_s is not None:
            ends_at, services = now_at + span_s, sent.services or "*"
            return await self._silence(servers, services, host, sent.reason or "", now_at, ends_at)

        def end(tx: Transaction) -> int:
            own = [
                one
                for one in kept_back.silences(tx, now_at)
                if (one.servers, one.author) == (servers, host) and one.ends_at > now_at
            ]
            return sum(attending.end_silence(tx, one.id, now_at) is None for one in own)

        ended = await self._store.write("end silences", end)
        self._changed()
        return as_json({"ok": 1, "ended": ended})

    async def explain(self, asked: Asked, service_id: int | None = None) -> Answer:
        zone = self._zone_of(asked)
        server, service = asked.argument("server"), asked.argument("service")
        which = _Which(UNSET if service_id is None else service_id, server, service)
        why = await self._insight.explain(lambda tx: _service_id(tx, which))
        assert why is not None
        return as_json(
            {
                **attention_json.explanation(why),
                "text": explaining.sentences(why, self._clock.wall(), zone),
            }
        )

    async def test_alerts(self, asked: Asked) -> Answer:
        sent = reports.decode(_TEST, asked.body.strip() or b"{}")
        known = self._trial.plugins
        if sent.plugin and sent.plugin not in known:
            names = ", ".join(known) or "none"
            raise Refusal(
                404, f"there is no alert channel {sent.plugin!r:.80}; configured: {names}"
            )
        try:
            results = await self._trial.send([sent.plugin] if sent.plugin else known)
        except TrialUnderWay as e:
            raise Refusal(409, str(e)) from None
        except NoTrial as e:
            raise Refusal(503, str(e)) from None
        return as_json({"results": [one._asdict() for one in results]})

    async def _silence(
        self,
        servers: str,
        services: str,
        author: str,
        reason: str,
        starts_at: float,
        ends_at: float,
    ) -> Answer:
        now_at = self._clock.wall()
        silence_id = await self._store.write(
            "silence services", _in_words(attending.silence),
            servers, services, author, reason, starts_at, ends_at, now_at,
        )  # fmt: skip
        self._changed()
        return as_json({"ok": 1, **attention_json.begun(silence_id, starts_at, ends_at)})

    def _zone_of(self, asked: Asked) -> tzinfo | None:
        text = asked.argument("utc_offset")
        if text is None:
            return self._zone
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 5) or (
            int(digits) > UTC_OFFSET_MAX_MIN
        ):
            raise Refusal(400, f"utc_offset: expected minutes such as 60 or -300, got {text!r:.40}")
        return timezone(timedelta(minutes=int(text)))


def _in_words(write: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose ValueErrors are refusals."""

    def guarded(*args: Any) -> Any:
        try:
            return write(*args)
        except ValueError as e:
            raise Refusal(400, str(e)) from None

    return guarded


def _service_id(tx: Transaction, which: _Which) -> int:
    """Return the id of the service that a request means. Raises Refusal."""
    if which.service_id is not UNSET and which.service_id is not None:
        id_ = which.service_id
        if not 0 <= id_ < ID_END or explain.names(tx, id_) is None:
            shown = id_ if abs(id_) < ID_END else "of this id"
            raise Refusal(404, f"there is no service {shown}: it may have been deleted")
        return id_
    if not which.server or not which.service:
        raise Refusal(400, 'say which service: "service_id", or "server" and "service" by name')
    found = explain.find_service(tx, which.server, which.service)
    if found is None:
        raise Refusal(404, f"{which.server!r:.80} has no service {which.service!r:.80}")
    return found


def _span_s(sent: int | float | str | UnsetType | None) -> float | None:
    """Return the seconds of a span, None for none."""
    if sent is UNSET or sent is None:
        return None
    try:
        span_s = parse_duration(sent) if isinstance(sent, str) else float(sent)
    except (ValueError, OverflowError) as e:
        raise Refusal(400, f"for: {e}") from None
    if not 0 < span_s <= SPAN_MAX_S:
        raise Refusal(
            400, f"for: expected more than 0 seconds and at most {SPAN_MAX_S // DAY_S} days"
        )
    return span_s


def parse_time(sent: int | float | str | UnsetType | None, path: str) -> float | None:
    """Return the epoch seconds of a time that is sent as such, or as text in UTC; None for none."""
    if sent is UNSET or sent is None:
        return None
    if not isinstance(sent, str):
        if not 0 < sent <= reports.TIME_MAX_AT:
            raise Refusal(400, f"{path}: expected epoch seconds, got another number")
        return float(sent)
    try:
        when = datetime.fromisoformat(sent.strip().removesuffix("Z"))
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        raise Refusal(
            400, f"{path}: expected a time in UTC such as 2026-12-01 06:00, got {sent!r:.40}"
        ) from None
