from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from overc.config import Config, ConfigError
from overc.daemon.alerting import alert_settings
from overc.daemon.alerting.alert_settings import AlertPlugin, Format, read_alert_plugin
from overc.daemon.alerting.routing import Route
from overc.daemon.alerting.secret_urls import parse_apprise, parse_http, shown, webhook
from overc.daemon.alerting.secret_values import FILE_BYTES, Secrets
from overc.daemon.calendars import Hours
from overc.daemon.patterns import Patterns

EXAMPLE = "expected a URL such as https://chat.example.com/hooks/abc"


@pytest.fixture(autouse=True)
def _apprise_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_settings, "find_spec", lambda name: name)


def read(
    folder: Path, text: str, environ: Mapping[str, str] | None = None
) -> tuple[AlertPlugin, list[str]]:
    """Return the plugin of a section, and the warnings. Raises ConfigError."""
    path = folder / "s.ini"
    path.write_text(f"[alert:a]\n{text}", encoding="utf-8")
    config = Config(str(path))
    secrets = Secrets(config.folder, environ or {})
    [(name, section)] = config.sections("alert")
    plugin = read_alert_plugin(name, section, config.folder, secrets, timezone.utc)
    config.finish()
    return plugin, [str(warning).replace(f"{folder}/", "") for warning in config.warnings]


def mistakes(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(folder, text, environ)
    return str(raised.value).replace(f"{folder}/", "").splitlines()


def test_the_defaults(tmp_path: Path) -> None:
    plugin, warnings = read(tmp_path, "command=mail 'a b'\n")
    assert warnings == []
    assert plugin == AlertPlugin("a", ("mail", "a b"), str(tmp_path))
    assert plugin == AlertPlugin(
        "a",
        ("mail", "a b"),
        str(tmp_path),
        30.0,
        notify=None,
        webhook=None,
        format=Format.TEXT,
        route=Route("a"),
        retry_for_s=86400.0,
        concurrency=1,
        digest_over=50,
    )


def test_every_option(tmp_path: Path) -> None:
    text = """\
command=./mail.sh
format=JSON
timeout=5
servers=web*, db1
services=!test*
events=service:state/*, plugin/*
delay=5m
remind=4h
quiet-hours=22:00-07:00, Sat
timezone=Europe/Berlin
retry-for=2d
concurrency=4
digest-over=10
"""
    plugin, warnings = read(tmp_path, text)
    assert warnings == []
    route = Route(
        "a",
        servers=Patterns("web*, db1"),
        services=Patterns("!test*"),
        events=Patterns("service:state/*, plugin/*"),
        delay_s=300.0,
        remind_s=4 * 3600.0,
        quiet=Hours("22:00-07:00, Sat", ZoneInfo("Europe/Berlin")),
    )
    assert plugin == AlertPlugin(
        "a",
        ("./mail.sh",),
        str(tmp_path),
        5.0,
        format=Format.JSON,
        route=route,
        retry_for_s=2 * 86400.0,
        concurrency=4,
        digest_over=10,
    )


def test_quiet_hours_are_by_the_servers_clock_unless_it_says_otherwise(tmp_path: Path) -> None:
    plugin, _ = read(tmp_path, "command=x\nquiet-hours=Sun\n")
    assert plugin.route.quiet == Hours("Sun", timezone.utc)


def test_a_webhook(tmp_path: Path) -> None:
    plugin, _ = read(tmp_path, "webhook=https://me:pass@h/x?y=z\n")
    assert plugin.webhook == "https://me:pass@h/x?y=z"
    assert plugin.format is Format.JSON
    assert "pass" not in repr(plugin)
    plugin, _ = read(tmp_path, "webhook=https://h/x\nformat=alertmanager\n")
    assert plugin.format is Format.ALERTMANAGER
    plugin, _ = read(tmp_path, "webhook=https://h/x\nformat=text\n")
    assert plugin.format is Format.TEXT


def test_apprise(tmp_path: Path) -> None:
    plugin, _ = read(tmp_path, "notify=mailto://me:pass@example.com?to=a%20b\n")
    assert plugin.notify == "mailto://me:pass@example.com?to=a%20b"
    assert plugin.format is Format.TEXT
    assert "pass" not in repr(plugin)


@pytest.mark.parametrize(
    "text, found",
    [
        ("", ["1: [alert:a] command: is missing; or give notify or webhook in its place"]),
        (
            "command=x\nnotify=json://h\nwebhook=http://h\n",
            [
                "3: [alert:a] notify: can't stand beside command: give each a section of its own",
                "4: [alert:a] webhook: can't stand beside command: give each a section of its own",
            ],
        ),
        ("command=\n", ["2: [alert:a] command: expected a command, got nothing"]),
        (
            "command=x\nformat=alertmanager\n",
            ["3: [alert:a] format: alertmanager is for webhook, not for command"],
        ),
        (
            "notify=json://h\nformat=alertmanager\n",
            ["3: [alert:a] format: alertmanager is for webhook, not for notify"],
        ),
        (
            "notify=json://h\nformat=json\n",
            ["3: [alert:a] format: notify always sends text, not json: leave it out"],
        ),
        (
            "command=x\nformat=xml\n",
            ["3: [alert:a] format: expected one of text, json, alertmanager, got 'xml'"],
        ),
        (
            "command=x\ntimezone=UTC\n",
            ["3: [alert:a] timezone: is for quiet-hours, and there are none"],
        ),
        (
            "command=x\nquiet-hours=Sun\ntimezone=Mars\n",
            [
                "4: [alert:a] timezone: expected a time zone such as Europe/Berlin or UTC,"
                " got 'Mars'"
            ],
        ),
        (
            "command=x\nservers=\n",
            ["3: [alert:a] servers: expected names such as web*, db1 or !web9, got ''"],
        ),
        (
            "command=x\ndelay=soon\n",
            ["3: [alert:a] delay: expected a duration such as 90, 5m or 1h30m, got 'soon'"],
        ),
        (
            "command=x\nremind=0\nretry-for=0s\n",
            [
                "3: [alert:a] remind: expected more than 0 seconds, got '0'",
                "4: [alert:a] retry-for: expected more than 0 seconds, got '0s'",
            ],
        ),
        (
            "command=x\nconcurrency=101\ndigest-over=-1\n",
            [
                "3: [alert:a] concurrency: expected a whole number from 1 to 100, got '101'",
                "4: [alert:a] digest-over: expected a whole number from 1 to 1000000000, got '-1'",
            ],
        ),
        (
            "command=x\nconcurrency=²\n",
            ["3: [alert:a] concurrency: expected a whole number from 1 to 100, got '²'"],
        ),
        ("webhook=ftp://h\n", [f"2: [alert:a] webhook: {EXAMPLE}: it has to start with http"]),
        ("notify=nothing\n", ["2: [alert:a] notify: expected an Apprise URL such as mailto://"]),
        ("notify=@none\n", ["2: [alert:a] notify: none can't be read: No such file or directory"]),
        ("notify=@.\n", ["2: [alert:a] notify: . can't be read: Is a directory"]),
        ("notify=@\0\n", ["2: [alert:a] notify: \0 can't be read: no path of a file"]),
        (
            "webhook=$NONE\n",
            ["2: [alert:a] webhook: the environment has no variable NONE, or an empty one"],
        ),
        (
            "webhook=${EMPTY}\n",
            ["2: [alert:a] webhook: the environment has no variable EMPTY, or an empty one"],
        ),
        (
            "webhook=$A/b\n",
            ["2: [alert:a] webhook: expected $VARIABLE, @FILE or the value itself"],
        ),
    ],
)
def test_a_mistake(tmp_path: Path, text: str, found: list[str]) -> None:
    told = mistakes(tmp_path, text, {"EMPTY": " "})
    assert len(told) == len(found)
    for line, start in zip(told, found, strict=True):
        assert line.startswith(f"s.ini:{start}")


def test_apprise_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_settings, "find_spec", lambda name: None)
    reason = "needs Apprise: pip install 'overc[notify]'"
    assert mistakes(tmp_path, "notify=json://h\n") == [f"s.ini:2: [alert:a] notify: {reason}"]
    plugin, _ = read(tmp_path, "webhook=http://h\n")
    assert plugin.webhook == "http://h"


@pytest.mark.parametrize("value", ["@hook", "@./hook", "$HOOK", "${HOOK}", " $HOOK "])
def test_a_secret_from_elsewhere(tmp_path: Path, value: str) -> None:
    secret = "https://me:pass@h/x"
    (tmp_path / "hook").write_text(f"{secret}\n")
    (tmp_path / "hook").chmod(0o640)
    plugin, warnings = read(tmp_path, f"webhook={value}\n", {"HOOK": f"{secret}\n"})
    assert plugin.webhook == secret
    assert warnings == []


def test_a_secret_in_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("http://h")
    (tmp_path / "hook").chmod(0o600)
    (tmp_path / "etc").mkdir()
    plugin, _ = read(tmp_path / "etc", f"webhook=@{tmp_path}/hook\n")
    assert plugin.webhook == "http://h"


def test_a_secret_that_all_can_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("https://h/s3cret")
    (tmp_path / "hook").chmod(0o644)
    plugin, warnings = read(tmp_path, "webhook=@hook\n")
    assert plugin.webhook == "https://h/s3cret"
    assert warnings == [
        "s.ini:2: [alert:a] webhook: everybody may read the secret in hook: chmod o-rwx it"
    ]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "hook: expected one line with the value"),
        (b" \n\n", "hook: expected one line with the value"),
        (b"s3cret\ns3cret\n", "hook: expected one line with the value"),
        (b"s3cret" * FILE_BYTES, "hook: expected one line with the value"),
        (b"s3cret\xff", "hook is not UTF-8 text"),
        (b"s3cret", f"{EXAMPLE}: it has to start with http:// or https://"),
        (b"https://h:s3cret/", f"{EXAMPLE}: the port is not a number"),
        (b"https://[s3cret/", f"{EXAMPLE}: the host can't be read"),
        (b"https://me:s3cret@/", f"{EXAMPLE}: the host is missing"),
        (b"https://h/s3c ret", f"{EXAMPLE}: it can't hold white space or control characters"),
        (b"https://h:0/s3cret", f"{EXAMPLE}: the port can't be 0"),
    ],
)
def test_no_mistake_shows_a_secret(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "hook").write_bytes(content)
    (tmp_path / "hook").chmod(0o600)
    environ = {"HOOK": os.fsdecode(content)}
    told = mistakes(tmp_path, "webhook=@hook\n", environ)
    assert told == [f"s.ini:2: [alert:a] webhook: {reason}"]
    if content.startswith(b"http"):
        assert mistakes(tmp_path, "webhook=$HOOK\n", environ) == told
        assert mistakes(tmp_path, f"webhook={content.decode()}\n") == told


@pytest.mark.parametrize(
    "option, warning",
    [
        ("events=service:state/FAIL, plugin/offline", None),
        ("events=*/*", None),
        ("events=alert-plugin/*", None),
        ("events=overc/*", None),
        ("events=*/alert", None),
        ("events=!plugin/*", None),
        ("events=service/FAIL", "'service/FAIL' can never match; known: service:state/OK, "),
        ("events=api", "'api' can never match; known: "),
        ("events=plugin/*, plugin/of", "'plugin/of' can never match; known: "),
        ("servers=web*, !web9", None),
        ("servers=!web9", None),
        ("servers=web9, db, !web*", None),
        ("servers=web9, !web*", "can never match: what it names it leaves out again"),
        ("servers=web*, !web*", "can never match: what it names it leaves out again"),
        ("services=!*", "can never match: what it names it leaves out again"),
        ("services=*, !?", None),
    ],
)
def test_a_rule_that_can_never_match(tmp_path: Path, option: str, warning: str | None) -> None:
    _, warnings = read(tmp_path, f"command=x\n{option}\n")
    if warning is None:
        assert warnings == []
    else:
        [told] = warnings
        assert told.startswith(f"s.ini:3: [alert:a] {option.partition('=')[0]}: {warning}")


@pytest.mark.parametrize(
    "url, bare, credentials",
    [
        ("https://h/x?y=z", "https://h/x?y=z", None),
        ("http://me:p%40ss@h:81/x#y", "http://h:81/x", ("me", "p@ss")),
        ("http://me@h", "http://h", ("me", "")),
        ("http://é:ü@[::1]:8/", "http://[::1]:8/", ("é", "ü")),
    ],
)
def test_taking_a_url_apart(url: str, bare: str, credentials: tuple[str, str] | None) -> None:
    assert webhook(parse_http(url)) == (bare, credentials)


@pytest.mark.parametrize(
    "url, part",
    [
        ("https://me:pass@h:8080/x?y#z", "https://h:8080"),
        ("nonsense", "***"),
        ("http://[", "***"),
    ],
)
def test_what_of_a_url_is_shown(url: str, part: str) -> None:
    assert shown(url) == part


@pytest.mark.parametrize("text", ["", "mail", "mailto:", "mailto://", "://x", "a b://x", "x://a\n"])
def test_no_url_of_apprises(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected an Apprise URL such as mailto://"):
        parse_apprise(text)
