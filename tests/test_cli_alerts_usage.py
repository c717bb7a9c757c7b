"""What overcli's commands about alerts make of wrong usage, and of times."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import datetime, timedelta

import pytest

from overc.cli import main
from overc.cli_alerts import parse_time

ID = ["-i", "web1:k"]


@pytest.mark.parametrize(
    "args, reason",
    [
        (["ack"], "the following arguments are required: SERVER/SERVICE, REASON"),
        (["ack", "1"], "the following arguments are required: REASON"),
        (["ack", "1", " "], "argument REASON: say why, in a few words"),
        (
            ["ack", "web1", "x"],
            "argument SERVER/SERVICE: expected SERVER/SERVICE such as web1/backup, or an id,"
            " got 'web1'",
        ),
        (
            ["explain", "/backup"],
            "argument SERVER/SERVICE: expected SERVER/SERVICE such as web1/backup, or an id,"
            " got '/backup'",
        ),
        (["silence", "x"], "one of the arguments --for --until is required"),
        (
            ["silence", "--for", "1", "--until", "06:00", "x"],
            "argument --until: not allowed with argument --for",
        ),
        (
            ["silence", "--for", "soon", "x"],
            "argument --for: expected a duration such as 90, 5m or 1h30m, got 'soon'",
        ),
        (
            ["silence", "--for", "0", "x"],
            "argument --for: expected more than 0 seconds and at most 366d, got '0'",
        ),
        (
            ["silence", "--for", "367d", "x"],
            "argument --for: expected more than 0 seconds and at most 366d, got '367d'",
        ),
        (
            ["silence", "--until", "noon", "x"],
            "argument --until: expected a time such as '2026-12-01 06:00' or 06:00, got 'noon'",
        ),
        (
            ["silence", "--until", "2020-01-01 00:00", "x"],
            "argument --until: '2020-01-01 00:00' is over already",
        ),
        (["unsilence", "x"], "argument ID: expected a number such as 3, got 'x'"),
        ([*ID, "snooze"], "snooze: give SPAN and REASON, such as 20m 'new disk', or --end alone"),
        (
            [*ID, "snooze", "20m", "--end"],
            "snooze: give SPAN and REASON, such as 20m 'new disk', or --end alone",
        ),
        ([*ID, "snooze", "20m"], "snooze: give a REASON too, such as 'new disk'"),
        (
            ["snooze", "20m", "x"],
            "say who reports: -i NAME:KEY, or OVERC_MY_NAME and OVERC_MY_KEY in the environment",
        ),
    ],
)
def test_wrong_usage(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    reason: str,
) -> None:
    for name in ("OVERC_SERVER", "OVERC_MY_NAME", "OVERC_MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Nobody listens there: it must not come that far.
    status = main(["-s", "http://127.0.0.1:9/", *args])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].partition("error: ")[2] == reason


def test_without_a_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OVERC_SERVER", raising=False)
    assert main(["silences"]) == 2
    sentence = "say where the server is: -s URL, or OVERC_SERVER in the environment"
    assert sentence in capsys.readouterr().err


NOW = datetime(2026, 11, 30, 12, 0)


@pytest.mark.parametrize(
    "text, when",
    [
        ("2026-12-01 06:00", datetime(2026, 12, 1, 6, 0)),
        ("2026-12-01T06:00:05", datetime(2026, 12, 1, 6, 0, 5)),
        (" 12:01 ", datetime(2026, 11, 30, 12, 1)),
        ("12:00", datetime(2026, 12, 1, 12, 0)),
        ("6:00", datetime(2026, 12, 1, 6, 0)),
    ],
)
def test_times(text: str, when: datetime) -> None:
    assert parse_time(text, NOW) == when.timestamp()


def test_the_next_morning_after_the_last_day_of_a_year() -> None:
    now = datetime(2026, 12, 31, 23, 0)
    assert parse_time("06:00", now) == (now + timedelta(hours=7)).timestamp()


@pytest.mark.parametrize("text", ["", "x", "24:00", "2026-13-01 06:00", "2026-12-01", "6"])
def test_no_times(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^expected a time such as '2026-12-01 06:00' or"):
        parse_time(text, NOW)
