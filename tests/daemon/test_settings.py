from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock

from overc.config import ConfigError
from overc.daemon import settings
from overc.daemon.access_settings import Credentials, parse_credentials
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.settings import (
    ServerSettings,
    default_database,
    interface,
    is_loopback,
    load,
    parse_base_url,
    parse_loglevel,
    parse_size,
)
from overc.daemon.store.urls import MysqlDatabase, SqliteDatabase

EXAMPLE = "such as tcp:5000:interface=127.0.0.1"
DATABASE = "expected sqlite:///PATH or mysql://user:password@host/name"
LEVELS = "expected one of DEBUG, INFO, WARN, WARNING, ERROR, CRITICAL"


def check_endpoint(text: str) -> object:
    return serverFromString(MemoryReactorClock(), text)


def loaded(
    folder: Path,
    text: str,
    environ: Mapping[str, str] | None = None,
    **overrides: str | None,
) -> ServerSettings:
    path = folder / "server.ini"
    path.write_text(text, encoding="utf-8")
    return load(str(path), environ or {}, overrides, check_endpoint)


def mistakes(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loaded(folder, text, environ)
    return str(raised.value).replace(f"{folder}/", "").splitlines()


def test_every_option(tmp_path: Path) -> None:
    text = """\
[overc]
loglevel = debug
database = sqlite:///data/over%20c.db
listen = tcp:5001:interface=10.0.0.1  unix:/run/overc.sock
ui-auth = admin:s:e c
api-auth = ключ:пароль
max-body = 512K
request-timeout = 1m30s
url = https://mon.example.com/overc/
timezone = Europe/Berlin
heartbeat-url = $BEAT
heartbeat-period = 5m

[alert:mail]
command = ./mail.sh "a b" 100%
timeout = 5

[alert: log ]
command = logger
"""
    found = loaded(tmp_path, text, {"BEAT": "https://beat.example.com/s3cret"})
    folder = str(tmp_path)
    assert "s3cret" not in repr(found)
    assert found == ServerSettings(
        database=SqliteDatabase(f"{folder}/data/over c.db"),
        listen=("tcp:5001:interface=10.0.0.1", "unix:/run/overc.sock"),
        loglevel="DEBUG",
        ui_auth=Credentials("admin", "s:e c"),
        api_auth=Credentials("ключ", "пароль"),
        max_body_bytes=512 * 1024,
        request_timeout_s=90.0,
        plugins=(
            AlertPlugin("mail", ("./mail.sh", "a b", "100%"), folder, 5.0),
            AlertPlugin("log", ("logger",), folder, 30.0),
        ),
        url="https://mon.example.com/overc",
        timezone=ZoneInfo("Europe/Berlin"),
        heartbeat_url="https://beat.example.com/s3cret",
        heartbeat_period_s=300.0,
    )


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    found = loaded(tmp_path, "", {"STATE_DIRECTORY": "/var/lib/x"})
    assert found == ServerSettings(
        database=SqliteDatabase("/var/lib/x/overc.db"),
        listen=("tcp:5000:interface=127.0.0.1",),
        loglevel="INFO",
        ui_auth=None,
        api_auth=None,
        max_body_bytes=1024 * 1024,
        request_timeout_s=30.0,
        plugins=(),
        url=None,
        timezone=None,
        heartbeat_url=None,
        heartbeat_period_s=60.0,
    )


def test_no_file_gives_the_same(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/x"}
    assert load(None, environ, {}, check_endpoint) == loaded(tmp_path, "", environ)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = "[overc]\ndatabase=sqlite:////file\nlisten=tcp:1\nui-auth=file:x\n"
    environ = {
        "OVERC_DATABASE": "sqlite:////environment",
        "OVERC_LISTEN": "tcp:2",
        "OVERC_MAX_BODY": "7",
    }
    found = loaded(tmp_path, text, environ, database="sqlite:////line", listen=None)
    assert found.database == SqliteDatabase("/line")
    assert found.listen == ("tcp:2",)
    assert found.ui_auth == Credentials("file", "x")
    assert found.max_body_bytes == 7


@pytest.mark.parametrize(
    "line, mistake",
    [
        (
            "database=mysql://u:p@h",
            "database: expected mysql://user:password@host[:port]/name; wrong: name",
        ),
        ("database=overc.db", f"database: {DATABASE}"),
        ("database=", f"database: {DATABASE}"),
        (
            "listen=nonsense",
            f"listen: 'nonsense' is not an endpoint {EXAMPLE}: Unknown endpoint type: 'nonsense'",
        ),
        (
            "listen=tcp:1 tcp:x",
            f"listen: 'tcp:x' is not an endpoint {EXAMPLE}:"
            " invalid literal for int() with base 10: 'x'",
        ),
        ("listen=tcp:65536", "listen: 'tcp:65536': expected a port from 0 to 65535"),
        ("listen=tcp:0 tcp:-1", "listen: 'tcp:-1': expected a port from 0 to 65535"),
        ("listen=tcp:port=70000", "listen: 'tcp:port=70000': expected a port from 0 to 65535"),
        ("listen=", f"listen: expected an endpoint {EXAMPLE}, got nothing"),
        ("loglevel=LOUD", f"loglevel: {LEVELS}, got 'LOUD'"),
        ("ui-auth=admin", "ui-auth: expected user:password"),
        ("api-auth=:secret", "api-auth: expected user:password"),
        ("max-body=1G", "max-body: expected a size such as 65536, 512K or 2M, got '1G'"),
        ("request-timeout=0", "request-timeout: expected more than 0 seconds, got '0'"),
        (
            "request-timeout=soon",
            "request-timeout: expected a duration such as 90, 5m or 1h30m, got 'soon'",
        ),
        (
            "url=mon.example.com",
            "url: expected a URL such as https://mon.example.com/, got 'mon.example.com'",
        ),
        (
            "timezone=CET+1",
            "timezone: expected a time zone such as Europe/Berlin or UTC, got 'CET+1'",
        ),
        (
            "heartbeat-url=hc-ping.com/uuid",
            "heartbeat-url: expected a URL such as https://chat.example.com/hooks/abc:"
            " it has to start with http:// or https://",
        ),
        ("heartbeat-period=1m", "heartbeat-period: is for heartbeat-url, and there is none"),
        (
            "port=5000",
            "port: unknown option; known here: api-auth, badges, database, heartbeat-period,"
            " heartbeat-url, keep-alerts, keep-history, keep-rollups, listen, loglevel, max-body,"
            " remote-user-header, remote-writers, request-timeout, timezone, trusted-proxies,"
            " ui-auth, ui-hosts, ui-readers, url",
        ),
    ],
)
def test_a_mistake(tmp_path: Path, line: str, mistake: str) -> None:
    assert mistakes(tmp_path, f"[overc]\n{line}\n") == [f"server.ini:2: [overc] {mistake}"]


@pytest.mark.parametrize(
    "text, found",
    [
        (
            "[alert:a]\n",
            ["server.ini:1: [alert:a] command: is missing; or give notify or webhook in its place"],
        ),
        (
            "[alert:a]\ncommand=\n",
            ["server.ini:2: [alert:a] command: expected a command, got nothing"],
        ),
        (
            '[alert:a]\ncommand=x "y\n',
            ["server.ini:2: [alert:a] command: can't be split into words: no closing quotation"],
        ),
        (
            "[alert:a]\ncommand=x\ntimeout=0s\n",
            ["server.ini:3: [alert:a] timeout: expected more than 0 seconds, got '0s'"],
        ),
        ("[alert:]\ncommand=x\n", ["server.ini:1: [alert:] expected [alert:NAME]"]),
        ("[alerts:a]\ncommand=x\n", ["server.ini:1: [alerts:a] unknown section"]),
        (
            "[alert:a]\ncommand=x\n[alert: a]\ncommand=y\n",
            ["server.ini:3: [alert: a] the same name as [alert:a]: each needs its own"],
        ),
    ],
)
def test_a_mistake_of_a_plugin(tmp_path: Path, text: str, found: list[str]) -> None:
    assert mistakes(tmp_path, text) == found


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "[overc]\nloglevel=x\nui-auth=x\n[alert:a]\n[nonsense]\n"
    places = [line.split(" ")[0] for line in mistakes(tmp_path, text, {"OVERC_LISTEN": " "})]
    assert places == ["environment", *(f"server.ini:{line}:" for line in (2, 3, 4, 5))]


def test_no_mistake_and_no_repr_shows_a_secret(tmp_path: Path) -> None:
    shown = mistakes(tmp_path, "[overc]\nui-auth=hunter2\n", {"OVERC_API_AUTH": "hunter2"})
    assert len(shown) == 2
    assert "hunter2" not in "".join(shown)
    found = loaded(tmp_path, "[overc]\nui-auth=admin:hunter2\n")
    assert found.ui_auth is not None
    assert found.ui_auth.password == "hunter2"
    assert "hunter2" not in repr(found)


def test_a_database_on_a_server(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[overc]\ndatabase=mysql://over:se%25cret@db.example.com/mon\n")
    wanted = MysqlDatabase("db.example.com", 3306, "over", "se%cret", "mon")
    assert found.database == wanted
    assert "cret" not in repr(found) + str(found.database)


@pytest.mark.parametrize(
    "environ, euid, path",
    [
        ({"STATE_DIRECTORY": "/var/lib/private/overc"}, 0, "/var/lib/private/overc/overc.db"),
        ({"STATE_DIRECTORY": "/one:/two"}, 1000, "/one/overc.db"),
        ({"XDG_STATE_HOME": "/x"}, 0, "/var/lib/overc/overc.db"),
        ({"XDG_STATE_HOME": "/x"}, 1000, "/x/overc/overc.db"),
        ({"XDG_STATE_HOME": ""}, 1000, "/home/me/.local/state/overc/overc.db"),
        ({}, 1000, "/home/me/.local/state/overc/overc.db"),
    ],
)
def test_the_default_database(
    environ: dict[str, str], euid: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_database(environ) == SqliteDatabase(path)


@pytest.mark.parametrize(
    "text, user, password",
    [("a:b", "a", "b"), ("a:b:c", "a", "b:c"), ("a::", "a", ":"), ("é:ü ", "é", "ü ")],
)
def test_credentials(text: str, user: str, password: str) -> None:
    assert parse_credentials(text) == Credentials(user, password)


@pytest.mark.parametrize("text", ["", ":", "a", "a:", ":b"])
def test_no_credentials(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected user:password$"):
        parse_credentials(text)


@pytest.mark.parametrize(
    "text, level", [("warn", "WARN"), (" Warning ", "WARNING"), ("CRITICAL", "CRITICAL")]
)
def test_a_loglevel(text: str, level: str) -> None:
    assert parse_loglevel(text) == level


@pytest.mark.parametrize(
    "text, size",
    [("1", 1), ("65536", 65536), (" 2k ", 2048), ("512K", 524288), ("3M", 3 * 1024 * 1024)],
)
def test_a_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "0", "0K", "-1", "1.5M", "1 K", "1G", "²", "٣", "1KK"])
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a size such as 65536, 512K or 2M, got "):
        parse_size(text)


@pytest.mark.parametrize(
    "endpoint, named, loopback",
    [
        ("tcp:5000:interface=127.0.0.1", "127.0.0.1", True),
        ("tcp:5000:interface=127.1.2.3:backlog=5", "127.1.2.3", True),
        ("tcp:5000:backlog=5:interface=localhost", "localhost", True),
        (r"tcp:5000:interface=\:\:1", "::1", True),
        (r"ssl:443:interface=\:\:1:privateKey=k.pem", "::1", True),
        (r"tcp:5000:interface=\:\:10", "::10", False),
        (r"tcp:5000:interface=\:\:", "::", False),
        (r"tcp:5000:interface=fe80\:\:1", "fe80::1", False),
        ("tcp:5000:interface=localhost.example.com", "localhost.example.com", False),
        ("tcp:5000:interface=0.0.0.0", "0.0.0.0", False),
        ("tcp:5000:interface=10.127.0.1", "10.127.0.1", False),
        ("tcp:5000:interface=", "", False),
        ("tcp:5000", "", False),
        ("ssl:443", "", False),
        ("systemd:domain=INET:index=0", "", False),
        ("unix:/run/overc.sock", "", True),
        ("unix:/run/overc.sock:mode=660", "", True),
    ],
)
def test_what_an_endpoint_is_open_to(endpoint: str, named: str, loopback: bool) -> None:
    assert interface(endpoint) == named
    assert is_loopback(endpoint) is loopback


def test_the_default_is_loopback() -> None:
    assert is_loopback(settings.DEFAULT_LISTEN)


def test_how_long_things_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "server.ini"
    path.write_text("[overc]\nkeep-history=7d\nkeep-alerts=90d\nkeep-rollups=2y\n")
    loaded = settings.load(str(path), {}, {}, str)
    kept_s = (loaded.keep_history_s, loaded.keep_alerts_s, loaded.keep_rollups_s)
    assert kept_s == (7 * 86400, 90 * 86400, 2 * 365 * 86400)
    default = settings.load(None, {}, {}, str)
    kept_s = (default.keep_history_s, default.keep_alerts_s, default.keep_rollups_s)
    assert kept_s == (30 * 86400, 365 * 86400, 5 * 365 * 86400)


@pytest.mark.parametrize(
    "text, url",
    [
        ("https://mon.example.com/", "https://mon.example.com"),
        (" http://127.0.0.1:5000 ", "http://127.0.0.1:5000"),
        ("https://example.com/over/c/", "https://example.com/over/c"),
    ],
)
def test_where_the_dashboard_is(text: str, url: str) -> None:
    assert parse_base_url(text) == url


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "expected a URL such as https://mon.example.com/, got ''"),
        ("https://me:pass@h/", "it goes into messages: leave out user and password"),
        ("https://h/?a", "expected a URL such as https://mon.example.com/, got 'https://h/?a'"),
        ("https://h/#a", "expected a URL such as https://mon.example.com/, got 'https://h/#a'"),
    ],
)
def test_where_no_dashboard_can_be(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_base_url(text)
    assert str(raised.value) == reason


def test_rules_and_warnings_are_read(tmp_path: Path) -> None:
    text = """\
[overc]
timezone=Asia/Tokyo
[alert:a]
command=x
quiet-hours=Sun
events=nonsense
[expect:slow]
services=slow*
after=3
[maintenance:night]
calendar=02:00
duration=1h
"""
    found = loaded(tmp_path, text)
    quiet = found.plugins[0].route.quiet
    assert quiet is not None
    # A Sunday, in Tokyo.
    sunday_at = datetime(2026, 2, 28, 16, tzinfo=timezone.utc).timestamp()
    assert quiet.until(sunday_at) == sunday_at + 23 * 3600
    assert found.expectations.of("host", "slow1").after == 3
    [maintenance] = found.maintenances
    assert maintenance.name == "night"
    assert maintenance.windows.until(sunday_at + 3600) == sunday_at + 2 * 3600
    [warning] = found.warnings
    place = "server.ini:6: [alert:a] events: "
    assert f"{place}'nonsense' can never match; known: service:state/OK, " in warning
