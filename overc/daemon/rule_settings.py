"""The `[expect:NAME]` and `[maintenance:NAME]` sections of the server's INI file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import tzinfo
from typing import Any, TypeVar

from overc.config import Config, Section, parse_duration
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.calendars import CRON, ON_CALENDAR, Calendar, Windows, parse_timezone
from overc.daemon.expectations import Expectations, Flapping, Rule, parse_grace
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.model import State

AFTER_MOST = 1000
CHANGES_LEAST, CHANGES_MOST = 2, 1000
OFF = "off"

_FLAPPING = re.compile(r"(\d{1,4})\s+in\s+(.+)", re.ASCII | re.DOTALL)

T = TypeVar("T")


def read_expectations(config: Config, zone: tzinfo) -> Expectations:
    """Read all rules. `zone`: whose times calendars mean, unless their section says.

    What is wrong becomes a mistake of the Config, what has no effect a warning.
    """
    rules: list[Rule] = []
    for name, section in config.sections("expect"):
        servers, services = _whom(section)
        options = dict(_options(section, zone))
        rule = Rule(name, servers, services, options)
        if not options:
            section.warn("", "expects nothing: give it grace, after, cron or the like")
        elif before := _shadowing(rule, rules):
            section.warn("", f"has no effect: [expect:{before}] above decides all of it")
        rules.append(rule)
    return Expectations(rules)


def read_maintenances(config: Config, zone: tzinfo) -> tuple[Maintenance, ...]:
    """Read all windows of maintenance; the same goes for them."""
    found = []
    for name, section in config.sections("maintenance"):
        servers, services = _whom(section)
        calendar = _calendar(section, zone)
        duration_s = section.require("duration", parse_positive_duration, 1.0)
        reason = section.read("reason", str.strip, "")
        if not _given(section, CRON) and not _given(section, ON_CALENDAR):
            section.mistake(ON_CALENDAR, "is missing; or give cron in its place")
        if calendar is not None:
            windows = Windows(calendar, duration_s)
            found.append(Maintenance(name, windows, servers, services, reason))
    return tuple(found)


def parse_positive_duration(text: str) -> float:
    """Read a duration above 0. Raises ValueError with a sentence."""
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"expected more than 0 seconds, got {text!r}")
    return seconds


def parse_after(text: str) -> int:
    """Raises ValueError with a sentence."""
    digits = text.strip()
    if digits.isascii() and digits.isdigit() and 0 < int(digits[:9]) <= AFTER_MOST:
        return int(digits)
    raise ValueError(f"expected a number of reports from 1 to {AFTER_MOST}, got {text!r}")


def parse_quiet_states(text: str) -> frozenset[State]:
    """Read states such as `WARN, UNK`. Raises ValueError with a sentence."""
    known = {state.value: state for state in State if state is not State.OK}
    found = set()
    for word in filter(None, re.split(r"[,\s]+", text.upper())):
        if word not in known:
            raise ValueError(f"expected states of {', '.join(known)}, got {text!r}")
        found.add(known[word])
    return frozenset(found)


def parse_flapping(text: str) -> Flapping | None:
    """Read `6 in 1h`, or `off`. Raises ValueError with a sentence."""
    found = _FLAPPING.fullmatch(text.strip())
    if found and CHANGES_LEAST <= int(found[1]) <= CHANGES_MOST:
        try:
            return Flapping(int(found[1]), parse_positive_duration(found[2]))
        except ValueError:
            pass
    raise ValueError(
        f"expected {CHANGES_LEAST} to {CHANGES_MOST} changes and a duration such as 6 in 1h,"
        f" or off, got {text!r}"
    )


def _options(section: Section, zone: tzinfo) -> Iterator[tuple[str, Any]]:
    """Yield the options that are given, by the names of Expectation's attributes."""
    parsers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "grace": ("grace", parse_grace),
        "after": ("after", parse_after),
        "quiet-states": ("quiet_states", parse_quiet_states),
        "flapping": ("flapping", _or_off(parse_flapping)),
        "expire-after": ("expire_after_s", _or_off(parse_positive_duration)),
    }
    for option, (attribute, parse) in parsers.items():
        if _given(section, option):
            yield attribute, section.read(option, parse, None)
    if _given(section, "cron") or _given(section, "calendar"):
        yield "calendar", _calendar(section, zone, off=True)
    else:
        _calendar(section, zone)


def _calendar(section: Section, zone: tzinfo, *, off: bool = False) -> Calendar | None:
    """Read the one of `cron` and `calendar` that is given, in its time zone."""
    own_zone = section.read("timezone", parse_timezone, None)
    given = [kind for kind in (CRON, ON_CALENDAR) if _given(section, kind)]
    if not given:
        if own_zone is not None:
            section.mistake("timezone", "is for cron or calendar, and there is neither")
        return None
    if len(given) > 1:
        section.mistake(ON_CALENDAR, "can't stand beside cron: give each a section of its own")
    [kind, *_] = given

    def parse(text: str) -> Calendar:
        return Calendar(kind, text, own_zone or zone)

    return section.read(kind, _or_off(parse) if off else parse, None)


def _given(section: Section, option: str) -> bool:
    return section.read(option, str, None) is not None


def _or_off(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Let `off` undo what a section further down would expect."""

    def read(text: str) -> T | None:
        return None if text.strip().lower() == OFF else parse(text)

    return read


def _whom(section: Section) -> tuple[Patterns, Patterns]:
    servers, services = (read_names(section, option) for option in ("servers", "services"))
    return servers, services


def read_names(section: Section, option: str) -> Patterns:
    """Read patterns of names; without them it is every name."""
    patterns = section.read(option, Patterns, EVERYTHING)
    if patterns.in_vain:
        section.warn(option, "can never match: what it names it leaves out again")
    return patterns


def _shadowing(rule: Rule, before: list[Rule]) -> str | None:
    """Return the rule above that decides every option of this one, wherever this one matches."""
    for other in before:
        covers = all(
            theirs.everything or theirs == ours
            for theirs, ours in (
                (other.servers, rule.servers),
                (other.services, rule.services),
            )
        )
        if covers and rule.options.keys() <= other.options.keys():
            return other.name
    return None
