"""Where the configuration comes from, and what keeps the server from starting."""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from support.daemon import FOREGROUND, Child, Daemon, clean_environment, eventually
from support.http_client import PING

LOOPBACK = "tcp:0:interface=127.0.0.1"
NOBODY = 65534


def refused(
    folder: pathlib.Path, *arguments: str, prefix: tuple[str, ...] = (), **environ: str
) -> list[str]:
    """Start a server that must not start; return what it says, line by line."""
    log = folder / "refused.log"
    child = Child([*prefix, *FOREGROUND, *arguments], folder, clean_environment(**environ), log)
    try:
        assert child.wait(60) == 1, child.output()
    finally:
        child.kill()
    assert "Traceback" not in child.output(), child.output()
    lines = [line for line in child.output().splitlines() if line.strip()]
    # twistd puts its own name before what it is told of the command line.
    return [line.partition("twistd -n: ")[2] or line for line in lines]


def configured(folder: pathlib.Path, text: str) -> str:
    (folder / "server.ini").write_text(text, encoding="utf-8")
    return "server.ini"


BROKEN = """\
[overc]
loglevel=LOUD
database=postgres://x/y
listen=wat:1 tcp:5000
ui-auth=secret1
api-auth=:secret2
max-body=0
request-timeout=-1
wat=1
nothing
[alert:a]
timeout=soon
[alert:b]
command="unclosed
[alert:]
command=true
[nope]
x=1
[overc]
ui-auth=x:y
"""

MISTAKES = [
    "server.ini:2: [overc] loglevel: expected one of",
    "server.ini:3: [overc] database: expected sqlite:///PATH",
    "server.ini:4: [overc] listen: 'wat:1' is not an endpoint such as tcp:5000",
    "server.ini:6: [overc] api-auth: expected user:password",
    "server.ini:7: [overc] max-body: expected a size such as 65536, 512K or 2M, got '0'",
    "server.ini:8: [overc] request-timeout: expected ",
    "server.ini:9: [overc] wat: unknown option; known here: api-auth, ",
    "server.ini:10: [overc] expected option=value, got 'nothing'",
    "server.ini:11: [alert:a] command: is missing",
    "server.ini:12: [alert:a] timeout: expected a duration such as 90, 5m or 1h30m, got 'soon'",
    "server.ini:14: [alert:b] command: can't be split into words: no closing quotation",
    "server.ini:15: [alert:] expected [alert:NAME]",
    "server.ini:17: [nope] unknown section",
    "server.ini:19: [overc] the section stands in line 1 too",
    "server.ini:20: [overc] ui-auth: stands in line 5 too",
]


def test_every_mistake_is_told_at_once(tmp_path: pathlib.Path) -> None:
    lines = refused(tmp_path, "--config", configured(tmp_path, BROKEN))
    assert len(lines) == len(MISTAKES), lines
    for line, expected in zip(lines, MISTAKES, strict=True):
        assert line.startswith(expected)
    assert "secret2" not in "".join(lines)
    assert [path.name for path in tmp_path.glob("*.db")] == []


def test_mistakes_outside_the_file_name_their_origin(tmp_path: pathlib.Path) -> None:
    config = configured(tmp_path, "[overc]\nloglevel=INFO\n")
    lines = refused(
        tmp_path, "-c", config, "--listen", "wat:1", "--database", "x.db", OVERC_LOGLEVEL="LOUD",
        OVERC_UI_AUTH="topsecret",
    )  # fmt: skip
    for expected in (
        "--listen: [overc] listen: 'wat:1' is not an endpoint",
        "--database: [overc] database: expected sqlite:///PATH",
        "environment OVERC_LOGLEVEL: [overc] loglevel: expected one of",
        "environment OVERC_UI_AUTH: [overc] ui-auth: expected user:password",
    ):
        assert any(line.startswith(expected) for line in lines), expected
    assert "topsecret" not in "".join(lines)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (None, "server.ini: can't be read: No such file or directory"),
        (b"[overc]\nui-auth=a:\xff\n", "server.ini:2: is not UTF-8 text: invalid start byte"),
        (b"loglevel=INFO\n", "server.ini:1: expected a [section] before the first option"),
        (b"[overc]\n[alert:a]\ncommand=a\n[alert: a]\ncommand=b\n",
         "server.ini:4: [alert: a] the same name as [alert:a]: each needs its own"),
    ],
)  # fmt: skip
def test_files_that_can_t_be_used(
    tmp_path: pathlib.Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "server.ini").write_bytes(content)
    assert refused(tmp_path, "-c", "server.ini", "-d", "sqlite:///x.db", "-l", LOOPBACK)[-1] == (
        sentence
    )


@pytest.fixture
def database(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with what is no database that this server could use."""
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("this is not a database, and never was one at all\n" * 9)
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("pragma user_version = 999")
    connection.close()
    return tmp_path


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("folder.db", "the database {path} can't be opened: Is a directory"),
        ("text.db", "the database {path} can't be opened: file is not a database"),
        ("text.db/x.db", "the database {path} can't be opened: "),
        ("newer.db", "{path} is of schema version 999, this OverC knows "),
        ("n" * 300, "the database {path} can't be opened: "),
    ],
)
def test_databases_that_can_t_be_used(database: pathlib.Path, name: str, sentence: str) -> None:
    before = sorted(path.name for path in database.iterdir())
    lines = refused(database, "-d", f"sqlite:///{name}", "-l", LOOPBACK)
    assert lines[-1].startswith(sentence.format(path=database / name)), lines[-1]
    after = {path.name for path in database.iterdir()} - {"refused.log", "refused.stderr"}
    assert sorted(after) == before


@pytest.fixture
def nobody_s() -> Iterator[tuple[pathlib.Path, tuple[str, ...]]]:
    """A folder of somebody who is not root, and what runs a command as them."""
    folder = pathlib.Path(tempfile.mkdtemp())
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is missing: apt-get install util-linux")
        prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        reached = subprocess.run([*prefix, "test", "-r", FOREGROUND[1]], check=False)
        if reached.returncode != 0:
            pytest.skip(f"others than root can't read {FOREGROUND[1]}: move the checkout")
        os.chown(folder, NOBODY, NOBODY)
    yield folder, prefix
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)


def test_a_folder_that_can_t_be_written_to(
    nobody_s: tuple[pathlib.Path, tuple[str, ...]],
) -> None:
    folder, prefix = nobody_s
    (folder / "closed").mkdir(mode=0o555)
    for name in ("closed/x.db", "closed/new/x.db"):
        lines = refused(folder, "-d", f"sqlite:///{name}", "-l", LOOPBACK, prefix=prefix)
        assert lines[-1].startswith(f"the database {folder / name} can't be opened: "), lines


@pytest.mark.parametrize(
    "variables, place",
    [
        ({"XDG_STATE_HOME": "state"}, "state/overc/overc.db"),
        ({"HOME": "home"}, "home/.local/state/overc/overc.db"),
        ({"STATE_DIRECTORY": "service", "XDG_STATE_HOME": "state"}, "service/overc.db"),
        ({"STATE_DIRECTORY": "first:second"}, "first/overc.db"),
    ],
)
def test_without_a_configuration_the_data_is_in_the_state_folder(
    nobody_s: tuple[pathlib.Path, tuple[str, ...]], variables: dict[str, str], place: str
) -> None:
    folder, prefix = nobody_s
    absolute = {
        name: ":".join(str(folder / part) for part in value.split(":"))
        for name, value in variables.items()
    }
    daemon = Daemon(folder, environ=absolute)
    if "XDG_STATE_HOME" not in variables:
        daemon.environ.pop("XDG_STATE_HOME", None)
    daemon.prefix = prefix
    daemon.arguments = ["--listen", LOOPBACK]
    with daemon:
        assert daemon.client.post(PING, {"server": {"name": "a", "key": "k"}}).status == 200
        assert (folder / place).exists()
        assert daemon.stop() == 0


def test_a_port_in_use(tmp_path: pathlib.Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        assert refused(tmp_path, "-d", "sqlite:///x.db", "-l", endpoint)[-1] == (
            f"can't listen on {endpoint}: Address already in use; choose another one with --listen"
        )


@pytest.mark.parametrize(
    "endpoint",
    ["tcp:1:interface=192.0.2.1", "tcp:99999:interface=127.0.0.1", "tcp:-1:interface=127.0.0.1",
     "unix:/nonexistent/overc.socket"],
)  # fmt: skip
def test_endpoints_that_can_t_be_had(tmp_path: pathlib.Path, endpoint: str) -> None:
    lines = refused(tmp_path, "-d", "sqlite:///x.db", "-l", endpoint)
    assert any(endpoint in line and "listen" in line for line in lines), lines


def test_the_same_port_twice(tmp_path: pathlib.Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"tcp:{free.getsockname()[1]}:interface=127.0.0.1"
    lines = refused(tmp_path, "-d", "sqlite:///x.db", "-l", f"{endpoint} {endpoint}")
    assert any(f"can't listen on {endpoint}: Address already in use" in line for line in lines)


@pytest.mark.parametrize("arguments", [["--wat"], ["too", "much"], ["--config"]])
def test_a_command_line_that_is_wrong(tmp_path: pathlib.Path, arguments: list[str]) -> None:
    assert refused(tmp_path, *arguments)[-1]


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    tmp_path: pathlib.Path,
) -> None:
    daemon = Daemon(tmp_path)
    databases = [tmp_path / f"{name}.db" for name in ("overc", "environment", "command")]
    for step, database in enumerate(databases):
        if step == 1:
            # Relative to the INI file's folder, whatever the current one is.
            daemon.environ["OVERC_DATABASE"] = "sqlite:///environment.db"
            daemon.environ["OVERC_LISTEN"] = LOOPBACK
            text = daemon.config.read_text()
            daemon.config.write_text(text.replace("listen=", "listen=unix:/nonexistent/x #"))
        if step == 2:
            daemon.arguments += ["--database", f"sqlite:///{database}"]
        assert not database.exists()
        with daemon:
            assert daemon.client.servers() == {}
            assert database.exists()
            assert daemon.stop() == 0


def test_the_environment_names_the_file(tmp_path: pathlib.Path) -> None:
    daemon = Daemon(tmp_path, environ={"OVERC_CONFIG": "server.ini"})
    daemon.arguments = []
    with daemon:
        assert daemon.database.exists()
        assert daemon.stop() == 0
    daemon.environ["OVERC_CONFIG"] = "no such file"
    daemon.arguments = ["--config", "server.ini"]
    with daemon:
        assert daemon.stop() == 0


def test_paths_start_at_the_file_s_folder(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "a folder é 100%"
    folder.mkdir()
    daemon = Daemon(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    daemon.environ["PWD"] = str(elsewhere)
    daemon.working_folder = elsewhere
    with daemon:
        eventually(daemon.database.exists)
        assert list(elsewhere.iterdir()) == []
        assert daemon.stop() == 0
