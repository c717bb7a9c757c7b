"""What the agent's INI files say, checked and frozen.

[overc]
server=http://user:password@mon.example.com:5000/
my-name=a.example.com
my-key=1234
loglevel=INFO
concurrency=8
own-state=yes
own-state-period=5m
goodbye=2h

[service:que]
period=10
max-lag=3
timeout=8
grace=20%
command=./plugin.d/que.sh "an argument"
env=LANG=C QUEUE="in and out"
cwd=/var/spool/que
user=nobody

There may be several files; one of them has [overc]. See overc/agent/service_settings.py for the
sections of services, and overc/agent/delivery_settings.py for how reports reach the server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from overc.agent.delivery_settings import Server, SpoolSettings, TlsSettings, read_delivery
from overc.agent.service_settings import (
    ServiceSettings,
    parse_period,
    parse_word,
    parse_yes_no,
    read_service,
)
from overc.config import Config, ConfigError, Mistake
from overc.logging import LEVELS
from overc.model import ServerIdentity

CONCURRENCY = 8
CONCURRENCY_MOST = 1000

OWN_SERVICE = "overc-agent"
"""The service under which the agent reports its own state."""

OWN_PERIOD_S = 300

NOTHING_TO_WATCH = "nothing to watch: add a section [service:NAME] with a period and a command"


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All that the agent has to know."""

    server: Server
    identity: ServerIdentity = field(repr=False)
    services: tuple[ServiceSettings, ...]
    folder: str
    """That of the file with [overc], an absolute path."""
    loglevel: str = "INFO"
    concurrency: int = CONCURRENCY
    """How many plugins run at once."""
    own_period_s: int | None = OWN_PERIOD_S
    """How often the agent reports its own state; None: never."""
    goodbye_s: int | None = None
    """How long the last reports at a stop ask people to wait; None: there are none."""
    warnings: tuple[str, ...] = ()
    other_servers: tuple[Server, ...] = ()
    """What takes reports, in this order, while `server` does not."""
    tls: TlsSettings = field(default_factory=TlsSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them, the preferred one first."""
        return (self.server, *self.other_servers)


def load(
    paths: str | Sequence[str], environ: Mapping[str, str], overrides: Mapping[str, str | None]
) -> AgentSettings:
    """Read the settings from INI files; a folder stands for the `*.ini` files in it.

    `[overc]` options may also come from `environ`, as OVERC_SERVER, OVERC_MY_NAME and so on, and,
    before that, from `overrides`, by the option's name. Raises ConfigError with every mistake.
    """
    mistakes: list[Mistake] = []
    files = _files([paths] if isinstance(paths, str) else paths, mistakes)
    if not files:
        raise ConfigError(mistakes)
    configs = [Config(path) for path in files]
    first = next((config for config in configs if config.has("overc")), configs[0])
    for config in configs:
        if config is not first and config.has("overc"):
            config.refuse("overc", f"stands in {first.path} too: leave it in one of the files")
    main = first.section("overc", environ, overrides)
    identity = ServerIdentity(
        main.require("my-name", parse_word, ""), main.require("my-key", parse_word, "")
    )
    delivery = read_delivery(main, first.folder, identity.name, environ)
    own_state = main.read("own-state", parse_yes_no, True)
    own_period_s = main.read("own-state-period", parse_period, OWN_PERIOD_S)
    settings = AgentSettings(
        delivery.servers[0],
        identity,
        _services(configs, own_state),
        first.folder,
        loglevel=main.read("loglevel", _parse_loglevel, "INFO"),
        concurrency=main.read("concurrency", _parse_concurrency, CONCURRENCY),
        own_period_s=own_period_s if own_state else None,
        goodbye_s=main.read("goodbye", parse_period, None),
        warnings=tuple(str(each) for config in configs for each in config.warnings),
        other_servers=delivery.servers[1:],
        tls=delivery.tls,
        spool=delivery.spool,
    )
    if not settings.services:
        first.add(Mistake(files[0], NOTHING_TO_WATCH))
    for config in configs:
        try:
            config.finish()
        except ConfigError as e:
            mistakes += e.mistakes
    if mistakes:
        raise ConfigError(_first_causes(files, mistakes))
    return settings


def _files(paths: Sequence[str], mistakes: list[Mistake]) -> list[str]:
    """Return the files that are meant, in order."""
    files: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        try:
            names = sorted(os.listdir(path))
        except OSError as e:
            mistakes.append(Mistake(path, f"can't be read: {e.strerror}"))
            continue
        found = [name for name in names if name.endswith(".ini") and not name.startswith(".")]
        if not found:
            mistakes.append(Mistake(path, "is a folder without a file *.ini: put one there"))
        files += [os.path.join(path, name) for name in found]
    return files


def _services(configs: Sequence[Config], own_state: bool) -> tuple[ServiceSettings, ...]:
    services: list[ServiceSettings] = []
    places: dict[str, tuple[Config, str]] = {}
    for config in configs:
        for name, section in config.sections("service"):
            services.append(read_service(config, name, section))
            other, where = places.setdefault(name, (config, section.where))
            if other is not config:
                reason = f"the same name as in {where}: each service needs its own"
                config.add(Mistake(section.where, reason, section.name))
            if own_state and name == OWN_SERVICE:
                reason = "the name of the agent's own state: take another one, or own-state=no"
                config.add(Mistake(section.where, reason, section.name))
    return tuple(services)


def _first_causes(files: Sequence[str], mistakes: list[Mistake]) -> list[Mistake]:
    """Return the mistakes without those that only follow from a file that can't be read.

    What is missing because there is no section at all stands at the file, without a line.
    """
    at_file = [m for m in mistakes if m.where in files]
    follow = [m for m in at_file if m.section or m.reason == NOTHING_TO_WATCH]
    causes = [m for m in mistakes if not m.section and m not in follow]
    return causes if causes and len(causes) + len(follow) == len(mistakes) else mistakes


def _parse_concurrency(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not 0 < number <= CONCURRENCY_MOST:
        raise ValueError(f"expected a number from 1 to {CONCURRENCY_MOST}, got {text!r}")
    return number


def _parse_loglevel(text: str) -> str:
    word = text.strip().upper()
    if word not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, got {text!r}")
    return word
