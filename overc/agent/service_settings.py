"""The sections of an agent's INI file that name services."""

from __future__ import annotations

import os
import pwd
import shlex
from dataclasses import dataclass
from typing import NamedTuple

from overc.config import Config, Mistake, Section, parse_command, parse_duration

TIMEOUT_MOST_S = 60.0
"""A service's time limit, unless it has one of its own or a shorter period."""

PERIOD_MOST_S = 10 * 365 * 86400
"""Ten years: a longer promise is a slip of the keyboard."""


class User(NamedTuple):
    """Whom a command runs as."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """One service: the command that tests it, and the promise that goes with its reports."""

    name: str
    period_s: int
    command: tuple[str, ...]
    timeout_s: float
    max_lag_s: float | None = None
    """Time the command is known to take; None: judged by its last runs."""
    folder: str = "/"
    """Where it runs: its file's folder, or another one. An absolute path."""
    env: tuple[tuple[str, str], ...] = ()
    """What its environment has besides, or instead of, the agent's."""
    user: User | None = None
    """None: the agent's own."""
    grace_s: float | None = None
    """How long after the period a report may still come; None: as the server's rules say."""


def read_service(config: Config, name: str, section: Section) -> ServiceSettings:
    """Return what a section says; mistakes go to its Config."""
    try:
        parse_word(name or "nameless")
    except ValueError as e:
        config.add(Mistake(section.where, str(e), section.name))
    period_s = section.require("period", parse_period, 60)
    cwd = section.read("cwd", _parse_path, "")
    return ServiceSettings(
        name=name,
        period_s=period_s,
        command=section.require("command", parse_command, ()),
        timeout_s=section.read("timeout", _parse_timeout, min(float(period_s), TIMEOUT_MOST_S)),
        max_lag_s=section.read("max-lag", _parse_span, None),
        folder=os.path.normpath(os.path.join(config.folder, cwd)),
        env=section.read("env", parse_environment, ()),
        user=section.read("user", _parse_user, None),
        grace_s=section.read("grace", lambda text: _parse_grace(text, period_s), None),
    )


def parse_environment(text: str) -> tuple[tuple[str, str], ...]:
    """Read `A=1 B='two words'`, as a shell splits words. Raises ValueError with a sentence."""
    if not text.strip():
        raise ValueError("expected NAME=VALUE words, got nothing")
    pairs: dict[str, str] = {}
    for word in parse_command(text):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError(f"expected NAME=VALUE words, got {shlex.quote(word)}")
        pairs[name] = parse_word(value) if value else ""
    return tuple(pairs.items())


def parse_word(text: str) -> str:
    """Return text that is some, in UTF-8. Raises ValueError."""
    if not text:
        raise ValueError("can't be empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text") from None
    if "\0" in text:
        raise ValueError("can't hold a NUL character")
    return text


def parse_yes_no(text: str) -> bool:
    """Read yes or no. Raises ValueError."""
    word = text.strip().lower()
    if word not in ("yes", "no"):
        raise ValueError(f"expected yes or no, got {text!r}")
    return word == "yes"


def parse_period(text: str) -> int:
    """Read a promise: whole seconds. Raises ValueError."""
    seconds = _parse_span(text)
    if not seconds.is_integer() or seconds <= 0:
        raise ValueError(f"expected a whole number of seconds above 0, got {text!r}")
    return int(seconds)


def _parse_span(text: str) -> float:
    seconds = parse_duration(text)
    if seconds > PERIOD_MOST_S:
        raise ValueError(f"expected ten years at most, got {text!r}")
    return seconds


def _parse_timeout(text: str) -> float:
    seconds = _parse_span(text)
    if seconds <= 0:
        raise ValueError(f"expected a time above 0, got {text!r}")
    return seconds


def _parse_grace(text: str, period_s: int) -> float:
    word = text.strip()
    if not word.endswith("%"):
        return _parse_span(word)
    digits = word[:-1].rstrip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 6):
        raise ValueError(f"expected a duration such as 5m, or a part of the period, 10%: {text!r}")
    return min(period_s * int(digits) / 100, float(PERIOD_MOST_S))


def _parse_path(text: str) -> str:
    return parse_word(text.strip())


def _parse_user(text: str) -> User | None:
    try:
        found = pwd.getpwnam(parse_word(text))
    except KeyError:
        raise ValueError(f"there is no user {text!r} on this machine") from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise ValueError("only root may run commands as another user: run the agent as root")
    return User(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir)
