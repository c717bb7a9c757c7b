"""What the agent's INI file says, checked and frozen.

[overc]
server=http://user:password@mon.example.com:5000/
my-name=a.example.com
my-key=1234
loglevel=INFO

[service:que]
period=10
max-lag=3
timeout=8
command=./plugin.d/que.sh "an argument"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from overc.config import Config, ConfigError, Mistake, Section, parse_command, parse_duration
from overc.logging import LEVELS
from overc.model import ServerIdentity

TIMEOUT_MOST_S = 60.0
"""A service's time limit, unless it has one of its own or a shorter period."""

NOTHING_TO_WATCH = "nothing to watch: add a section [service:NAME] with a period and a command"

PERIOD_MOST_S = 10 * 365 * 86400
"""Ten years: a longer promise is a slip of the keyboard."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where reports go. `url` ends in a slash and holds no credentials."""

    url: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User and password for HTTP Basic."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """One service: the command that tests it, and the promise that goes with its reports."""

    name: str
    period_s: int
    command: tuple[str, ...]
    timeout_s: float
    max_lag_s: float | None = None
    """Time the command is known to take; None: judged by its last run."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All that the agent has to know."""

    server: Server
    identity: ServerIdentity = field(repr=False)
    services: tuple[ServiceSettings, ...]
    folder: str
    """Where commands run: the INI file's folder, an absolute path."""
    loglevel: str = "INFO"


def load(
    path: str, environ: Mapping[str, str], overrides: Mapping[str, str | None]
) -> AgentSettings:
    """Read the settings from an INI file.

    `[overc]` options may also come from `environ`, as OVERC_SERVER, OVERC_MY_NAME and so on, and,
    before that, from `overrides`, by the option's name. Raises ConfigError with every mistake.
    """
    config = Config(path)
    main = config.section("overc", environ, overrides)
    server = main.require("server", parse_server, Server(""))
    identity = ServerIdentity(
        main.require("my-name", _parse_word, ""), main.require("my-key", _parse_word, "")
    )
    loglevel = main.read("loglevel", _parse_loglevel, "INFO")
    services = tuple(_read_service(config, *named) for named in config.sections("service"))
    if not services:
        config.add(Mistake(path, NOTHING_TO_WATCH))
    try:
        config.finish()
    except ConfigError as e:
        raise ConfigError(_first_causes(path, e.mistakes)) from None
    return AgentSettings(server, identity, services, config.folder, loglevel)


def parse_server(text: str) -> Server:
    """Return the parts of a server's URL. Raises ValueError with a sentence, without secrets."""
    expected = "expected a URL such as http://user:password@mon.example.com:5000/"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        # The reason may quote the password, when it holds a character that ends the host.
        kind = "the port is not a number" if "ort" in str(e) else "the host can't be read"
        raise ValueError(f"{expected}: {kind}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{expected}: it has to start with http:// or https://")
    if not parts.hostname:
        raise ValueError(f"{expected}: the host is missing")
    if parts.query or parts.fragment:
        raise ValueError(f"{expected}: it can't hold a ? or #; write them as %3F and %23")
    if not text.isprintable() or " " in text:
        raise ValueError(f"{expected}: it can't hold white space or control characters")
    if port == 0:
        raise ValueError(f"{expected}: the port can't be 0")
    credentials = None
    if "@" in parts.netloc:
        credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    host = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return Server(f"{parts.scheme}://{host}{path}", credentials)


def _first_causes(path: str, mistakes: list[Mistake]) -> list[Mistake]:
    """Return the mistakes without those that only follow from a file that can't be read.

    What is missing because there is no section at all stands at the file, without a line.
    """
    at_file = [m for m in mistakes if m.where == path]
    follow = [m for m in at_file if m.section or m.reason == NOTHING_TO_WATCH]
    causes = [m for m in mistakes if not m.section and m not in follow]
    return causes if causes and len(causes) + len(follow) == len(mistakes) else mistakes


def _read_service(config: Config, name: str, section: Section) -> ServiceSettings:
    try:
        _parse_word(name or "nameless")
    except ValueError as e:
        config.add(Mistake(section.where, str(e), section.name))
    period_s = section.require("period", _parse_period, 60)
    return ServiceSettings(
        name=name,
        period_s=period_s,
        command=section.require("command", parse_command, ()),
        timeout_s=section.read("timeout", _parse_timeout, min(float(period_s), TIMEOUT_MOST_S)),
        max_lag_s=section.read("max-lag", _parse_span, None),
    )


def _parse_word(text: str) -> str:
    if not text:
        raise ValueError("can't be empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8 text") from None
    if "\0" in text:
        raise ValueError("can't hold a NUL character")
    return text


def _parse_span(text: str) -> float:
    seconds = parse_duration(text)
    if seconds > PERIOD_MOST_S:
        raise ValueError(f"expected ten years at most, got {text!r}")
    return seconds


def _parse_period(text: str) -> int:
    seconds = _parse_span(text)
    if not seconds.is_integer() or seconds <= 0:
        raise ValueError(f"expected a whole number of seconds above 0, got {text!r}")
    return int(seconds)


def _parse_timeout(text: str) -> float:
    seconds = _parse_span(text)
    if seconds <= 0:
        raise ValueError(f"expected a time above 0, got {text!r}")
    return seconds


def _parse_loglevel(text: str) -> str:
    word = text.strip().upper()
    if word not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, got {text!r}")
    return word
