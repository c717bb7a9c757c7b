"""The reporting API: decodes what agents and scripts send, and hands it to the intake.

With `overc.client` and the agent's encoder this is the only place that knows the wire's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from overc.model import AlertReport, Report, ServerIdentity, ServiceReport, State

NAME_MAX = 255
"""Characters in the name of a server or a service."""

TEXT_MAX_BYTES = 64 * 1024
"""UTF-8 bytes of an info or a message that are kept."""

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


class _Service(msgspec.Struct):
    name: str
    state: str
    info: str | None = None
    period: int | float | str | None = None


class _Status(msgspec.Struct):
    server: _Server
    period: int | float | str
    services: list[_Service]


class _Alert(msgspec.Struct):
    message: str
    service: str | None = None


class _Alerts(msgspec.Struct):
    server: _Server
    alerts: list[_Alert]


T = TypeVar("T")


def decode_ping(body: bytes, peer_ip: str) -> Report:
    """Raises Malformed."""
    ping = _decode(_PING, body)
    return Report(_server(ping.server), peer_ip)


def decode_status(body: bytes, peer_ip: str) -> Report:
    """Raises Malformed."""
    status = _decode(_STATUS, body)
    server = _server(status.server)
    # The period is looked at only where a service goes by it: with nothing to report the original's
    # agent promises 0.
    services = tuple(
        _service(one, status.period, f"services[{place}]")
        for place, one in enumerate(status.services)
    )
    return Report(server, peer_ip, services=services)


def decode_alerts(body: bytes, peer_ip: str) -> Report:
    """Raises Malformed."""
    sent = _decode(_ALERTS, body)
    alerts = tuple(
        AlertReport(
            cut(one.message),
            _name(one.service, f"alerts[{place}].service") if one.service else None,
        )
        for place, one in enumerate(sent.alerts)
    )
    return Report(_server(sent.server), peer_ip, alerts=alerts)


def _server(sent: _Server) -> ServerIdentity:
    return ServerIdentity(_name(sent.name, "server.name"), sent.key)


def _service(sent: _Service, period: int | float | str, path: str) -> ServiceReport:
    if sent.period is None:
        period_s = _period(period, "period")
    else:
        period_s = _period(sent.period, f"{path}.period")
    info = sent.info or ""
    state = STATES.get(sent.state)
    if state is None:
        state = State.UNK
        info += f' (sent unsupported state: "{sent.state}")'
    return ServiceReport(_name(sent.name, f"{path}.name"), state, cut(info), period_s)


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


def cut(text: str) -> str:
    """Return a text of at most TEXT_MAX_BYTES, with CUT_MARK at its end if it was longer."""
    if len(text) * 4 <= TEXT_MAX_BYTES or len(encoded := text.encode()) <= TEXT_MAX_BYTES:
        return text
    return encoded[: TEXT_MAX_BYTES - len(CUT_MARK)].decode(errors="ignore") + CUT_MARK


_PING = msgspec.json.Decoder(_Ping)
_STATUS = msgspec.json.Decoder(_Status)
_ALERTS = msgspec.json.Decoder(_Alerts)


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        decoded = decoder.decode(body)
        _refuse_duplicates(body)
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
        wanted = [_TYPES.get(word, word) for word in wrong.group(1).split(" | ") if word != "null"]
        got = _TYPES.get(wrong.group(2), wrong.group(2))
        reason = f"expected {' or '.join(dict.fromkeys(wanted))}, got {got}"
    return f"{path}: {reason}" if path else f"the body: {reason}"


def _refuse_duplicates(body: bytes) -> None:
    """Raise Malformed where an object names a key twice: which one is meant can't be known."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"the key {json.dumps(key)} stands twice in one object")
            seen.add(key)

    # Numbers stay text: of those that nobody asked for, int() refuses some for their length.
    json.loads(body, object_pairs_hook=check, parse_int=str)


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
