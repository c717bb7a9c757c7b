"""What a report may carry beyond its contents; and keys that stand twice in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.model import Report, Spooled
from overc.web.reports import DECODERS, Malformed, decode_alerts, decode_ping, decode_status

SERVER = {"name": "web1", "key": "1234"}
A_SEQ = "seq: expected a whole number from 1 to 9007199254740992 beside spool"
A_SPOOL = "spool: expected 1 to 64 characters beside seq, such as a UUID"
Decode = Callable[[bytes, str], Report]


def status(*services: Any, **more: Any) -> bytes:
    return json.dumps({"server": SERVER, "period": 60, "services": services, **more}).encode()


def alerts(*of: Any, **more: Any) -> bytes:
    return json.dumps({"server": SERVER, "alerts": of, **more}).encode()


def refused(decode: Decode, sent: bytes) -> str:
    with pytest.raises(Malformed) as raised:
        decode(sent, "ip")
    return str(raised.value)


BOTH: list[tuple[Decode, Callable[..., bytes]]] = [(decode_status, status), (decode_alerts, alerts)]


@pytest.mark.parametrize(
    "more, spooled",
    [
        ({}, None),
        ({"spool": None}, None),
        ({"seq": None}, None),
        ({"spool": None, "seq": None}, None),
        ({"spool": ""}, None),
        ({"spool": "", "seq": None}, None),
        ({"spool": "s", "seq": 1}, Spooled("s", 1)),
        ({"spool": "ё" * 64, "seq": 2**53}, Spooled("ё" * 64, 2**53)),
    ],
)
@pytest.mark.parametrize("decode, body", BOTH)
def test_a_place_in_a_spool(
    decode: Decode, body: Callable[..., bytes], more: dict[str, Any], spooled: Spooled | None
) -> None:
    assert decode(body(**more), "ip").spooled == spooled


@pytest.mark.parametrize(
    "more, sentence",
    [
        ({"spool": "s"}, A_SEQ),
        ({"spool": "s", "seq": None}, A_SEQ),
        ({"spool": "s", "seq": 0}, A_SEQ),
        ({"spool": "s", "seq": -1}, A_SEQ),
        ({"spool": "s", "seq": 2**53 + 1}, A_SEQ),
        ({"seq": 1}, A_SPOOL),
        ({"seq": 0}, A_SPOOL),
        ({"spool": "", "seq": 1}, A_SPOOL),
        ({"spool": None, "seq": 1}, A_SPOOL),
        ({"spool": "x" * 65, "seq": 1}, A_SPOOL),
        ({"spool": "x" * 65}, A_SPOOL),
        ({"spool": 5, "seq": 1}, "spool: expected a string, got a number"),
        ({"spool": "s", "seq": "1"}, "seq: expected a whole number, got a string"),
        ({"spool": "s", "seq": 1.5}, "seq: expected a whole number, got a number"),
        ({"spool": "s", "seq": True}, "seq: expected a whole number, got true or false"),
        ({"spool": "a\0", "seq": 1}, "spool: a NUL character (\\u0000) can't be stored: remove it"),
    ],
)
@pytest.mark.parametrize("decode, body", BOTH)
def test_no_place_in_a_spool(
    decode: Decode, body: Callable[..., bytes], more: dict[str, Any], sentence: str
) -> None:
    assert refused(decode, body(**more)) == sentence


def test_a_ping_has_no_place_in_a_spool() -> None:
    sent = json.dumps({"server": SERVER, "spool": "s", "seq": 0}).encode()
    assert decode_ping(sent, "ip").spooled is None


@pytest.mark.parametrize(
    "time, seen_at",
    [
        (None, None),
        (0, 0.0),
        (1_772_359_200, 1_772_359_200.0),
        (1_772_359_200.25, 1_772_359_200.25),
        (253402300799, 253402300799.0),
    ],
)
def test_a_time(time: Any, seen_at: float | None) -> None:
    sent = status({"name": "a", "state": "OK", "time": time}, {"name": "b", "state": "OK"})
    first, second = decode_status(sent, "ip").services
    assert (first.seen_at, second.seen_at) == (seen_at, None)
    assert first.seen_at is None or type(first.seen_at) is float


@pytest.mark.parametrize(
    "time, sentence",
    [
        (-1, "expected epoch seconds, got -1"),
        (-0.5, "expected epoch seconds, got -0.5"),
        (253402300800, "expected epoch seconds, got 253402300800"),
        (1e300, "expected epoch seconds, got 1e+300"),
        # In milliseconds.
        (1_772_359_200_000, "expected epoch seconds, got 1772359200000"),
        ("1772359200", "expected a number, got a string"),
        (True, "expected a number, got true or false"),
        ([], "expected a number, got a list"),
    ],
)
def test_no_time(time: Any, sentence: str) -> None:
    sent = status({"name": "a", "state": "OK"}, {"name": "b", "state": "OK", "time": time})
    assert refused(decode_status, sent) == f"services[1].time: {sentence}"


LIKE_A_KEY = ['":', 'a":1', '" :', '"\n:', '{"state":"OK"}', '\\":', "::::", 'x": "y": "z":']


@pytest.mark.parametrize("info", LIKE_A_KEY)
def test_an_info_may_hold_what_looks_like_a_key(info: str) -> None:
    one = {"name": info, "state": info, "info": info}
    [found] = decode_status(status(one), "ip").services
    assert (found.name, found.info) == (info, f'{info} (sent unsupported state: "{info}")')
    sent = alerts({"message": info, "service": info})
    assert decode_alerts(sent, "ip").alerts[0].message == info


@pytest.mark.parametrize("info", ["fine", *LIKE_A_KEY])
@pytest.mark.parametrize(
    "once, twice, key",
    [
        (b'"info": ', b'"info": "first", "info": ', "info"),
        (b'"info": ', b'"info":"first","info" \n: ', "info"),
        (b'"info": ', b'"inf\\u006f": "first", "info": ', "info"),
        (b'"state": ', b'"state": "FAIL", "state": ', "state"),
        (b'"name": "disk"', b'"name": "cpu", "name": "disk"', "name"),
        (b'"period": 60', b'"period": 5, "period": 60', "period"),
        (b'"services": [', b'"services": [], "services": [', "services"),
        (b'"key": ', b'"key": "other", "key": ', "key"),
        (b'"period": 60', b'"x": {"y": 1, "y": 2}, "period": 60', "y"),
        (b'"period": 60', b'"spool": null, "spool": null, "period": 60', "spool"),
    ],
)
def test_a_key_that_stands_twice(info: str, once: bytes, twice: bytes, key: str) -> None:
    sent = status({"name": "disk", "state": "OK", "info": info})
    assert decode_status(sent, "ip").services[0].info == info
    doubled = sent.replace(once, twice, 1)
    assert doubled != sent
    assert refused(decode_status, doubled) == f'the key "{key}" stands twice in one object'


def test_a_key_that_stands_twice_among_alerts() -> None:
    sent = alerts({"message": "x", "service": "y"}).replace(
        b'"service"', b'"message": "z", "service"'
    )
    assert refused(decode_alerts, sent) == 'the key "message" stands twice in one object'


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Which bodies were looked at closely, which takes as long as all the rest."""
    seen: list[bytes] = []
    real = json.loads

    def loads(body: bytes, **more: Any) -> Any:
        seen.append(body)
        return real(body, **more)

    monkeypatch.setattr("overc.web.reports.json.loads", loads)
    return seen


OPTIONAL: dict[str, dict[str, Any]] = {
    "services": {"info": "x", "period": 5, "time": 1.5},
    "alerts": {"service": "y"},
    "whole": {"spool": "s", "seq": 3},
}


@pytest.mark.parametrize("value", ["given", "null"])
@pytest.mark.parametrize("name", [None, *OPTIONAL["services"]])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_key_of_a_service_is_counted(
    looks: list[bytes], name: str | None, value: str, count: int
) -> None:
    one: dict[str, Any] = {"name": "a", "state": "OK"}
    if name is not None:
        one[name] = OPTIONAL["services"][name] if value == "given" else None
    assert len(decode_status(status(*[one] * count), "ip").services) == count
    assert looks == []


@pytest.mark.parametrize("value", ["given", "null"])
@pytest.mark.parametrize("decode, body", BOTH)
def test_each_key_of_a_whole_report_is_counted(
    looks: list[bytes], decode: Decode, body: Callable[..., bytes], value: str
) -> None:
    more = {name: of if value == "given" else None for name, of in OPTIONAL["whole"].items()}
    decode(body(**more), "ip")
    for name in more:
        if value == "null":
            decode(body(**{name: None}), "ip")
    assert looks == []


@pytest.mark.parametrize("service", ["y", None])
def test_each_key_of_an_alert_is_counted(looks: list[bytes], service: str | None) -> None:
    one = {"message": "x", "service": service}
    decode_alerts(alerts(one, {"message": "z"}, one), "ip")
    decode_ping(json.dumps({"server": SERVER}).encode(), "ip")
    assert looks == []


def test_a_body_with_more_colons_than_keys_is_looked_at(looks: list[bytes]) -> None:
    """Else a second key could hide: this is what the tests above rely on."""
    decode_status(status({"name": "a", "state": "OK", "info": '":'}), "ip")
    assert len(looks) == 1
    decode_status(status({"name": "a", "state": "OK", "x": 1}), "ip")
    assert len(looks) == 2


KEYS = ["name", "state", "info", "period", "time", "x"]
PAIRS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(['"OK"', '"a\\": 1"', "5", "null"])),
    max_size=6,
)


@pytest.mark.parametrize("space", [" ", "\t", "\r", "\n"])
def test_a_second_key_that_stands_apart_from_its_colon(space: str) -> None:
    one = f'{{"name":"a","state":"OK","state"{space}:"FAIL"}}'
    body = f'{{"server":{{"name":"a","key":"k"}},"period":60,"services":[{one}]}}'
    assert refused(decode_status, body.encode()) == 'the key "state" stands twice in one object'


@given(PAIRS, st.sampled_from(["", " ", "\t", "\r", "\n", "\n\t "]))
def test_a_key_that_stands_twice_is_never_taken(pairs: list[tuple[str, str]], space: str) -> None:
    inner = ",".join(f'"{name}"{space}:{value}' for name, value in pairs)
    sent = f'{{"server":{{"name":"a","key":"k"}},"period":60,"services":[{{{inner}}}]}}'
    names = [name for name, _ in pairs]
    try:
        decode_status(sent.encode(), "ip")
    except Malformed:
        return
    assert len(names) == len(set(names))


def test_every_route_refuses_them() -> None:
    for decode, _ in DECODERS.values():
        sent = json.dumps({"server": SERVER, "period": 1, "services": [], "alerts": []})
        doubled = sent.replace('"key": ', '"key": "x", "key": ').encode()
        assert refused(decode, doubled) == 'the key "key" stands twice in one object'


@pytest.mark.parametrize(
    "grace, grace_s",
    [
        (None, None),
        (0, 0.0),
        (7, 7.0),
        (2.5, 2.5),
        ("90", 90.0),
        ("2h", 7200.0),
        ("25%", 30.0),
        ("0%", 0.0),
        (2**31 - 1, 2.0**31 - 1),
    ],
)
def test_a_report_carries_its_grace(grace: Any, grace_s: float | None) -> None:
    service = {"name": "disk", "state": "OK", "period": 120}
    [one] = decode_status(status(service, grace=grace), "ip").services
    assert one.grace_s == grace_s
    [one] = decode_status(status({**service, "grace": grace}), "ip").services
    assert one.grace_s == grace_s


def test_the_own_grace_of_a_service_wins() -> None:
    disk = {"name": "disk", "state": "OK", "period": 10}
    sent = status({**disk, "grace": 5}, disk, {**disk, "grace": None, "period": 20}, grace="50%")
    assert [one.grace_s for one in decode_status(sent, "ip").services] == [5.0, 5.0, 10.0]


NO_GRACE = "expected seconds from 0 to 2147483647, or a string such as 5m or 20%, got"
NO_GRACE_IN_WORDS = (
    "expected a duration such as 30, 5m or 1h30m, or a share of the period such as 20%, got"
)


@pytest.mark.parametrize(
    "grace, sentence",
    [
        (-1, f"{NO_GRACE} -1"),
        (2**31, f"{NO_GRACE} 2147483648"),
        ("9999999y", f"{NO_GRACE} '9999999y'"),
        ("", f"{NO_GRACE_IN_WORDS} ''"),
        ("-5", f"{NO_GRACE_IN_WORDS} '-5'"),
        ("soon", f"{NO_GRACE_IN_WORDS} 'soon'"),
        ("99999%", f"{NO_GRACE_IN_WORDS} '99999%'"),
        (True, "expected a number or a string, got true or false"),
        ([], "expected a number or a string, got a list"),
    ],
)
def test_what_is_no_grace(grace: Any, sentence: str) -> None:
    disk = {"name": "disk", "state": "OK"}
    assert refused(decode_status, status(disk, grace=grace)) == f"grace: {sentence}"
    sent = status(disk, {**disk, "grace": grace})
    assert refused(decode_status, sent) == f"services[1].grace: {sentence}"


def test_of_a_long_grace_the_beginning_is_shown() -> None:
    assert len(refused(decode_status, status(grace="x" * 5000))) < 250


def test_a_grace_that_stands_twice() -> None:
    sent = status(grace=1).replace(b'"grace": 1', b'"grace": 1, "grace": 2')
    assert refused(decode_status, sent) == 'the key "grace" stands twice in one object'
