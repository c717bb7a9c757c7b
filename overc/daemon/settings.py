"""The server's settings, out of an INI file, the environment and the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from urllib.parse import urlsplit

from overc.config import Config
from overc.daemon.access_settings import Access, Credentials, parse_credentials, read_access
from overc.daemon.alerting.alert_settings import AlertPlugin, read_alert_plugin
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.alerting.secret_urls import parse_http
from overc.daemon.alerting.secret_values import Secrets
from overc.daemon.calendars import local_timezone, parse_timezone
from overc.daemon.expectations import Expectations
from overc.daemon.page_settings import PublicPieces, read_public
from overc.daemon.rule_settings import (
    parse_positive_duration,
    read_expectations,
    read_maintenances,
)
from overc.daemon.store.urls import Database, SqliteDatabase, parse_database
from overc.logging import LEVELS
from overc.model import DEFAULT_PORT

DEFAULT_LISTEN = f"tcp:{DEFAULT_PORT}:interface=127.0.0.1"
DAY_S = 86400.0
HEARTBEAT_PERIOD_S = 60.0
PORT_MAX = 65535

# Twisted takes any number here and fails only when it is to listen.
_PORT = re.compile(r"(?:tcp|ssl):(?:port=)?(-?[0-9]{1,18})(?::|$)")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    database: Database
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    """Twisted's endpoint strings."""
    loglevel: str = "INFO"
    ui_auth: Credentials | None = None
    api_auth: Credentials | None = None
    access: Access = field(default_factory=Access)
    """Who else may come in, and who may only look."""
    public: PublicPieces = field(default_factory=PublicPieces)
    """What shows without a login."""
    max_body_bytes: int = 1024 * 1024
    request_timeout_s: float = 30.0
    keep_history_s: float = 30 * DAY_S
    """States, and what is remembered of agents' spools."""
    keep_alerts_s: float = 365 * DAY_S
    keep_rollups_s: float = 5 * 365 * DAY_S
    plugins: tuple[AlertPlugin, ...] = ()
    expectations: Expectations = field(default_factory=Expectations, compare=False)
    maintenances: tuple[Maintenance, ...] = ()
    url: str | None = None
    """Where people reach the dashboard, for links in alerts; without a slash at the end."""
    timezone: tzinfo | None = None
    """By whose clock hours and calendars go; None: this machine's."""
    heartbeat_url: str | None = field(default=None, repr=False)
    """What is called as long as the watchdog does its work."""
    heartbeat_period_s: float = HEARTBEAT_PERIOD_S
    path: str | None = field(default=None, compare=False)
    """The INI file; None: there is none."""
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What is no mistake, but should be told at the start."""

    @property
    def has_door(self) -> bool:
        """The dashboard is not open to all."""
        return self.ui_auth is not None or self.access.remote_user_header is not None


def load(
    path: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str | None],
    check_endpoint: Callable[[str], object],
) -> ServerSettings:
    """Read the settings.

    `overrides`: options of the command line by name, None for those not given. `check_endpoint`
    raises ValueError for a string that is no endpoint. Raises overc.config.ConfigError with every
    mistake.
    """
    config = Config(path)
    overc = config.section("overc", environ, overrides)

    def listen(text: str) -> tuple[str, ...]:
        if not text.split():
            raise ValueError(f"expected an endpoint such as {DEFAULT_LISTEN}, got nothing")
        for endpoint in text.split():
            try:
                check_endpoint(endpoint)
            except Exception as e:
                # Twisted raises whatever its parser stumbles over.
                raise ValueError(
                    f"{endpoint!r} is not an endpoint such as {DEFAULT_LISTEN}: {e}"
                ) from None
            port = _PORT.match(endpoint)
            if port and not 0 <= int(port[1]) <= PORT_MAX:
                raise ValueError(f"{endpoint!r}: expected a port from 0 to {PORT_MAX}")
        return tuple(text.split())

    secrets = Secrets(config.folder, environ)
    timezone = overc.read("timezone", parse_timezone, None)
    zone = timezone or local_timezone(environ.get("TZ", ""))
    ui_auth = overc.read("ui-auth", parse_credentials, None)
    settings = ServerSettings(
        database=overc.read(
            "database", lambda text: parse_database(text, config.folder), default_database(environ)
        ),
        listen=overc.read("listen", listen, (DEFAULT_LISTEN,)),
        loglevel=overc.read("loglevel", parse_loglevel, "INFO"),
        ui_auth=ui_auth,
        api_auth=overc.read("api-auth", parse_credentials, None),
        access=read_access(overc, secrets, ui_auth),
        public=read_public(config, overc),
        max_body_bytes=overc.read("max-body", parse_size, 1024 * 1024),
        request_timeout_s=overc.read("request-timeout", parse_positive_duration, 30.0),
        keep_history_s=overc.read("keep-history", parse_positive_duration, 30 * DAY_S),
        keep_alerts_s=overc.read("keep-alerts", parse_positive_duration, 365 * DAY_S),
        keep_rollups_s=overc.read("keep-rollups", parse_positive_duration, 5 * 365 * DAY_S),
        plugins=tuple(
            read_alert_plugin(name, section, config.folder, secrets, zone)
            for name, section in config.sections("alert")
        ),
        expectations=read_expectations(config, zone),
        maintenances=read_maintenances(config, zone),
        url=overc.read("url", parse_base_url, None),
        timezone=timezone,
        heartbeat_url=secrets.read(overc, "heartbeat-url", parse_http),
        heartbeat_period_s=overc.read(
            "heartbeat-period", parse_positive_duration, HEARTBEAT_PERIOD_S
        ),
    )
    if settings.heartbeat_url is None and overc.read("heartbeat-period", str, None) is not None:
        overc.mistake("heartbeat-period", "is for heartbeat-url, and there is none")
    config.finish()
    where = None if path is None else os.path.abspath(path)
    return replace(settings, path=where, warnings=tuple(map(str, config.warnings)))


def default_database(environ: Mapping[str, str]) -> Database:
    """Return the file in the state folder of the service, of the system or of the user."""
    if folder := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        pass
    elif os.geteuid() == 0:
        folder = "/var/lib/overc"
    else:
        state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        folder = os.path.join(state, "overc")
    return SqliteDatabase(os.path.join(folder, "overc.db"))


def parse_loglevel(text: str) -> str:
    level = text.strip().upper()
    if level not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, got {text!r}")
    return level


def parse_size(text: str) -> int:
    """Read a number of bytes such as 65536, 512K or 2M. Raises ValueError."""
    number, unit = text.strip()[:-1], text.strip()[-1:].upper()
    factor = {"K": 1024, "M": 1024**2}.get(unit)
    if factor is None:
        number, factor = text.strip(), 1
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise ValueError(f"expected a size such as 65536, 512K or 2M, got {text!r}")
    return int(number) * factor


def parse_base_url(text: str) -> str:
    """Read where people reach the dashboard. Raises ValueError with a sentence."""
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("it goes into messages: leave out user and password")
    expected = f"expected a URL such as https://mon.example.com/, got {text!r}"
    try:
        parts = urlsplit(parse_http(text.strip()))
    except ValueError:
        raise ValueError(expected) from None
    if parts.query or parts.fragment:
        raise ValueError(expected)
    return parts.geturl().rstrip("/")


def interface(endpoint: str) -> str:
    """Return the interface that an endpoint string names; empty stands for all of them."""
    words = re.split(r"(?<!\\):", endpoint)
    named = [word.partition("=")[2] for word in words if word.startswith("interface=")]
    if not named and len(words) > 2 and "=" not in words[2]:
        named = words[2:3]
    return named[0].replace("\\:", ":") if named else ""


def is_loopback(endpoint: str) -> bool:
    """Say whether an endpoint string can be reached from this machine only, as far as it shows."""
    if endpoint.startswith("unix:"):
        return True
    host = interface(endpoint)
    return host in ("localhost", "::1") or host.startswith("127.")
