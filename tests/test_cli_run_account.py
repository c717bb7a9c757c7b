"""`overcli run`: where it reports, and as whom."""

from __future__ import annotations

import ssl
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, running
from support.expiring import make_certificate
from support.job_host import DAILY, PATIENCE_S, Host

from overc.cli_run import read_account
from overc.config import ConfigError
from overc.model import ServerIdentity


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, server: FakeServer) -> Host:
    return Host(tmp_path, server)


INI = "[overc]\nserver={url}\nmy-name=web1\nmy-key=k3y\nloglevel=INFO\n[service:a]\nperiod=1\n"


def test_the_agents_file_says_where_to_report(host: Host) -> None:
    path = host.folder / "agent.ini"
    path.write_text(INI.format(url=host.url))
    (host.folder / "aaa.ini").write_text("[service:b]\nperiod=1\n")
    command = [sys.executable, "-m", "overc.cli", "run", *DAILY, "--no-start"]
    for args, environ in (
        (["--config", str(path)], {}),
        (["--config", str(host.folder)], {}),
        ([], {"OVERC_CONFIG": str(path)}),
        ([], {"OVERC_SERVER": host.url, "OVERC_MY_NAME": "web1", "OVERC_MY_KEY": "k3y"}),
    ):
        done = subprocess.run(
            [*command, *args, "--", "true"],
            env={**host.environ, **environ},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert len(host.reports()) == 4


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "agent.ini: can't be read: No such file or directory"),
        (
            "[overc]\nserver=mon:5000\nmy-name=a\nmy-key=b\n",
            "agent.ini:2: [overc] server: expected",
        ),
        ("[overc]\nserver=http://a/\nmy-key=b\n", "agent.ini:1: [overc] my-name: is missing"),
        ("server=x\n", "agent.ini:1: expected a [section]"),
    ],
)
def test_the_job_runs_whatever_is_wrong_with_the_file(
    host: Host, text: str | None, said: str
) -> None:
    path = host.folder / "agent.ini"
    if text is not None:
        path.write_text(text)
    command = [sys.executable, "-m", "overc.cli", "run", "--config", str(path), *DAILY]
    done = subprocess.run(
        [*command, "--", "sh", "-c", "echo ran; exit 6"],
        env=host.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (6, "ran\n")
    assert done.stderr.startswith("overcli: backup: not reported: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def account_args(**given: Any) -> Namespace:
    return Namespace(**{"server": None, "server_id": None, "config": None, **given})


def test_nobody_says_where_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overc.cli_run.DEFAULT_CONFIG", "/nonexistent/agent.ini")
    with pytest.raises(ConfigError, match="no server is known: say where the server is"):
        read_account(account_args(), {"OVERC_SERVER": "http://a/"})


def test_what_is_said_of_the_account(tmp_path: Path) -> None:
    path = tmp_path / "agent.ini"
    text = INI.format(url="http://u:p%40ss@a:1/ https://b/x") + "[other]\nx=y\n"
    path.write_text(text)
    account = read_account(account_args(config=str(path)), {})
    assert [str(url) for url in account.servers] == ["http://a:1/", "https://b:443/x/"]
    assert account.servers[0].credentials == b"u:p@ss"
    assert account.identity == ServerIdentity("web1", "k3y")
    assert account.tls is None
    given = account_args(config=str(path), server="http://c/", server_id=ServerIdentity("n", "k"))
    account = read_account(given, {"OVERC_SERVER": "http://d/"})
    assert [str(url) for url in account.servers] == ["http://c:80/"]
    assert account.identity == ServerIdentity("n", "k")
    path.write_text(text.replace("loglevel=INFO", "insecure=yes"))
    account = read_account(account_args(config=str(path)), {})
    assert account.tls is not None
    assert account.tls.verify_mode == 0


def test_the_next_server_is_asked_when_one_is_away(host: Host) -> None:
    with running() as gone:
        away = gone.url
    path = host.folder / "agent.ini"
    path.write_text(INI.format(url=f"{away} {host.url}"))
    command = [sys.executable, "-m", "overc.cli", "run", "--config", str(path), *DAILY]
    done = subprocess.run(
        [*command, "--no-start", "--", "true"],
        env=host.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr, len(host.reports())) == (0, "", 1)


def test_a_certificate_of_ones_own(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, 30)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with running(tls) as server:
        host = Host(tmp_path, server)
        path = tmp_path / "agent.ini"
        url = f"https://localhost:{server.server_address[1]}/"
        command = [sys.executable, "-m", "overc.cli", "run", "--config", str(path), *DAILY]
        for more, reported in (("", 0), ("ca-file=certificate.pem\n", 1), ("insecure=yes\n", 2)):
            path.write_text(INI.format(url=url).replace("loglevel=INFO\n", more))
            done = subprocess.run(
                [*command, "--no-start", "--period", "20", "--", "true"],
                env=host.environ,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
            assert done.returncode == 0
            refused = "certificate refused: self-signed certificate" in done.stderr
            assert refused == (reported == 0), done.stderr
            names = [one["name"] for one in host.reports() if "time" not in one]
            assert names == ["backup"] * reported
