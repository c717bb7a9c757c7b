"""A private MariaDB server out of Debian's package: no system service, nothing outside a folder.

With OVERC_TEST_MYSQLD=/usr/sbin/mysqld in the environment it is MySQL instead, which Debian's
stable releases do not have.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pymysql
import pytest
from support.daemon import Daemon, eventually

from overc.daemon.store.urls import MysqlDatabase

SERVER = ("/usr/sbin/mariadbd", "mariadb-server-core")
INSTALL = ("/usr/bin/mariadb-install-db", "mariadb-server-core")
DEFAULTS = ("/usr/bin/my_print_defaults", "mariadb-client-core")
"""What INSTALL runs, without saying that its package needs it."""

MYSQLD = os.environ.get("OVERC_TEST_MYSQLD", "")

SETTINGS = (
    # Every commit is synced, as it is in production.
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=64M",
    *(
        ("--innodb-redo-log-capacity=64M", "--mysqlx=0", "--secure-file-priv=NULL")
        if MYSQLD
        else ("--innodb-log-file-size=64M",)
    ),
    "--max-connections=60",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--bind-address=127.0.0.1",
)

_numbers = itertools.count(1)


def need_mariadb() -> None:
    """Skip the test where there is no MariaDB; with CI set that is a failure."""
    for path, package in () if MYSQLD else (SERVER, INSTALL, DEFAULTS):
        if not os.path.exists(path):
            reason = f"{path} is missing: install the Debian package {package}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)


@dataclass(frozen=True)
class Schema:
    """A database of its own, and the user who may do everything in it and nothing else."""

    server: MariaDb
    name: str
    user: str
    password: str

    @property
    def address(self) -> MysqlDatabase:
        return MysqlDatabase("127.0.0.1", self.server.port, self.user, self.password, self.name)

    @property
    def url(self) -> str:
        password = quote(self.password, safe="")
        return f"mysql://{self.user}:{password}@127.0.0.1:{self.server.port}/{self.name}"

    def serve(self, daemon: Daemon) -> Daemon:
        """Have a server that is not started yet use this database."""
        lines = daemon.config.read_text(encoding="utf-8").splitlines()
        chosen = [
            f"database={self.url}" if line.startswith("database=") else line for line in lines
        ]
        daemon.config.write_text("\n".join(chosen) + "\n", encoding="utf-8")
        return daemon

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """Yield a connection of the user's, beside all others."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.server.port, database=self.name, user=self.user,
            password=self.password.encode(), charset="utf8mb4", read_timeout=60,
        )  # fmt: skip
        try:
            yield connection
        finally:
            connection.close()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement and commit it."""
        with self.connected() as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            connection.commit()
            return list(cursor.fetchall())


class MariaDb:
    """The server: started and ended, again and again, on the same port and with the same data."""

    def __init__(self, files: pathlib.Path | None = None) -> None:
        """`files`: the data folder of a server that has ended, to begin with a copy of it."""
        # The path of a socket has to be short, so it is no folder of pytest's.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="overc-mariadb-"))
        self._socket = self.folder / "socket"
        # A server that starts removes the temporary tables that it finds: also another one's.
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # mariadbd refuses to run as root unless it is told to.
        self._user = ["--user=root"] if os.geteuid() == 0 else []
        self.environ: Mapping[str, str] = os.environ
        self.data = self.folder / "data"
        if files is not None:
            shutil.copytree(files, self.data)
            return
        make = (
            [MYSQLD, "--no-defaults", "--initialize-insecure"]
            if MYSQLD
            else [
                INSTALL[0], "--no-defaults", "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ]
        )  # fmt: skip
        command = [*make, f"--datadir={self.data}", f"--tmpdir={self.temporary}", *self._user]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *settings: str) -> MariaDb:
        """Start it, with more settings if need be, and return when it takes connections."""
        assert self._process is None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(*settings), cwd=self.folder, env=dict(self.environ),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(self._answers, "MariaDB answers", limit_s=120)
        return self

    def _command(self, *settings: str) -> list[str]:
        return [
            MYSQLD or SERVER[0], "--no-defaults", f"--datadir={self.data}", f"--port={self.port}",
            f"--tmpdir={self.temporary}",
            f"--socket={self._socket}", f"--pid-file={self.folder}/pid", *SETTINGS, *self._user,
            *settings,
        ]  # fmt: skip

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            self.admin("select 1")
        except pymysql.err.OperationalError:
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self.resume()
            self._process.send_signal(number)
            self._process.wait(120)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Have it hang: it takes connections, and says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def restart(self) -> None:
        self.stop()
        self.start()

    def heal(self) -> None:
        """Make it run and answer, whatever a test has left."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def admin(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement as the server's own administrator."""
        connection = pymysql.connect(
            unix_socket=str(self._socket), user="root", autocommit=True, read_timeout=60
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def schema(self, password: str = "p@s:s/w%r d#?ü") -> Schema:
        """Create a database and its user."""
        number = next(_numbers)
        made = Schema(self, f"overc_{number}", f"user_{number}", password)
        self.admin(f"create database {made.name}")
        self.admin(f"create user {made.user}@127.0.0.1 identified by '{password}'")
        self.admin(f"grant all on {made.name}.* to {made.user}@127.0.0.1")
        return made

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running_mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    try:
        yield server.start()
    finally:
        server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
