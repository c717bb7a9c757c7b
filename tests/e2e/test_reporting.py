"""The Reporting API, line by line, against a real server."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest
from support.http_client import ALERTS, PING, STATUS, Client, Host, Json, a_service

NOW = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")


def test_the_three_requests_and_their_replies(host: Host) -> None:
    assert (host.ping().status, host.ping().json) == (200, {"pong": 1})
    reported = host.send(STATUS, period=60, services=[a_service("cpu", "OK", "28% load")])
    assert (reported.status, reported.json) == (200, {"ok": 1})
    alerted = host.send(ALERTS, alerts=[{"message": "down"}, {"message": "so", "service": "cpu"}])
    assert (alerted.status, alerted.json) == (200, {"ok": 1})
    assert alerted.headers["Content-Type"] == "application/json"
    assert [(a["service"], a["message"]) for a in host.alerts()] == [(None, "down"), ("cpu", "so")]
    assert host.state("cpu")["info"] == "28% load"


@pytest.mark.parametrize(
    "path, more",
    [(PING, {}), (STATUS, {"period": 60, "services": []}), (ALERTS, {"alerts": []})],
)
def test_the_first_report_registers_the_name(host: Host, path: str, more: Json) -> None:
    assert host.send(path, **more).status == 200
    assert (host.status()["title"], host.status()["ip"]) == (host.name, "127.0.0.1")
    other = Host(host.client, host.name, "another key")
    for each in (PING, STATUS, ALERTS):
        reply = other.send(each, period=1, services=[a_service("x")], alerts=[{"message": "x"}])
        assert reply.status == 403
        assert reply.error.startswith("Invalid server key")
    assert host.services() == {}
    assert host.alerts() == []
    assert host.ping().status == 200


def test_a_wrong_key_leaves_no_trace_not_even_the_address(host: Host) -> None:
    host.report(a_service("a", "OK", "before"))
    body = {"server": {"name": host.name, "key": ""}, "period": 1, "alerts": [{"message": "x"}]}
    body["services"] = [a_service("a", "FAIL"), a_service("b")]
    for path in (PING, STATUS, ALERTS):
        assert host.client.post(path, body, source_ip="127.0.0.2").status == 403
    assert host.status()["ip"] == "127.0.0.1"
    assert [one["info"] for one in host.history("a")] == ["before"]
    assert list(host.services()) == ["a"]
    assert host.alerts() == []


def test_the_address_of_the_newest_report_is_kept(host: Host) -> None:
    host.ping()
    host.client.post(PING, {"server": host.identity}, source_ip="127.0.0.3")
    assert host.status()["ip"] == "127.0.0.3"


def test_one_key_wins_when_many_claim_a_name_at_once(host: Host) -> None:
    hosts = [Host(host.client, host.name, f"key {n}") for n in range(8)]
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda h=h: statuses.append(h.ping().status)) for h in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [403] * 7
    assert sorted(h.ping().status for h in hosts) == [200] + [403] * 7


@pytest.mark.parametrize(
    "sent, info, stored, shown",
    [
        ("OK", "i", "OK", "i"),
        ("WARN", "i", "WARN", "i"),
        ("FAIL", "i", "FAIL", "i"),
        ("UNK", "i", "UNK", "i"),
        ("ERR", "i", "FAIL", "i"),
        ("OK", None, "OK", ""),
        ("HEY", "hey", "UNK", 'hey (sent unsupported state: "HEY")'),
        ("HEY", None, "UNK", ' (sent unsupported state: "HEY")'),
        ("ok", "i", "UNK", 'i (sent unsupported state: "ok")'),
        (" OK", "i", "UNK", 'i (sent unsupported state: " OK")'),
        ("", "", "UNK", ' (sent unsupported state: "")'),
        ('"\N{SNOWMAN}', "", "UNK", ' (sent unsupported state: ""\N{SNOWMAN}")'),
    ],
)
def test_states_and_infos(host: Host, sent: str, info: str | None, stored: str, shown: str) -> None:
    host.report(a_service("s", sent, info))
    assert (host.state("s")["state"], host.state("s")["info"]) == (stored, shown)
    assert [(s["state"], s["info"]) for s in host.history("s")] == [(stored, shown)]


@pytest.mark.parametrize(
    "period, own, kept",
    [
        (60, {}, 60),
        ("60", {}, 60),
        ("060", {}, 60),
        (60, {"period": 10}, 10),
        (60, {"period": "10"}, 10),
        (0, {"period": 10}, 10),
        (-1, {"period": 10}, 10),
        (1, {}, 1),
        (2**31 - 1, {}, 2**31 - 1),
        (60, {"period": None}, 60),
    ],
)
def test_periods(host: Host, period: Any, own: Json, kept: int) -> None:
    host.report(a_service("s", **own), period=period)
    assert host.services()["s"]["period"] == kept


@pytest.mark.parametrize("period", [0, -1, 10**12, 1.5, 0.0, "0"])
def test_with_no_services_any_number_is_a_period(host: Host, period: Any) -> None:
    host.report(period=period)
    assert host.services() == {}


def test_the_newest_period_counts(host: Host) -> None:
    host.report(a_service("s"), period=60)
    host.report(a_service("s"), period=5)
    assert host.services()["s"]["period"] == 5


def test_the_same_service_twice_in_one_report(host: Host) -> None:
    host.report(a_service("s", "FAIL", "1", period=7), a_service("s", "WARN", "2", period=9))
    assert [(s["state"], s["info"]) for s in host.history("s")] == [("WARN", "2"), ("FAIL", "1")]
    assert (host.state("s")["state"], host.services()["s"]["period"]) == ("WARN", 9)
    assert [a["message"] for a in host.alerts()] == [
        'State changed: "(?)" -> "FAIL"',
        'State changed: "FAIL" -> "WARN"',
    ]


def test_an_alert_for_a_service_never_heard_of_creates_it(host: Host) -> None:
    host.alert("how is it?", "new")
    [service] = host.status()["services"]
    assert service["name"] == service["title"] == "new"
    assert (service["period"], service["state"]) == (None, None)
    assert host.history("new") == []
    assert host.alerts()[0]["service_id"] == service["id"]


def test_what_is_not_known_is_ignored(host: Host) -> None:
    more = {"version": 3, "numbers": [1e300, None, {}], "": "", "server.key": 1}
    service = a_service("s", "OK", "", tags=["a"], nul="\0", **{"name.x": 1})
    reply = host.client.post(
        STATUS,
        {"server": {**host.identity, "os": "x"}, "period": 1, "services": [service], **more},
    )
    assert reply.status == 200
    assert list(host.services()) == ["s"]


README_STATUS = """{
  "server": { "name": "localhost", "key": "1234" },
  "period": 60,
  "services": [
    { "name": "cpu", "state": "OK", "info": "28% load" },
    { "name": "queue", "state": "OK", "info": "3 items" },
  ]
}"""

README_ALERTS = """{
  "server": { "name": "localhost", "key": "1234" },
  "alerts": [
    { "message": "System down" },
    { "message": "Cannot check state for service A", "service": "queue" },
  ]
}"""


@pytest.mark.parametrize("path, body", [(STATUS, README_STATUS), (ALERTS, README_ALERTS)])
def test_the_readme_s_trailing_comma_is_named(client: Client, path: str, body: str) -> None:
    reply = client.post(path, body)
    assert reply.status == 400
    assert re.fullmatch(r"the body is not JSON: remove the trailing comma at byte \d+", reply.error)
    without = re.sub(r",(\s*])", r"\1", body)
    assert client.post(path, without).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "\xff"],
)
def test_any_content_type_is_json(host: Host, content_type: str) -> None:
    reply = host.client.post(
        PING, {"server": host.identity}, headers={"Content-Type": content_type}
    )
    assert (reply.status, reply.json) == (200, {"pong": 1})


NAMES = [
    "Web", "web", "WEB", "wéb", "we\N{COMBINING ACUTE ACCENT}b", "web ", " web", "web\t",
    "we\u200bb", "ＷＥＢ", "straße", "strasse", "ı", "i", "\N{KELVIN SIGN}", "K",
]  # fmt: skip


def test_names_that_look_alike_are_different(host: Host) -> None:
    host.report(*(a_service(name, "OK", str(n)) for n, name in enumerate(NAMES)))
    assert {n: s["state"]["info"] for n, s in host.services().items()} == {
        name: str(n) for n, name in enumerate(NAMES)
    }
    for n, name in enumerate(NAMES):
        assert Host(host.client, host.name + name, str(n)).ping().status == 200
    assert {host.name + name for name in NAMES} <= set(host.client.servers())


TEXTS = [
    "\N{PILE OF POO}\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "שלום \u202e txt.exe \u2066",
    "e\u0301\u0323\u0300",
    "\U0010ffff\uffff\ufdd0",
    "' \" \\ ; -- % %s {x} $(id) `id` <b>&amp;</b>",
    "line\nline\r\n\tline\x7f\x1b[31m",
    "\u2028\u2029\ufeff",
    "null",
]


@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "raw"])
@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_unicode_comes_back_as_it_was_sent(client: Client, number: int, ascii_only: bool) -> None:
    text = TEXTS[number]
    host = Host(client, f"{text} {ascii_only}", f"key {text}")
    body = {
        "server": host.identity,
        "period": 60,
        "services": [a_service(text, "OK", text), a_service("x", text, text)],
    }
    assert client.post(STATUS, json.dumps(body, ensure_ascii=ascii_only)).status == 200
    host.alert(text, text)
    assert host.status()["title"] == host.name
    service = host.services()[text]
    assert (service["title"], service["state"]["info"]) == (text, text)
    assert host.state("x")["info"] == f'{text} (sent unsupported state: "{text}")'
    assert host.alerts()[-1]["message"] == text
    assert Host(client, host.name, "key").ping().status == 403


def test_names_as_long_as_they_may_be(client: Client) -> None:
    for character in ("n", "ñ", "\U0001f600"):
        host = Host(client, character * 255)
        host.report(a_service(character * 255))
        assert list(host.services()) == [character * 255]


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600"])
def test_long_texts_are_cut_and_say_so(host: Host, character: str) -> None:
    limit = 64 * 1024
    fits = "x" * (limit % len(character.encode())) + character * (limit // len(character.encode()))
    host.report(a_service("fits", "OK", fits), a_service("cut", "OK", fits + "y"))
    host.alert(fits + "y")
    host.report(a_service("odd", "x" * 200_000, "info"))
    assert host.state("fits")["info"] == fits
    for text in (host.state("cut")["info"], host.alerts()[0]["message"]):
        assert text.endswith("... (cut)")
        assert limit - 4 <= len(text.encode()) <= limit
        assert fits.startswith(text.removesuffix("... (cut)"))
    assert host.state("odd")["info"].startswith('info (sent unsupported state: "xxx')
    assert host.state("odd")["info"].endswith("... (cut)")


def test_many_services_in_one_report(host: Host) -> None:
    names = [f"service {n}" for n in range(2500)]
    host.report(*(a_service(name, "OK", name) for name in names))
    host.report(*(a_service(name, "OK", name) for name in reversed(names)))
    assert {n: s["state"]["info"] for n, s in host.services().items()} == {n: n for n in names}
    assert [s["info"] for s in host.history("service 7")] == ["service 7"] * 2


def test_times_are_now_and_utc(host: Host) -> None:
    host.report(a_service("s", "WARN"))
    [state] = host.history("s")
    assert NOW.fullmatch(state["rtime"])
    assert NOW.fullmatch(host.alerts()[0]["ctime"])
    assert re.fullmatch(r"0:00:\d\d", host.state("s")["seen_ago"])
