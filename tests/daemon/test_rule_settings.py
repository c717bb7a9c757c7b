from __future__ import annotations

from pathlib import Path

import pytest

from overc.config import Config, ConfigError
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.calendars import Calendar, parse_timezone
from overc.daemon.expectations import DEFAULT, Expectation, Expectations, Flapping, Grace
from overc.daemon.rule_settings import read_expectations, read_maintenances
from overc.model import State

BERLIN = parse_timezone("Europe/Berlin")
UTC = parse_timezone("UTC")


class Read:
    """What was read out of a file, with all that was to be said about it."""

    def __init__(self, folder: Path, text: str) -> None:
        path = folder / "server.ini"
        path.write_text(text, encoding="utf-8")
        config = Config(str(path))
        self.expectations: Expectations = read_expectations(config, BERLIN)
        self.maintenances: tuple[Maintenance, ...] = read_maintenances(config, BERLIN)
        self.mistakes: list[str] = []
        try:
            config.finish()
        except ConfigError as e:
            self.mistakes = str(e).replace(f"{folder}/", "").splitlines()
        self.warnings = [str(one).replace(f"{folder}/", "") for one in config.warnings]


def test_every_option(tmp_path: Path) -> None:
    read = Read(
        tmp_path,
        """\
[expect:backups]
servers = db*, !db9
services = backup*
grace = 2h
after = 3
quiet-states = warn, UNK
flapping = 6 in 1h
cron = 0 3 * * *
timezone = UTC
expire-after = 30d
[expect:rest]
grace = 12.5%
calendar = Mon..Fri 03:00
""",
    )
    assert (read.mistakes, read.warnings) == ([], [])
    assert read.expectations.of("db1", "backup of /") == Expectation(
        Grace(7200.0),
        3,
        frozenset({State.WARN, State.UNK}),
        Flapping(6, 3600.0),
        Calendar.parse("0 3 * * *", UTC),
        30 * 86400.0,
    )
    rest = Expectation(Grace(share=0.125), calendar=Calendar.parse("Mon..Fri 03:00", BERLIN))
    assert read.expectations.of("db9", "backup of /") == rest


def test_without_sections_all_is_as_ever(tmp_path: Path) -> None:
    read = Read(tmp_path, "")
    assert read.expectations.of("web1", "disk") is DEFAULT
    assert read.maintenances == ()


def test_what_a_section_further_down_expects_can_be_undone(tmp_path: Path) -> None:
    read = Read(
        tmp_path,
        """\
[expect:lab]
servers = lab*
flapping = off
expire-after = off
calendar = off
quiet-states =
grace = 0
[expect:rest]
flapping = 6 in 1h
expire-after = 30d
cron = 0 3 * * *
quiet-states = WARN
grace = 10
""",
    )
    assert read.mistakes == []
    assert read.expectations.of("lab1", "disk") == DEFAULT
    assert read.expectations.of("web1", "disk") != DEFAULT


GRACE = "expected a duration such as 30, 5m or 1h30m, or a share of the period such as 20%, got"
FLAPPING = "expected 2 to 1000 changes and a duration such as 6 in 1h, or off, got"


@pytest.mark.parametrize(
    "option, sentence",
    [
        ("grace = soon", f"grace: {GRACE} 'soon'"),
        ("grace = -5", f"grace: {GRACE} '-5'"),
        ("grace = 99999%", f"grace: {GRACE} '99999%'"),
        ("after = 0", "after: expected a number of reports from 1 to 1000, got '0'"),
        ("after = 2.5", "after: expected a number of reports from 1 to 1000, got '2.5'"),
        ("after = 9" + "9" * 5000, "after: expected a number of reports from 1 to 1000, got '99"),
        ("quiet-states = OK", "quiet-states: expected states of WARN, FAIL, UNK, got 'OK'"),
        ("quiet-states = ERR", "quiet-states: expected states of WARN, FAIL, UNK, got 'ERR'"),
        ("flapping = often", f"flapping: {FLAPPING} 'often'"),
        ("flapping = 1 in 1h", f"flapping: {FLAPPING} '1 in 1h'"),
        ("flapping = 6 in 0", f"flapping: {FLAPPING} '6 in 0'"),
        ("cron = 0 25 * * *", "cron: expected a cron expression such as 0 3 * * 1-5, got '0 25"),
        ("calendar = Foo", "calendar: expected an OnCalendar expression such as Mon..Fri 03:00,"),
        ("timezone = Mars", "timezone: expected a time zone such as Europe/Berlin or UTC, got"),
        ("timezone = UTC", "timezone: is for cron or calendar, and there is neither"),
        ("expire-after = 0", "expire-after: expected more than 0 seconds, got '0'"),
        ("expire-after = x", "expire-after: expected a duration such as 90, 5m or 1h30m, got 'x'"),
        ("servers = ,", "servers: expected names such as web*, db1 or !web9, got ','"),
        ("frequency = 5", "frequency: unknown option; known here: after, calendar, cron,"),
    ],
)
def test_a_mistake_has_its_place(tmp_path: Path, option: str, sentence: str) -> None:
    [mistake] = Read(tmp_path, f"[expect:some]\n{option}\n").mistakes
    assert mistake.startswith(f"server.ini:2: [expect:some] {sentence}")


def test_all_mistakes_are_found(tmp_path: Path) -> None:
    read = Read(
        tmp_path,
        """\
[expect:one]
cron = 0 3 * * *
calendar = daily
after = none
[maintenance:two]
duration = 0
[maintenance:three]
cron = daily
timezone = Mars
""",
    )
    assert [mistake.partition(": expected")[0] for mistake in read.mistakes] == [
        "server.ini:3: [expect:one] calendar: can't stand beside cron: give each a section of its"
        " own",
        "server.ini:4: [expect:one] after",
        "server.ini:5: [maintenance:two] calendar: is missing; or give cron in its place",
        "server.ini:6: [maintenance:two] duration",
        "server.ini:7: [maintenance:three] duration: is missing",
        "server.ini:8: [maintenance:three] cron",
        "server.ini:9: [maintenance:three] timezone",
    ]


IN_VAIN = "can never match: what it names it leaves out again"


@pytest.mark.parametrize(
    "text, warning",
    [
        ("[expect:a]\nservers=web1\n", "1: [expect:a] expects nothing: give it grace,"),
        ("[expect:a]\nservers=web1, !web*\nafter=2", f"2: [expect:a] servers: {IN_VAIN}"),
        ("[expect:a]\nservices=web*, !web*\nafter=2", f"2: [expect:a] services: {IN_VAIN}"),
        ("[expect:a]\nservices=!*\nafter=2", f"2: [expect:a] services: {IN_VAIN}"),
        (
            "[expect:a]\nafter=2\ngrace=5\n[expect:b]\nservers=web1\nafter=3",
            "4: [expect:b] has no effect: [expect:a] above decides all of it",
        ),
        (
            "[maintenance:a]\ncron=0 3 * * *\nduration=1h\nservers=a,!a",
            f"4: [maintenance:a] servers: {IN_VAIN}",
        ),
    ],
)
def test_what_has_no_effect_is_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    read = Read(tmp_path, text)
    assert read.mistakes == []
    [said] = read.warnings
    assert said.startswith(f"server.ini:{warning}")


@pytest.mark.parametrize(
    "text",
    [
        "[expect:a]\nservers=web*, !web1\nafter=2",
        "[expect:a]\nservers=web?, web1, !web1\nafter=2",
        "[expect:a]\nservers=web*\nafter=2\n[expect:b]\nafter=3",
        "[expect:a]\nafter=2\n[expect:b]\nafter=2\ngrace=5",
    ],
)
def test_what_may_have_an_effect_is_none(tmp_path: Path, text: str) -> None:
    assert Read(tmp_path, text).warnings == []


def test_maintenance(tmp_path: Path) -> None:
    read = Read(
        tmp_path,
        """\
[maintenance:sunday]
servers = db*
services = !backup
cron = 0 2 * * 0
duration = 2h
timezone = UTC
reason = patches and reboots
[maintenance:daily]
calendar = 04:00
duration = 10m
""",
    )
    assert (read.mistakes, read.warnings) == ([], [])
    sunday, daily = read.maintenances
    assert (sunday.name, sunday.reason) == ("sunday", "patches and reboots")
    assert sunday.servers.match("db1")
    assert not sunday.services.match("backup")
    opens_at = 1_772_330_400.0  # 2026-03-01 02:00:00 UTC
    assert sunday.windows.begun_at(opens_at + 60) == opens_at
    assert sunday.windows.until(opens_at + 60) == opens_at + 7200
    assert (daily.name, daily.reason) == ("daily", "")
    assert daily.servers.everything
    assert daily.windows.until(opens_at + 3600) == opens_at + 3600 + 600
