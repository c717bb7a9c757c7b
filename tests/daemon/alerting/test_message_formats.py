from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from message_doubles import (
    RAISED_AT,
    SINCE_AT,
    a_note,
    a_notice,
    back,
    late,
    recovered,
    several,
    single,
)

from overc.daemon.alerting.message_formats import (
    ALERTS_MOST,
    INFO_BYTES,
    NAME_BYTES,
    NEVER,
    TEXT_CHARS,
    environment,
    message_url,
    render_alertmanager,
    render_json,
)
from overc.daemon.alerting.messages import Kind, Message, render_text
from overc.daemon.alerting.plaintext import clean

URL = "https://mon.example.com/x"
NOW_AT = RAISED_AT + 3600
HOSTILE = "-o $(touch x) `id` 'a' \"b\" \\ %s \0\n\r\t\x1b[31m\x7f\x85\u2028\u202e\ud800 é"


def test_the_variables_of_a_recovery() -> None:
    message = single(recovered(server="My host", server_name="host"))
    assert environment(message, NOW_AT, URL) == {
        "OVERC_ALERT_ID": "7",
        "OVERC_KIND": "single",
        "OVERC_SERVER": "host",
        "OVERC_SERVICE": "a",
        "OVERC_CHANNEL": "service:state",
        "OVERC_EVENT": "OK",
        "OVERC_STATE": "OK",
        "OVERC_PREVIOUS_STATE": "FAIL",
        "OVERC_SEVERITY": "OK",
        "OVERC_INFO": "fine",
        "OVERC_SINCE": "2026-03-01T07:55:00Z",
        "OVERC_DURATION": "7500",
        "OVERC_URL": f"{URL}/ui/service/4",
    }


def test_every_variable_is_always_there() -> None:
    message = single(a_note("hi", server=None, server_name=None, server_id=None))
    found = environment(message, NOW_AT, None)
    assert found.keys() == environment(single(recovered()), NOW_AT, URL).keys()
    assert [name for name, value in found.items() if value] == [
        "OVERC_ALERT_ID",
        "OVERC_KIND",
        "OVERC_CHANNEL",
        "OVERC_EVENT",
        "OVERC_SEVERITY",
        "OVERC_DURATION",
        "OVERC_INFO",
    ]
    assert found["OVERC_INFO"] == "hi"


def test_the_variables_of_several_alerts_hold_for_all_of_them() -> None:
    message = several(Kind.BACK, back("a", since_at=SINCE_AT + 5), back("b", service_id=9))
    found = environment(message, NOW_AT, URL)
    assert (found["OVERC_SERVER"], found["OVERC_SERVICE"]) == ("localhost", "")
    assert (found["OVERC_CHANNEL"], found["OVERC_EVENT"]) == ("plugin", "online")
    assert found["OVERC_INFO"] == "2 services report again"
    assert found["OVERC_SINCE"] == "2026-03-01T07:55:00Z"
    assert found["OVERC_DURATION"] == "7500"
    assert found["OVERC_URL"] == f"{URL}/ui/server/3"
    digest = several(Kind.DIGEST, a_notice("h", server_id=1), a_notice("g", state="FAIL"))
    found = environment(digest, NOW_AT, URL)
    assert (found["OVERC_SERVER"], found["OVERC_STATE"]) == ("", "")
    assert (found["OVERC_CHANNEL"], found["OVERC_EVENT"]) == ("overc", "digest")


def test_hostile_texts_are_harmless_in_variables() -> None:
    notice = a_notice(HOSTILE, HOSTILE, info=HOSTILE, channel="a\nb", event="c\0d", message=HOSTILE)
    found = environment(single(notice), NOW_AT, URL)
    cleaned = "-o $(touch x) `id` 'a' \"b\" \\ %s      [31m      é"
    for name in ("OVERC_SERVER", "OVERC_SERVICE", "OVERC_INFO"):
        assert found[name] == cleaned
    assert (found["OVERC_CHANNEL"], found["OVERC_EVENT"]) == ("a b", "c d")


def test_a_program_can_be_started_with_the_largest_variables() -> None:
    huge = "日" * 3_000_000
    notice = a_notice(huge, huge, info=huge, message=huge, state=huge, previous=huge)
    found = environment(single(notice), NOW_AT, URL)
    assert len(found["OVERC_INFO"].encode()) <= INFO_BYTES
    assert len(found["OVERC_SERVER"].encode()) <= NAME_BYTES
    assert sum(len(f"{name}={value}".encode()) for name, value in found.items()) < 32 * 1024
    done = subprocess.run(["env"], env={**os.environ, **found}, capture_output=True, check=True)
    assert f"OVERC_INFO={found['OVERC_INFO']}\n".encode() in done.stdout


@pytest.mark.parametrize(
    "text, limit, cleaned",
    [
        ("", 5, ""),
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "ab..."),
        ("日日", 6, "日日"),
        ("日日a", 6, "日..."),
        ("ab\n\0c", 5, "ab  c"),
        ("👩‍🚒 ok", 99, "👩‍🚒 ok"),
        ("a\ud800b", 9, "a b"),
    ],
)
def test_cleaning(text: str, limit: int, cleaned: str) -> None:
    assert clean(text, limit) == cleaned


def test_the_json_of_a_recovery() -> None:
    message = single(recovered(server="My host", server_name="host"))
    text = render_json(message, NOW_AT, URL)
    assert "\n" not in text
    assert json.loads(text) == {
        "version": 1,
        "id": 7,
        "kind": "single",
        "title": 'My host a: [service:state/OK] State changed: "FAIL" -> "OK"',
        "text": render_text(message, NOW_AT),
        "since": "2026-03-01T07:55:00Z",
        "duration": 7500,
        "url": f"{URL}/ui/service/4",
        "alerts": [
            {
                "id": 7,
                "channel": "service:state",
                "event": "OK",
                "severity": "OK",
                "phase": "recovery",
                "topic": "state",
                "reminder": False,
                "message": 'State changed: "FAIL" -> "OK"',
                "raised": "2026-03-01T10:00:00Z",
                "since": "2026-03-01T07:55:00Z",
                "duration": 7500,
                "server": {"id": 3, "name": "host", "title": "My host"},
                "service": {"id": 4, "name": "a", "title": "a"},
                "state": "OK",
                "previous_state": "FAIL",
                "info": "fine",
                "url": f"{URL}/ui/service/4",
            }
        ],
        "alerts_left_out": 0,
    }


def test_the_json_of_what_is_about_no_server() -> None:
    [alert] = json.loads(
        render_json(
            single(a_note("é", server=None, server_name=None, server_id=None)), NOW_AT, None
        )
    )["alerts"]
    assert (alert["server"], alert["service"], alert["url"]) == (None, None, None)
    assert (alert["since"], alert["duration"], alert["state"]) == (None, 0, None)


def test_json_is_bounded_and_takes_any_text() -> None:
    huge = HOSTILE * 100_000
    text = render_json(single(a_notice(info=huge, message=huge)), NOW_AT, URL)
    assert len(text) < 8 * TEXT_CHARS
    [alert] = json.loads(text.encode(errors="replace"))["alerts"]
    assert len(alert["info"]) == len(alert["message"]) == TEXT_CHARS


def test_a_storm_is_bounded_too() -> None:
    notices = [late(f"s{number}", service_id=number) for number in range(ALERTS_MOST + 3)]
    storm = several(Kind.DIGEST, *notices, back("s0", service_id=0))
    whole = json.loads(render_json(storm, NOW_AT, None))
    assert (len(whole["alerts"]), whole["alerts_left_out"]) == (ALERTS_MOST, 4)
    assert whole["text"] == render_text(storm, NOW_AT)
    # One that is over is firing no more: only the last of each counts there.
    whole = alertmanager(several(Kind.DIGEST, *notices[:3], back("s0", service_id=0)))
    assert [alert["status"] for alert in whole["alerts"]] == ["firing", "firing", "resolved"]
    whole = alertmanager(storm)
    assert (len(whole["alerts"]), whole["truncatedAlerts"]) == (ALERTS_MOST, 3)


def test_a_reminder_has_lasted_until_now() -> None:
    message = single(a_notice(reminder=True, since_at=SINCE_AT))
    whole = json.loads(render_json(message, NOW_AT, None))
    assert whole["duration"] == whole["alerts"][0]["duration"] == 11100
    assert whole["alerts"][0]["reminder"] is True
    assert environment(message, NOW_AT, None)["OVERC_DURATION"] == "11100"


def alertmanager(message: Message) -> Any:
    return json.loads(render_alertmanager(message, "hook", URL))


def test_alertmanagers_format() -> None:
    assert alertmanager(single(recovered())) == {
        "version": "4",
        "groupKey": '{}:{server="localhost"}',
        "truncatedAlerts": 0,
        "status": "resolved",
        "receiver": "hook",
        "groupLabels": {"server": "localhost"},
        "commonLabels": {"alertname": "ServiceState", "server": "localhost", "service": "a"},
        "commonAnnotations": {
            "summary": 'localhost a: State changed: "FAIL" -> "OK"',
            "description": "fine",
            "severity": "OK",
            "channel": "service:state",
            "event": "OK",
            "alert_id": "7",
            "state": "OK",
        },
        "externalURL": URL,
        "alerts": [
            {
                "status": "resolved",
                "labels": {"alertname": "ServiceState", "server": "localhost", "service": "a"},
                "annotations": alertmanager(single(recovered()))["commonAnnotations"],
                "startsAt": "2026-03-01T07:55:00Z",
                "endsAt": "2026-03-01T10:00:00Z",
                "generatorURL": f"{URL}/ui/service/4",
                "fingerprint": "f37ba4fdb2e79aac",
            }
        ],
    }


def test_a_problem_and_its_recovery_are_one_alert_of_alertmanagers() -> None:
    [firing] = alertmanager(single(a_notice()))["alerts"]
    [resolved] = alertmanager(single(recovered()))["alerts"]
    assert firing["status"] == "firing"
    assert firing["endsAt"] == NEVER
    assert firing["labels"] == resolved["labels"]
    assert firing["fingerprint"] == resolved["fingerprint"]
    [other] = alertmanager(single(late()))["alerts"]
    assert other["fingerprint"] != firing["fingerprint"]


def test_several_alerts_in_alertmanagers_format() -> None:
    whole = alertmanager(
        several(Kind.DIGEST, a_notice('h"x'), recovered("b", server_name='h"x', service_id=9))
    )
    assert whole["status"] == "firing"
    assert whole["groupKey"] == '{}:{server="h\\"x"}'
    assert whole["commonLabels"] == {"alertname": "ServiceState", "server": 'h"x'}
    assert [alert["status"] for alert in whole["alerts"]] == ["firing", "resolved"]
    mixed = alertmanager(several(Kind.DIGEST, a_notice("h"), a_note("m", server_name=None)))
    assert (mixed["groupKey"], mixed["groupLabels"]) == ("{}:{}", {})
    assert mixed["alerts"][1]["labels"] == {"alertname": "api/alert", "server": "OverC"}


@pytest.mark.parametrize(
    "message, url",
    [
        (single(a_notice()), f"{URL}/ui/service/4"),
        (single(a_notice(service=None)), f"{URL}/ui/server/3"),
        (single(a_notice(None, None)), f"{URL}/ui/"),
        (several(Kind.LATE, late("a"), late("b", service_id=5)), f"{URL}/ui/server/3"),
        (several(Kind.DIGEST, late("a"), a_notice("h", server_id=9, service_id=5)), f"{URL}/ui/"),
    ],
)
def test_where_a_message_leads(message: Message, url: str) -> None:
    assert message_url(message, URL) == url
    assert message_url(message, None) is None
