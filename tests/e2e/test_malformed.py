"""Requests that are refused with 400: the sentence names the place, and nothing is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.http_client import ALERTS, PING, STATUS, Client, Host, Json, a_service

STRING, NUMBER, OBJECT, LIST = "a string", "a number", "an object", "a list"
PERIOD = "expected a whole number of seconds from 1 to 2147483647, got"


def status(services: Any, period: Any = 60) -> Json:
    return {"period": period, "services": services}


def second(**more: Any) -> Json:
    """Return a report whose first service is sound, and whose second one has `more`."""
    return status([a_service("a"), {"name": "b", "state": "OK", **more}])


# path, what comes beside "server", the sentence
WRONG: list[tuple[str, Json, str]] = [
    (STATUS, {"period": 60}, "services: is missing"),
    (STATUS, {"services": []}, "period: is missing"),
    (STATUS, status(None), f"services: expected {LIST}, got null"),
    (STATUS, status({}), f"services: expected {LIST}, got {OBJECT}"),
    (STATUS, status("a"), f"services: expected {LIST}, got {STRING}"),
    (STATUS, status([[]]), f"services[0]: expected {OBJECT}, got {LIST}"),
    (STATUS, status([a_service("a"), None]), f"services[1]: expected {OBJECT}, got null"),
    (STATUS, status([{"state": "OK"}]), "services[0].name: is missing"),
    (STATUS, status([{"name": "a"}]), "services[0].state: is missing"),
    (STATUS, second(name=1), f"services[1].name: expected {STRING}, got {NUMBER}"),
    (STATUS, second(name=None), f"services[1].name: expected {STRING}, got null"),
    (STATUS, second(name=""), "services[1].name: expected a name, got an empty string"),
    (STATUS, second(state=None), f"services[1].state: expected {STRING}, got null"),
    (STATUS, second(state=0), f"services[1].state: expected {STRING}, got {NUMBER}"),
    (STATUS, second(info=1.5), f"services[1].info: expected {STRING}, got {NUMBER}"),
    (STATUS, second(info=["x"]), f"services[1].info: expected {STRING}, got {LIST}"),
    (STATUS, second(info={}), f"services[1].info: expected {STRING}, got {OBJECT}"),
    (STATUS, second(period=0), f"services[1].period: {PERIOD} 0"),
    (STATUS, second(period=-5), f"services[1].period: {PERIOD} -5"),
    (STATUS, second(period=1.5), f"services[1].period: {PERIOD} 1.5"),
    (STATUS, second(period="1.5"), f"services[1].period: {PERIOD} '1.5'"),
    (STATUS, second(period="ten"), f"services[1].period: {PERIOD} 'ten'"),
    (STATUS, second(period=""), f"services[1].period: {PERIOD} ''"),
    (STATUS, second(period="+5"), f"services[1].period: {PERIOD} '+5'"),
    (STATUS, second(period=" 5"), f"services[1].period: {PERIOD} ' 5'"),
    (STATUS, second(period="5_0"), f"services[1].period: {PERIOD} '5_0'"),
    (STATUS, second(period="٥"), f"services[1].period: {PERIOD} '٥'"),
    (STATUS, second(period=2**31), f"services[1].period: {PERIOD} 2147483648"),
    (STATUS, second(period=2**63), f"services[1].period: {PERIOD} 9223372036854775808"),
    (STATUS, second(period=1e300), f"services[1].period: {PERIOD} 1e+300"),
    (STATUS, second(period="9" * 5000), f"services[1].period: {PERIOD} '"),
    (STATUS, second(period=True), "services[1].period: expected a number or a string, got true"),
    (STATUS, second(period=[]), f"services[1].period: expected a number or a string, got {LIST}"),
    (STATUS, status([a_service("a")], True), "period: expected a number or a string, got true"),
    (STATUS, status([], False), "period: expected a number or a string, got true or false"),
    (STATUS, status([], None), "period: expected a number or a string, got null"),
    (STATUS, status([a_service("a")], 0), f"period: {PERIOD} 0"),
    (STATUS, status([a_service("a")], "x"), f"period: {PERIOD} 'x'"),
    (STATUS, second(name="\0"), "services[1].name: a NUL character (\\u0000) can't be stored"),
    (STATUS, second(info="a\0b"), "services[1].info: a NUL character (\\u0000) can't be stored"),
    (STATUS, second(state="OK\0"), "services[1].state: a NUL character (\\u0000) can't be stored"),
    (STATUS, second(name="n" * 256), "services[1].name: expected at most 255 characters, got 256"),
    (STATUS, second(name="n" * 10**6), "services[1].name: expected at most 255 characters, got 1"),
    (ALERTS, {}, "alerts: is missing"),
    (ALERTS, {"alerts": None}, f"alerts: expected {LIST}, got null"),
    (ALERTS, {"alerts": {}}, f"alerts: expected {LIST}, got {OBJECT}"),
    (ALERTS, {"alerts": ["x"]}, f"alerts[0]: expected {OBJECT}, got {STRING}"),
    (ALERTS, {"alerts": [{}]}, "alerts[0].message: is missing"),
    (ALERTS, {"alerts": [{"message": "x"}, {"message": 1}]},
     f"alerts[1].message: expected {STRING}, got {NUMBER}"),
    (ALERTS, {"alerts": [{"message": None}]}, f"alerts[0].message: expected {STRING}, got null"),
    (ALERTS, {"alerts": [{"message": "x", "service": 5}]},
     f"alerts[0].service: expected {STRING}, got {NUMBER}"),
    (ALERTS, {"alerts": [{"message": "x", "service": "n" * 256}]},
     "alerts[0].service: expected at most 255 characters, got 256"),
    (ALERTS, {"alerts": [{"message": "\0"}]}, "alerts[0].message: a NUL character (\\u0000) can't"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_the_place_of_what_is_wrong_is_named(host: Host, number: int) -> None:
    path, more, sentence = WRONG[number]
    reply = host.send(path, **more)
    assert reply.status == 400
    assert reply.error.startswith(sentence), reply.error
    assert not host.is_known()


SERVERS: list[tuple[Any, str]] = [
    (None, f"server: expected {OBJECT}, got null"),
    ("a", f"server: expected {OBJECT}, got {STRING}"),
    ([], f"server: expected {OBJECT}, got {LIST}"),
    ({}, "server.name: is missing"),
    ({"name": "refused"}, "server.key: is missing"),
    ({"key": "k"}, "server.name: is missing"),
    ({"name": 5, "key": "k"}, f"server.name: expected {STRING}, got {NUMBER}"),
    ({"name": True, "key": "k"}, f"server.name: expected {STRING}, got true or false"),
    ({"name": "refused", "key": 1234}, f"server.key: expected {STRING}, got {NUMBER}"),
    ({"name": "refused", "key": None}, f"server.key: expected {STRING}, got null"),
    ({"name": "", "key": "k"}, "server.name: expected a name, got an empty string"),
    ({"name": "n" * 256, "key": "k"}, "server.name: expected at most 255 characters, got 256"),
    ({"name": "refused\0", "key": "k"}, "server.name: a NUL character (\\u0000) can't be stored"),
    ({"name": "refused", "key": "\0"}, "server.key: a NUL character (\\u0000) can't be stored"),
]


@pytest.mark.parametrize("path", [PING, STATUS, ALERTS])
@pytest.mark.parametrize("number", range(len(SERVERS)))
def test_every_route_asks_for_a_server(client: Client, path: str, number: int) -> None:
    server, sentence = SERVERS[number]
    reply = client.post(path, {"server": server, "period": 1, "services": [], "alerts": []})
    assert reply.status == 400
    assert reply.error.startswith(sentence), reply.error
    assert client.post(path, {"period": 1, "services": [], "alerts": []}).error == (
        "server: is missing"
    )
    assert not any("refused" in name for name in client.servers())


def text(period: str = "60", info: str = '"i"', more: str = "") -> bytes:
    """Return a report, put together by hand, for what json.dumps would not write."""
    server = '{"name": "refused", "key": "k"}'
    service = f'{{"name": "a", "state": "OK", "info": {info}}}'
    whole = f'{{"server": {server}, "period": {period}, "services": [{service}]{more}}}'
    return whole.encode()


NOT_JSON: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \r\n\t ",
    "a form": b"server=a&key=b",
    "html": b"<p>",
    "cut off": text()[:-1],
    "cut off in a string": text()[:20],
    "two values": text() + b" {}",
    "a list": b"[" + text() + b"]",
    "a string": json.dumps(text().decode()).encode(),
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "single quotes": text().replace(b'"', b"'"),
    "a comment": text() + b" // done",
    "NaN": text("NaN"),
    "Infinity": text("-Infinity"),
    "NaN that nobody reads": text(more=', "x": NaN'),
    "1e999": text("1e999"),
    "-1e999": text("-1e999"),
    "5,000 digits": text("1" * 5000),
    "5,000 digits after the point": text("1." + "1" * 5000),
    "over 2^63": text(str(2**63)),
    "over 2^64": text(str(2**64 + 1)),
    "a hexadecimal number": text("0x10"),
    "a leading zero": text("010"),
    "a lone surrogate": text(info='"\\ud800"'),
    "a lone low surrogate": text(info='"\\udc00 and more text after it"'),
    "a lone surrogate in UTF-8": text(info='"@"').replace(b"@", b"\xed\xa0\x80"),
    "an escaped NUL": text(info='"\\u0000"'),
    "a raw NUL": text(info='"\0"'),
    "a raw newline": text(info='"a\nb"'),
    "an unknown escape": text(info='"\\x41"'),
    "a key twice": text(more=', "period": 60'),
    "an inner key twice": text(info='"i", "info": "j"'),
    "an unknown key twice": text(more=', "x": {"y": [{"z": 1, "z": 1}]}'),
    "invalid UTF-8": text(info='"@"').replace(b"@", b"\xff"),
    "overlong UTF-8": text(info='"@"').replace(b"@", b"\xc0\x80"),
    "invalid UTF-8 that nobody reads": text(more=', "x": "@"').replace(b"@", b"\xff"),
    "invalid UTF-8 in a key": text(more=', "@": 1').replace(b"@", b"\xff"),
    "Latin-1": text(info='"é"').decode().encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbf" + text(),
    "UTF-16": text().decode().encode("utf-16"),
    "UTF-32": text().decode().encode("utf-32-le"),
    "deep lists": b"[" * 100_000,
    "deep lists that nobody reads": text(more=', "x": ' + "[" * 100_000 + "]" * 100_000),
    "deep objects": b'{"server":' * 100_000,
    "deep objects that nobody reads": text(
        more=', "x": ' + '{"a":' * 100_000 + "1" + "}" * 100_000
    ),
    "deep where a name belongs": text(info="[" * 100_000 + "]" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_JSON)
def test_what_is_not_sound_json_is_refused_whole(client: Client, what: str) -> None:
    reply = client.post(STATUS, NOT_JSON[what])
    assert reply.status == 400, reply
    assert reply.error
    assert "refused" not in client.servers()


@pytest.mark.parametrize(
    "more", [', "x": ' + "1" * 5000, ', "x": 1e999', ', "x": -1.' + "1" * 5000, ', "x": "\\u0000"']
)
def test_what_nobody_reads_may_be_odd(client: Client, more: str) -> None:
    assert client.post(STATUS, text(more=more).replace(b"refused", b"odd")).status == 200


def test_one_bad_item_refuses_all_the_others(host: Host) -> None:
    host.report(a_service("known", "OK", "before"))
    services = [a_service("known", "FAIL"), a_service("new"), {"name": "bad", "state": 5}]
    assert host.send(STATUS, period=1, services=services).status == 400
    alerts = [{"message": "x"}, {"message": "y", "service": "new"}, {}]
    assert host.send(ALERTS, alerts=alerts).status == 400
    assert [(s["state"], s["info"]) for s in host.history("known")] == [("OK", "before")]
    assert list(host.services()) == ["known"]
    assert host.services()["known"]["period"] == 60
    assert host.alerts() == []
