"""The reporting API: decodes what agents and scripts send, and hands it to the intake.

With `overc.client` and the agent's encoder this is the only place that knows the wire's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from overc.daemon.expectations import Grace, parse_grace
from overc.model import AlertReport, Report, ServerIdentity, ServiceReport, Spooled, State

NAME_MAX = 255
"""Characters in the name of a server or a service."""

TEXT_MAX_BYTES = 64 * 1024
"""UTF-8 bytes of an info or a message that are kept."""

SURELY_SHORT = TEXT_MAX_BYTES // 4
"""So many characters never have more bytes."""

SPOOL_MAX = 64
"""Characters in the name of a spool."""

SEQ_MAX = 2**53
TIME_MAX_AT = 253402300799
"""The last second of the year 9999."""

CUT_MARK = "... (cut)"

PERIOD_MAX_S = 2**31 - 1

STATES = {state.value: state for state in State} | {"ERR": State.FAIL}


class Malformed(ValueError):
    """A body that is not what the contract asks for; the sentence names the place."""


class _Server(msgspec.Struct):
    name: str
    key: str


class _Ping(msgspec.Struct):
    server: _Server

    def count_keys(self) -> int:
        return 3


class _Service(msgspec.Struct, gc=False):
    name: str
    state: str
    info: str | UnsetType | None = UNSET
    period: int | float | str | UnsetType | None = UNSET
    time: int | float | UnsetType | None = UNSET
    grace: int | float | str | UnsetType | None = UNSET


class _Status(msgspec.Struct):
    server: _Server
    period: int | float | str
    services: list[_Service]
    spool: str | UnsetType | None = UNSET
    seq: int | UnsetType | None = UNSET
    grace: int | float | str | UnsetType | None = UNSET

    def count_keys(self) -> int:
        keys = 5 + (self.spool is not UNSET) + (self.seq is not UNSET)
        keys += self.grace is not UNSET
        for one in self.services:
            keys += (
                2 + (one.info is not UNSET) + (one.period is not UNSET) + (one.time is not UNSET)
                + (one.grace is not UNSET)
            )  # fmt: skip
        return keys


class _Alert(msgspec.Struct, gc=False):
    message: str
    service: str | UnsetType | None = UNSET


class _Alerts(msgspec.Struct):
    server: _Server
    alerts: list[_Alert]
    spool: str | UnsetType | None = UNSET
    seq: int | UnsetType | None = UNSET

    def count_keys(self) -> int:
        keys = 4 + (self.spool is not UNSET) + (self.seq is not UNSET)
        return keys + sum(1 + (one.service is not UNSET) for one in self.alerts)


_new = tuple.__new__


class Counted(Protocol):
    """A body that can say how many keys its objects have, all together."""

    def count_keys(self) -> int: ...


T = TypeVar("T", bound=Counted)


def decode_ping(body: bytes, peer_ip: str) -> Report:
    """Raises Malformed."""
    ping = decode(_PING, body)
    return Report(_server(ping.server), peer_ip)


def decode_status(body: bytes, peer_ip: str) -> Report:
    """Raises Malformed."""
    status = decode(_STATUS, body)
    server = _server(status.server)
    grace = None
    if status.grace is not UNSET and status.grace is not None:
        grace = _grace(status.grace, "grace")
    services = _services(status.services, status.period, grace)
    return Report(server, peer_ip, services, (), _spooled(status))


def decode_alerts(body: bytes, peer_ip: str) -> Report:
    """Raises Malformed."""
    sent = decode(_ALERTS, body)
    alerts = tuple(
        AlertReport(
            cut(one.message),
            _name(one.service, f"alerts[{place}].service") if one.service else None,
        )
        for place, one in enumerate(sent.alerts)
    )
    return Report(_server(sent.server), peer_ip, (), alerts, _spooled(sent))


def _server(sent: _Server) -> ServerIdentity:
    return ServerIdentity(_name(sent.name, "server.name"), sent.key)


def _services(
    services: list[_Service], common: int | float | str, common_grace: Grace | None
) -> tuple[ServiceReport, ...]:
    """Read all services of a request in one loop: it is run for every state.

    `common` and `common_grace` are the request's, for those that have none of their own.
    """
    reports: list[ServiceReport] = []
    common_s: int | None = None
    for place, sent in enumerate(services):
        name, info, period, grace = sent.name, sent.info or "", sent.period, common_grace
        if not 0 < len(name) <= NAME_MAX:
            _name(name, f"services[{place}].name")
        if period is not UNSET and period is not None:
            period_s = _period(period, f"services[{place}].period")
        else:
            if common_s is None:
                # Looked at only where a service goes by it: with nothing to report the original's
                # agent promises 0.
                common_s = _period(common, "period")
            period_s = common_s
        state = STATES.get(sent.state)
        if state is None:
            state = State.UNK
            info += f' (sent unsupported state: "{sent.state}")'
        if len(info) > SURELY_SHORT:
            info = cut(info)
        seen_at = None
        if sent.time is not UNSET and sent.time is not None:
            seen_at = _time(sent.time, f"services[{place}].time")
        if sent.grace is not UNSET and sent.grace is not None:
            grace = _grace(sent.grace, f"services[{place}].grace")
        grace_s = None if grace is None else grace.of(period_s)
        # Past the named tuple's own way, which takes twice as long.
        reports.append(_new(ServiceReport, (name, state, info, period_s, seen_at, grace_s)))
    return tuple(reports)


def _spooled(sent: _Status | _Alerts) -> Spooled | None:
    """Return the report's place in its spool; both names are given, or none of them."""
    if not sent.spool and (sent.seq is UNSET or sent.seq is None):
        return None
    if not sent.spool or len(sent.spool) > SPOOL_MAX:
        raise Malformed(f"spool: expected 1 to {SPOOL_MAX} characters beside seq, such as a UUID")
    if sent.seq is UNSET or sent.seq is None or not 0 < sent.seq <= SEQ_MAX:
        raise Malformed(f"seq: expected a whole number from 1 to {SEQ_MAX} beside spool")
    return Spooled(sent.spool, sent.seq)


def _time(sent: int | float, path: str) -> float:
    if not 0 <= sent <= TIME_MAX_AT:
        raise Malformed(f"{path}: expected epoch seconds, got {sent!r:.40}")
    return float(sent)


def _name(name: str, path: str) -> str:
    if not name:
        raise Malformed(f"{path}: expected a name, got an empty string")
    if len(name) > NAME_MAX:
        raise Malformed(f"{path}: expected at most {NAME_MAX} characters, got {len(name)}")
    return name


def _period(sent: int | float | str, path: str) -> int:
    period_s: int | float = 0
    if isinstance(sent, str):
        if sent.isascii() and sent.isdigit() and len(sent) < 20:
            period_s = int(sent)
    else:
        period_s = sent
    if period_s != int(period_s) or not 0 < period_s <= PERIOD_MAX_S:
        raise Malformed(
            f"{path}: expected a whole number of seconds from 1 to {PERIOD_MAX_S}, got {sent!r:.40}"
        )
    return int(period_s)


def _grace(sent: int | float | str, path: str) -> Grace:
    if not isinstance(sent, str):
        if 0 <= sent <= PERIOD_MAX_S:
            return Grace(float(sent))
    else:
        try:
            grace = parse_grace(sent)
        except ValueError as e:
            raise Malformed(f"{path}: {e!s:.200}") from None
        if grace.seconds <= PERIOD_MAX_S:
            return grace
    raise Malformed(
        f"{path}: expected seconds from 0 to {PERIOD_MAX_S}, or a string such as 5m or 20%,"
        f" got {sent!r:.40}"
    )


def cut(text: str) -> str:
    """Return a text of at most TEXT_MAX_BYTES, with CUT_MARK at its end if it was longer."""
    if len(text) <= SURELY_SHORT or len(encoded := text.encode()) <= TEXT_MAX_BYTES:
        return text
    return encoded[: TEXT_MAX_BYTES - len(CUT_MARK)].decode(errors="ignore") + CUT_MARK


_PING = msgspec.json.Decoder(_Ping)
_STATUS = msgspec.json.Decoder(_Status)
_ALERTS = msgspec.json.Decoder(_Alerts)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Read a JSON body. Raises Malformed."""
    try:
        decoded = decoder.decode(body)
        _refuse_duplicates(body, decoded.count_keys())
    except msgspec.ValidationError as e:
        raise Malformed(_in_words(str(e))) from None
    except msgspec.DecodeError as e:
        raise Malformed(_not_json(str(e), body)) from None
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8 text") from None
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    if b"\\u0000" in body:
        _refuse_nul(msgspec.to_builtins(decoded), "")
    return decoded


def _not_json(reason: str, body: bytes) -> str:
    if not body.strip():
        return "the body is empty: expected a JSON object"
    if "trailing comma" in reason:
        place = reason.rpartition("(")[2].rstrip(")")
        return f"the body is not JSON: remove the trailing comma at {place}"
    if "truncated" in reason:
        # To the decoder half an escaped pair looks like an end that is missing.
        return "the body is not JSON: it ends too early, or an escaped character is incomplete"
    return f"the body is not JSON: {reason.removeprefix('JSON is malformed: ')}"


_TYPES = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "object": "an object",
    "array": "a list",
    "bool": "true or false",
    "null": "null",
}
_KEY = re.compile(rb'"[ \t\r\n]*:')
_SPACES = (b" ", b"\t", b"\r", b"\n")
_WRONG_TYPE = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_PLACE = re.compile(r" - at `\$\.?(.*)`$")


def _in_words(error: str) -> str:
    """Turn msgspec's sentence into `services[2].name: expected a string, got a number`."""
    place = _PLACE.search(error)
    path = place.group(1) if place else ""
    reason = error[: place.start()] if place else error
    if missing := _MISSING.fullmatch(reason):
        name = missing.group(1)
        return f"{path}.{name}: is missing" if path else f"{name}: is missing"
    if wrong := _WRONG_TYPE.fullmatch(reason):
        words = [word for word in wrong.group(1).split(" | ") if word != "null"]
        wanted = [_TYPES.get(word, word) for word in words]
        if "int" in words and "float" not in words:
            wanted[words.index("int")] = "a whole number"
        got = _TYPES.get(wrong.group(2), wrong.group(2))
        reason = f"expected {' or '.join(dict.fromkeys(wanted))}, got {got}"
    return f"{path}: {reason}" if path else f"the body: {reason}"


def _refuse_duplicates(body: bytes, keys: int) -> None:
    """Raise Malformed where an object names a key twice: which one is meant can't be known.

    `keys`: how many keys were decoded. Something like a key may stand in a string too, so a larger
    count only means that it has to be looked at closely, and an equal one that all is well.
    """
    if body.count(b'":') <= keys and not _has_space_after_quotes(body):
        return
    if len(_KEY.findall(body)) <= keys:
        return

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"the key {json.dumps(key)} stands twice in one object")
            seen.add(key)

    # Numbers stay text: of those that nobody asked for, int() refuses some for their length.
    json.loads(body, object_pairs_hook=check, parse_int=str)


def _has_space_after_quotes(body: bytes) -> bool:
    """Say whether a colon may stand apart from its key."""
    # One byte is looked for many times faster than two of which the first is a frequent one.
    return any(space in body and b'"' + space in body for space in _SPACES)


def _refuse_nul(value: Any, path: str) -> None:
    if isinstance(value, str) and "\0" in value:
        raise Malformed(f"{path}: a NUL character (\\u0000) can't be stored: remove it")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _refuse_nul(inner, f"{path}[{place}]")


DECODERS: dict[str, tuple[Callable[[bytes, str], Report], dict[str, int]]] = {
    "/api/ping": (decode_ping, {"pong": 1}),
    "/api/set/service/status": (decode_status, {"ok": 1}),
    "/api/set/alerts": (decode_alerts, {"ok": 1}),
}
"""For each route of the reporting API how its body is read, and what answers it."""
