from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import pytest_twisted
from support_daemon import our_log, rows
from twisted.application.service import IService, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread

from overc import lifecycle, server_tap
from overc.daemon.access_settings import Credentials
from overc.daemon.alerting.attention import Attention
from overc.daemon.alerting.dispatch import Dispatch
from overc.daemon.alerting.trial import Trial
from overc.daemon.forgetting import Forgetting
from overc.daemon.housekeeping import Housekeeping
from overc.daemon.intake import Intake
from overc.daemon.rejections import Rejections
from overc.daemon.server import Server, StartError
from overc.daemon.settings import ServerSettings
from overc.daemon.store.migrations import scripts
from overc.daemon.store.urls import SqliteDatabase
from overc.daemon.watchdog import Watchdog
from overc.server_tap import Options, make_server, makeService
from overc.supervision import Supervision
from overc.web.hosts import OwnNames
from overc.web.live import Live


@pytest.fixture(autouse=True)
def _a_bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("OVERC_"):
            monkeypatch.delenv(name)
    # A test that fails shall not create anything outside its folder.
    monkeypatch.setenv("STATE_DIRECTORY", "/dev/null/nowhere")


def parsed(*words: str) -> ServerSettings:
    options = Options()
    options.parseOptions(list(words))
    return options.settings


def refused(*words: str) -> str:
    with pytest.raises(SystemExit) as raised:
        parsed(*words)
    return str(raised.value)


def ini(folder: Path, text: str) -> str:
    path = folder / "server.ini"
    path.write_text(text)
    return str(path)


def test_the_database_is_created_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "overc.db"
    found = parsed("--database", f"sqlite:///{path}", "--listen", "tcp:0")
    assert found.database == SqliteDatabase(str(path))
    assert rows(str(path), "pragma user_version") == [(max(scripts("sqlite")),)]
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_config_file(tmp_path: Path) -> None:
    config = ini(tmp_path, "[overc]\ndatabase=sqlite:///x.db\nlisten=tcp:0\nui-auth=a:b\n")
    found = parsed("--config", config)
    assert found.ui_auth == Credentials("a", "b")
    assert found.listen == ("tcp:0",)
    assert (tmp_path / "x.db").exists()


def test_short_options_win_over_the_file(tmp_path: Path) -> None:
    config = ini(tmp_path, "[overc]\ndatabase=sqlite:///x.db\nlisten=tcp:0\n")
    found = parsed("-c", config, "-l", "unix:/run/x.sock", "-d", f"sqlite:///{tmp_path}/y.db")
    assert found.listen == ("unix:/run/x.sock",)
    assert found.database == SqliteDatabase(f"{tmp_path}/y.db")
    assert not (tmp_path / "x.db").exists()


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[overc]\ndatabase=sqlite:///x.db\nlisten=tcp:0\n"
    monkeypatch.setenv("OVERC_CONFIG", ini(tmp_path, text))
    monkeypatch.setenv("OVERC_MAX_BODY", "7")
    found = parsed()
    assert found.max_body_bytes == 7
    assert found.database == SqliteDatabase(f"{tmp_path}/x.db")
    monkeypatch.setenv("OVERC_CONFIG", "/nowhere")
    assert parsed("--config", ini(tmp_path, text)).listen == ("tcp:0",)


def test_without_anything_the_state_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERC_CONFIG", "")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert parsed("--listen", "tcp:0").database == SqliteDatabase(f"{tmp_path}/overc.db")


def test_a_config_that_can_not_be_read(tmp_path: Path) -> None:
    path = f"{tmp_path}/none.ini"
    assert refused("--config", path) == f"{path}: can't be read: No such file or directory"


def test_all_mistakes_in_one_error(tmp_path: Path) -> None:
    config = ini(tmp_path, "[overc]\nloglevel=x\nui-auth=x\n")
    lines = refused("--config", config, "--database", "mysql://x").splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        "--database:",
        f"{config}:2:",
        f"{config}:3:",
    ]


def test_an_endpoint_that_is_none() -> None:
    said = refused("--listen", "nonsense", "--database", "sqlite:////x")
    assert said.startswith("--listen: [overc] listen: 'nonsense' is not an endpoint such as tcp:")


def spoil_folder(folder: Path) -> None:
    folder.joinpath("sub").write_text("a file")


def spoil_file(folder: Path) -> None:
    folder.joinpath("sub").mkdir()
    folder.joinpath("sub", "overc.db").write_text("no database" * 100)


def put_a_newer_one(folder: Path) -> None:
    folder.joinpath("sub").mkdir()
    with sqlite3.connect(folder / "sub" / "overc.db") as connection:
        connection.execute("pragma user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (spoil_folder, "the database {} can't be opened: File exists"),
        (spoil_file, "the database {} can't be opened: file is not a database"),
        (put_a_newer_one, "{} is of schema version 99, this OverC knows "),
    ],
)
def test_a_database_that_can_not_be_used(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(tmp_path)
    path = f"{tmp_path}/sub/overc.db"
    said = refused("--database", f"sqlite:///{path}", "--listen", "tcp:0")
    assert said.startswith(reason.format(path))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        said = refused("--database", f"sqlite:///{tmp_path}/x.db", "--listen", endpoint)
    assert said == (
        f"can't listen on {endpoint}: Address already in use; choose another one with --listen"
    )


def test_an_interface_that_is_not_ours(tmp_path: Path) -> None:
    endpoint = "tcp:0:interface=192.0.2.1"
    said = refused("--database", f"sqlite:///{tmp_path}/x.db", "--listen", endpoint)
    assert said.startswith(f"can't listen on {endpoint}: ")


def test_a_port_on_ipv6_is_tried_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, str]] = []

    class Probe:
        def __init__(self, family: int, kind: int) -> None:
            self.family = family

        def __enter__(self) -> Probe:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def setsockopt(self, *_: object) -> None:
            pass

        def bind(self, address: tuple[str, int]) -> None:
            tried.append((self.family, address[0]))

    monkeypatch.setattr(socket, "socket", Probe)
    listen = r"tcp:5000:interface=\:\:1 tcp:5001 unix:/run/x tcp:5002:interface=10.0.0.1"
    parsed("--database", f"sqlite:///{tmp_path}/x.db", "--listen", listen)
    inet, inet6 = socket.AF_INET, socket.AF_INET6
    assert tried == [(inet6, "::1"), (inet, ""), (inet, "10.0.0.1")]


def test_what_twistd_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.internet import reactor

    done: list[tuple[str, object]] = []

    def noting(what: str) -> Callable[[object], None]:
        return lambda value: done.append((what, value))

    monkeypatch.setattr(server_tap, "put_on_monotonic_clock", noting("monotonic"))
    monkeypatch.setattr(lifecycle, "exit_cleanly_on_signals", noting("signals"))
    monkeypatch.setattr(server_tap, "set_level", noting("level"))
    options = Options()
    config = ini(tmp_path, "[overc]\nloglevel=warn\ndatabase=sqlite:///x.db\nlisten=tcp:0\n")
    options.parseOptions(["--config", config])
    service = makeService(options)
    assert IService.providedBy(service)
    assert isinstance(service, MultiService)
    assert [type(part) for part in service] == [Server, Supervision]
    assert done == [("monotonic", reactor), ("signals", reactor), ("level", "WARN")]


def some_settings(folder: Path, *listen: str, **more: Any) -> ServerSettings:
    return ServerSettings(SqliteDatabase(f"{folder}/x.db"), listen, **more)


@pytest.mark.parametrize(
    "listen, ui_auth, warned",
    [
        ("tcp:5000:interface=127.0.0.1", None, False),
        ("tcp:5000", None, True),
        ("tcp:5000", Credentials("a", "b"), False),
        ("unix:/run/x.sock", None, False),
    ],
)
def test_a_dashboard_that_is_open_to_all_is_warned_of(
    tmp_path: Path, listen: str, ui_auth: Credentials | None, warned: bool
) -> None:
    with our_log() as lines:
        make_server(MemoryReactorClock(), some_settings(tmp_path, listen, ui_auth=ui_auth))
    said = (
        f"warn: {listen} can be reached from other machines and the dashboard is open to all:"
        " set ui-auth=user:password"
    )
    assert lines == ([said] if warned else [])


def test_with_a_login_no_name_server_is_asked(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, "unix:/x", ui_auth=Credentials("a", "b"))
    server = make_server(MemoryReactorClock(), settings)
    assert OwnNames not in map(type, server._parts)


def test_a_start_that_fails_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[tuple[object, str]] = []
    monkeypatch.setattr(lifecycle, "fail", lambda *said: ends.append(said))
    reactor = MemoryReactorClock()
    server = make_server(reactor, some_settings(tmp_path, "unix:/x"))
    # Started in this order, stopped in the opposite one: who takes reports in wakes dispatch.
    kinds = [type(part) for part in server._parts]
    assert kinds == [
        Dispatch, Trial, Attention, Rejections, Intake, Watchdog, Forgetting, Housekeeping, Live,
        OwnNames,
    ]  # fmt: skip
    server._failed(StartError("no"))
    assert ends == [(reactor, "no")]


@pytest_twisted.ensureDeferred  # type: ignore[untyped-decorator]
async def test_the_whole_server(tmp_path: Path) -> None:
    from twisted.internet import reactor

    settings = some_settings(tmp_path, "tcp:0:interface=127.0.0.1")
    with our_log() as lines:
        server = make_server(reactor, settings)
        server.startService()
        await server._starting  # type: ignore[misc]
    [url] = [line.partition("info: listening on ")[2] for line in lines]

    def talk() -> list[bytes]:
        sent = (
            b'{"server": {"name": "web1", "key": "k"}, "period": 60,'
            b' "services": [{"name": "disk", "state": "WARN", "info": "90 %"}]}'
        )
        with urlopen(f"{url}api/set/service/status", sent, timeout=30) as reply:
            answers = [reply.read()]
        with urlopen(url, timeout=30) as reply:
            answers.append(reply.read())
        return answers

    try:
        stored, page = await deferToThread(talk)
    finally:
        await server.stopService()
    assert stored == b'{"ok":1}'
    assert b"web1" in page
    assert b"90 %" in page
    found = rows(f"{tmp_path}/x.db", "select state, timed_out from services")
    assert found == [("WARN", 0)]


@pytest.mark.parametrize(
    "endpoint, opened",
    [
        ("tcp:5000", "tcp:5000:backlog=1024"),
        (r"tcp6:5000:interface=\:\:1", r"tcp6:5000:interface=\:\:1:backlog=1024"),
        ("unix:/run/overc.sock:mode=660", "unix:/run/overc.sock:mode=660:backlog=1024"),
        ("tcp:5000:backlog=9:interface=::", "tcp:5000:backlog=9:interface=::"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    ],
)
def test_many_connections_may_wait(endpoint: str, opened: str) -> None:
    assert server_tap.with_backlog(endpoint) == opened
