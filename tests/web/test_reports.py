from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.model import AlertReport, Report, ServerIdentity, ServiceReport, State
from overc.web.reports import (
    CUT_MARK,
    DECODERS,
    TEXT_MAX_BYTES,
    Malformed,
    cut,
    decode_alerts,
    decode_ping,
    decode_status,
)

IP = "192.0.2.1"
SERVER = {"name": "web1", "key": "1234"}
WEB1 = ServerIdentity("web1", "1234")
A_PERIOD = "expected a whole number of seconds from 1 to 2147483647"
DEEP = b'{"server": {"name": "a", "key": "k"}, "x": ' + b"[" * 10**5 + b"]" * 10**5 + b"}"


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def status(*services: Any, period: Any = 60, server: Any = SERVER) -> bytes:
    return body({"server": server, "period": period, "services": list(services)})


def service(**more: Any) -> dict[str, Any]:
    return {"name": "disk", "state": "OK", **more}


def refused(decode: Callable[[bytes, str], Report], sent: bytes) -> str:
    with pytest.raises(Malformed) as raised:
        decode(sent, IP)
    return str(raised.value)


def test_a_ping() -> None:
    assert decode_ping(body({"server": SERVER}), IP) == Report(WEB1, IP)


def test_a_status() -> None:
    sent = status(
        {"name": "disk", "state": "WARN", "info": "90 %"},
        {"name": "cpu", "state": "OK", "period": 5},
        {"name": "Диск 🦉", "state": "FAIL", "info": "", "period": "30"},
    )
    services = (
        ServiceReport("disk", State.WARN, "90 %", 60),
        ServiceReport("cpu", State.OK, "", 5),
        ServiceReport("Диск 🦉", State.FAIL, "", 30),
    )
    assert decode_status(sent, IP) == Report(WEB1, IP, services)


def test_alerts() -> None:
    alerts = [
        {"message": "one"},
        {"message": "two", "service": "disk"},
        {"message": "", "service": None},
        {"message": "four", "service": ""},
    ]
    assert decode_alerts(body({"server": SERVER, "alerts": alerts}), IP) == Report(
        WEB1,
        IP,
        alerts=(
            AlertReport("one"),
            AlertReport("two", "disk"),
            AlertReport(""),
            AlertReport("four"),
        ),
    )


def test_text_is_taken_as_it_is_sent() -> None:
    text = "ё \u202e 🦉\t\n\x7f ' \" < \\"
    sent = {"server": {"name": text, "key": text}, "alerts": [{"message": text, "service": text}]}
    wanted = Report(ServerIdentity(text, text), IP, alerts=(AlertReport(text, text),))
    assert decode_alerts(body(sent), IP) == wanted
    assert decode_alerts(json.dumps(sent, ensure_ascii=False).encode(), IP) == wanted


def test_the_same_service_twice_is_two_states() -> None:
    report = decode_status(status(service(state="OK"), service(state="FAIL")), IP)
    assert [one.state for one in report.services] == [State.OK, State.FAIL]


@pytest.mark.parametrize(
    "sent", [status(), status(period=0), status(period="0"), status(period=1.5), status(period="x")]
)
def test_without_services_any_period_will_do(sent: bytes) -> None:
    assert decode_status(sent, IP) == Report(WEB1, IP)


def test_no_alerts() -> None:
    assert decode_alerts(body({"server": SERVER, "alerts": []}), IP) == Report(WEB1, IP)


def test_what_is_not_known_is_skipped() -> None:
    huge = b"1" * 5000
    sent = status(service(x={"y": [1, 2.5, None, True, "\0"]}))
    assert decode_status(sent.replace(b"2.5", huge), IP).services[0].name == "disk"
    assert decode_status(sent.replace(b"2.5", b"1e999"), IP).services[0].name == "disk"


@pytest.mark.parametrize(
    "word, state, info",
    [
        ("OK", State.OK, "fine"),
        ("WARN", State.WARN, "fine"),
        ("FAIL", State.FAIL, "fine"),
        ("UNK", State.UNK, "fine"),
        ("ERR", State.FAIL, "fine"),
        ("HEY", State.UNK, 'fine (sent unsupported state: "HEY")'),
        ("ok", State.UNK, 'fine (sent unsupported state: "ok")'),
        ("OK ", State.UNK, 'fine (sent unsupported state: "OK ")'),
        ("", State.UNK, 'fine (sent unsupported state: "")'),
    ],
)
def test_states(word: str, state: State, info: str) -> None:
    report = decode_status(status(service(state=word, info="fine")), IP)
    assert report.services == (ServiceReport("disk", state, info, 60),)


def test_an_unsupported_state_without_an_info() -> None:
    [one] = decode_status(status(service(state="HEY")), IP).services
    assert one.info == ' (sent unsupported state: "HEY")'


@pytest.mark.parametrize(
    "period, period_s",
    [(1, 1), (60, 60), ("60", 60), ("0060", 60), (60.0, 60), (1e3, 1000), (2**31 - 1, 2**31 - 1)],
)
def test_periods(period: Any, period_s: int) -> None:
    for sent in (status(service(), period=period), status(service(period=period))):
        [one] = decode_status(sent, IP).services
        assert (one.period_s, type(one.period_s)) == (period_s, int)


@pytest.mark.parametrize(
    "period, shown",
    [
        (0, "0"),
        (-1, "-1"),
        (0.5, "0.5"),
        (60.5, "60.5"),
        (2**31, "2147483648"),
        (2**63, "9223372036854775808"),
        (1e300, "1e+300"),
        ("0", "'0'"),
        ("", "''"),
        ("-5", "'-5'"),
        ("1.5", "'1.5'"),
        (" 5", "' 5'"),
        ("5s", "'5s'"),
        ("٥", "'٥'"),
        ("²", "'²'"),
        ("9" * 30, "'" + "9" * 30 + "'"),
        ("x" * 5000, "'" + "x" * 39),
    ],
)
def test_no_periods(period: Any, shown: str) -> None:
    sent = status(service(), service(period=period))
    assert refused(decode_status, sent) == f"services[1].period: {A_PERIOD}, got {shown}"
    assert refused(decode_status, status(service(), period=period)) == (
        f"period: {A_PERIOD}, got {shown}"
    )


@pytest.mark.parametrize(
    "sent, sentence",
    [
        (b"", "the body is empty: expected a JSON object"),
        (b" \r\n", "the body is empty: expected a JSON object"),
        (b"server=web1&key=1234", "the body is not JSON: invalid character (byte 0)"),
        (b"\xef\xbb\xbf{}", "the body is not JSON: invalid character (byte 0)"),
        ("{}".encode("utf-16"), "the body is not JSON: invalid character (byte 0)"),
        (b"[]", "the body: expected an object, got a list"),
        (b"null", "the body: expected an object, got null"),
        (b'"x"', "the body: expected an object, got a string"),
        (b"7", "the body: expected an object, got a number"),
        (b"{}", "server: is missing"),
        (b'{"server": null}', "server: expected an object, got null"),
        (body({"server": "web1"}), "server: expected an object, got a string"),
        (body({"server": {}}), "server.name: is missing"),
        (body({"server": {"name": "web1"}}), "server.key: is missing"),
        (body({"server": {"name": 1, "key": "k"}}), "server.name: expected a string, got a number"),
        (
            body({"server": {"name": "a", "key": 1234}}),
            "server.key: expected a string, got a number",
        ),
        (
            body({"server": {"name": "", "key": ""}}),
            "server.name: expected a name, got an empty string",
        ),
        (
            body({"server": {"name": "x" * 256, "key": ""}}),
            "server.name: expected at most 255 characters, got 256",
        ),
        (
            b'{"server": {"name": "a\\u0000", "key": "k"}}',
            "server.name: a NUL character (\\u0000) can't be stored: remove it",
        ),
        (
            b'{"server": {"name": "a", "key": "k", "key": "l"}}',
            'the key "key" stands twice in one object',
        ),
        (
            b'{"server": {"name": "a", "key": "k"}, "x": {"\\n": 1, "\\u000a": 2}}',
            'the key "\\n" stands twice in one object',
        ),
        (
            b'{"server": {"name": "a", "key": "k",}}',
            "the body is not JSON: remove the trailing comma at byte 36",
        ),
        (b'{"server": {"name": "\xff", "key": "k"}}', "the body is not UTF-8 text"),
        (b'{"server": {"name": "a", "key": "k"}, "x": "\xff"}', "the body is not UTF-8 text"),
        (
            b'{"server": {"name": "a", "key": "k"}, "x": NaN}',
            "the body is not JSON: invalid character (byte 43)",
        ),
        (DEEP, "the body is nested too deeply"),
    ],
)
def test_a_body_that_is_refused(sent: bytes, sentence: str) -> None:
    assert refused(decode_ping, sent) == sentence


@pytest.mark.parametrize(
    "sent, sentence",
    [
        (body({"server": SERVER, "services": []}), "period: is missing"),
        (body({"server": SERVER, "period": 60}), "services: is missing"),
        (status(period=None), "period: expected a number or a string, got null"),
        (status(period=True), "period: expected a number or a string, got true or false"),
        (status(period=[]), "period: expected a number or a string, got a list"),
        (
            body({"server": SERVER, "period": 60, "services": {}}),
            "services: expected a list, got an object",
        ),
        (status(7), "services[0]: expected an object, got a number"),
        (status(service(), {"name": "x"}), "services[1].state: is missing"),
        (status({"state": "OK"}), "services[0].name: is missing"),
        (
            status(service(), service(), service(name=1.5)),
            "services[2].name: expected a string, got a number",
        ),
        (status(service(name=None)), "services[0].name: expected a string, got null"),
        (status(service(state=0)), "services[0].state: expected a string, got a number"),
        (status(service(info=[])), "services[0].info: expected a string, got a list"),
        (
            status(service(period=False)),
            "services[0].period: expected a number or a string, got true or false",
        ),
        (status(service(name="")), "services[0].name: expected a name, got an empty string"),
        (
            status(service(), service(name="ё" * 256)),
            "services[1].name: expected at most 255 characters, got 256",
        ),
        (
            status(service(), service(info="a\0b")),
            "services[1].info: a NUL character (\\u0000) can't be stored: remove it",
        ),
        (
            status(service()).replace(b"60", b"1" * 5000),
            "period: Integer value out of range",
        ),
        (status(service()).replace(b"60", b"1e999"), "period: Number out of range"),
        (
            status(service()).replace(b'"OK"}', b'"OK"},'),
            "the body is not JSON: remove the trailing comma at byte 103",
        ),
    ],
)
def test_a_status_that_is_refused(sent: bytes, sentence: str) -> None:
    assert refused(decode_status, sent) == sentence


@pytest.mark.parametrize(
    "alerts, sentence",
    [
        ({}, "alerts: expected a list, got an object"),
        ([{}], "alerts[0].message: is missing"),
        ([{"message": 1}], "alerts[0].message: expected a string, got a number"),
        (
            [{"message": "x"}, {"message": "x", "service": 5}],
            "alerts[1].service: expected a string, got a number",
        ),
        (
            [{"message": "x", "service": "y" * 256}],
            "alerts[0].service: expected at most 255 characters, got 256",
        ),
        (
            [{"message": "\0"}],
            "alerts[0].message: a NUL character (\\u0000) can't be stored: remove it",
        ),
    ],
)
def test_alerts_that_are_refused(alerts: Any, sentence: str) -> None:
    assert refused(decode_alerts, body({"server": SERVER, "alerts": alerts})) == sentence


@pytest.mark.parametrize("lone", [rb"\ud800", rb"x\udfff", rb"\ud800\ud800"])
def test_a_lone_surrogate(lone: bytes) -> None:
    sent = b'{"server": {"name": "' + lone + b'", "key": "k"}}'
    assert refused(decode_ping, sent).startswith("the body is not JSON: ")


def test_names_may_be_as_long_as_255_characters() -> None:
    name = "🦉" * 255
    report = decode_status(status(service(name=name), server={"name": name, "key": ""}), IP)
    assert report.server.name == report.services[0].name == name


@pytest.mark.parametrize("cut_at", range(1, 100, 3))
def test_a_truncated_body(cut_at: int) -> None:
    whole = status(service(info="fine"))
    assert refused(decode_status, whole[:cut_at]).startswith("the body is not JSON: ")


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(sent: bytes) -> None:
    for decode, _ in DECODERS.values():
        refused(decode, sent)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(ANYTHING, st.sampled_from(["name", "state", "info", "period"]))
def test_no_value_raises_anything_else(value: Any, place: str) -> None:
    try:
        report = decode_status(status(service(**{place: value})), IP)
    except Malformed:
        return
    [one] = report.services
    assert one.period_s >= 1
    assert one.name
    one.info.encode()


@pytest.mark.parametrize("letter", ["a", "ё", "あ", "🦉"])
@pytest.mark.parametrize("spare_bytes", range(6))
def test_long_texts_are_cut_within_a_character(letter: str, spare_bytes: int) -> None:
    size = len(letter.encode())
    fits = "x" * spare_bytes + letter * ((TEXT_MAX_BYTES - spare_bytes) // size)
    assert cut(fits) == fits
    kept = cut(fits + letter)
    assert kept.endswith(CUT_MARK)
    assert fits.startswith(kept.removesuffix(CUT_MARK))
    assert TEXT_MAX_BYTES - size < len(kept.encode()) <= TEXT_MAX_BYTES


def test_long_infos_and_messages_are_cut() -> None:
    long = "x" * (TEXT_MAX_BYTES + 1)
    [one] = decode_status(status(service(info=long)), IP).services
    assert one.info == cut(long)
    [alert] = decode_alerts(body({"server": SERVER, "alerts": [{"message": long}]}), IP).alerts
    assert alert.message == cut(long)


def test_the_routes() -> None:
    assert {path: reply for path, (_, reply) in DECODERS.items()} == {
        "/api/ping": {"pong": 1},
        "/api/set/service/status": {"ok": 1},
        "/api/set/alerts": {"ok": 1},
    }
