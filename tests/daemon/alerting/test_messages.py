from __future__ import annotations

import pytest
from message_doubles import RAISED_AT, SINCE_AT, a_note, a_notice, back, late, recovered, several
from message_doubles import single as alone

from overc.daemon.alerting.messages import (
    LISTED,
    LISTED_BYTES,
    Kind,
    Message,
    duration_s,
    headline,
    last_of_each,
    render_text,
)
from overc.model import Notice

CHANGED = '[service:state/WARN] State changed: "OK" -> "WARN"\n'
RECOVERED = '[service:state/OK] State changed: "FAIL" -> "OK"\nCurrent: OK: fine\n'


@pytest.mark.parametrize(
    "notice, text",
    [
        (a_notice(), f"localhost a: {CHANGED}Current: WARN: hey3\n"),
        (a_notice(info=""), f"localhost a: {CHANGED}Current: WARN: \n"),
        (a_notice(info=None), f"localhost a: {CHANGED}Current: WARN: \n"),
        (a_notice(state=None), f"localhost a: {CHANGED}"),
        (a_notice(service=None), f"localhost: {CHANGED}"),
        (a_notice(None, None), f"OverC: {CHANGED}"),
        (
            a_notice("узел", "диск 🦉", state="UNK", info="ё"),
            f"узел диск 🦉: {CHANGED}Current: UNK: ё\n",
        ),
        (a_notice(server_name="h"), f"localhost a: {CHANGED}Current: WARN: hey3\n"),
        (a_note("two\nlines"), "localhost: [api/alert] two\nlines\n"),
        (recovered(), f"localhost a: {RECOVERED}Lasted: 2h 5m\n"),
        (recovered(since_at=RAISED_AT), f"localhost a: {RECOVERED}Lasted: 0s\n"),
        (recovered(since_at=None), f"localhost a: {RECOVERED}"),
        (recovered(since_at=RAISED_AT + 60), f"localhost a: {RECOVERED}Lasted: 0s\n"),
        (
            a_notice(reminder=True, since_at=SINCE_AT),
            f"localhost a: {CHANGED}Current: WARN: hey3\nReminder: since 3h 5m\n",
        ),
        (
            a_notice(reminder=True, since_at=None),
            f"localhost a: {CHANGED}Current: WARN: hey3\nReminder: it lasts still\n",
        ),
    ],
)
def test_a_single_alert_reads_as_the_contract_has_it(notice: Notice, text: str) -> None:
    assert render_text(alone(notice), RAISED_AT + 3600) == text
    assert render_text(Message(Kind.TEST, (notice,)), RAISED_AT + 3600) == text


@pytest.mark.parametrize(
    "message, lines",
    [
        (
            several(Kind.LATE, late("a"), late("b", state=None)),
            ["localhost: [plugin/offline] 2 services are late", "- a (last state OK)", "- b"],
        ),
        (
            several(Kind.SILENT, late("a"), late("b"), since_at=SINCE_AT),
            [
                "localhost: [plugin/offline] Server silent since 2026-03-01 07:55:00 UTC:"
                " 2 services are late",
                "- a (last state OK)",
                "- b (last state OK)",
            ],
        ),
        (
            several(Kind.SILENT, late("a", reminder=True), late("b", reminder=True)),
            [
                "localhost: [plugin/offline] Server silent: 2 services are late",
                "- a (last state OK)",
                "- b (last state OK)",
                "Reminder: since 1h",
            ],
        ),
        (
            several(Kind.BACK, back("a"), back("b", since_at=RAISED_AT - 60, info="")),
            [
                "localhost: [plugin/online] 2 services report again",
                "- a (late for 2h 5m): WARN: hey3",
                "- b (late for 1m): WARN",
            ],
        ),
        (
            several(Kind.RETURNED, back("a"), back("b"), since_at=RAISED_AT - 90),
            [
                "localhost: [plugin/online] Server back: 2 services report again",
                "- a: WARN: hey3",
                "- b: WARN: hey3",
                "Lasted: 1m 30s",
            ],
        ),
        (
            several(Kind.DIGEST, a_notice(), late("b"), a_note("m"), a_notice(state="FAIL")),
            [
                "localhost: [overc/digest] 4 alerts in one message",
                "- b: Monitoring plugin offline",
                "- localhost: m",
                "- a: FAIL: hey3",
            ],
        ),
        (
            several(Kind.DIGEST, a_notice("h"), a_note("m", server=None), a_notice("g")),
            [
                "OverC: [overc/digest] 3 alerts in one message",
                "- OverC: m",
                "- g a: WARN: hey3",
            ],
        ),
        (
            several(Kind.SUMMARY, a_notice(since_at=SINCE_AT), late("b", since_at=None)),
            [
                "localhost: [overc/silence-ended]"
                " A silence has ended, what it kept back lasts still",
                "- a (for 3h 5m): WARN: hey3",
                "- b: Monitoring plugin offline",
            ],
        ),
    ],
)
def test_a_message_of_several(message: Message, lines: list[str]) -> None:
    assert render_text(message, RAISED_AT + 3600).splitlines() == lines


def test_a_long_list_is_cut() -> None:
    notices = [late(f"s{number}") for number in range(LISTED + 30)]
    lines = render_text(several(Kind.LATE, *notices), RAISED_AT).splitlines()
    assert lines[0].endswith("] 50 services are late")
    assert lines[-2:] == [f"- s{LISTED - 1} (last state OK)", "and 30 more"]
    assert len(lines) == LISTED + 2


def test_what_is_listed_stays_on_its_line() -> None:
    notices = [back("a\n- forged", info="x\r\n" + "日" * 500), back("b", info="\0\x1b[31m\u2028")]
    lines = render_text(several(Kind.BACK, *notices), RAISED_AT).splitlines()
    assert lines[1].startswith("- a - forged (late for 2h 5m): WARN: x  日日")
    assert lines[1].endswith("日...")
    assert len(lines[1].encode()) <= LISTED_BYTES + 2
    assert lines[2] == "- b (late for 2h 5m): WARN:   [31m "
    assert len(lines) == 3


def test_the_headline_in_parts() -> None:
    head = headline(several(Kind.LATE, late("a"), late("b")))
    assert head == ("localhost", "plugin", "offline", "2 services are late")
    assert headline(alone(a_note("m"))) == ("localhost", "api", "alert", "m")


@pytest.mark.parametrize(
    "message, seconds",
    [
        (alone(a_notice()), 0),
        (alone(a_note()), 0),
        (alone(recovered()), 7500),
        (alone(a_notice(since_at=SINCE_AT, reminder=True)), 11100),
        (several(Kind.BACK, back("a", since_at=RAISED_AT - 5), back("b")), 7500),
        (several(Kind.RETURNED, back("a"), since_at=RAISED_AT - 9), 9),
        (alone(recovered(since_at=RAISED_AT + 9)), 0),
    ],
)
def test_how_long_it_has_lasted(message: Message, seconds: float) -> None:
    assert duration_s(message, RAISED_AT + 3600) == seconds


def test_the_last_of_each() -> None:
    first, second = a_notice(), a_notice(alert_id=8, service_id=5)
    notes = (a_note("x"), a_note("y", alert_id=9))
    again, is_late = a_notice(alert_id=10), late(alert_id=11)
    found = last_of_each([first, *notes, second, is_late, again])
    assert found == [*notes, second, is_late, again]
