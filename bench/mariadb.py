"""A MariaDB server of our own, on a free port and in a folder of its own, as durable as it gets."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from bench.processes import StartError, free_port

START_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
USER, PASSWORD, SCHEMA = "overc", "overc", "overc"
OPTIONS = (
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=256M",
    "--skip-log-bin",
)


@dataclass(frozen=True, slots=True)
class MariadbServer:
    port: int

    @property
    def url(self) -> str:
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{SCHEMA}"

    def connect(self) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database=SCHEMA,
            autocommit=True,
        )  # fmt: skip


@contextlib.contextmanager
def private_server(folder: Path) -> Iterator[MariadbServer]:
    """Run mariadbd with an empty schema. Raises StartError."""
    daemon, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if daemon is None or install is None:
        raise StartError("mariadbd is missing: install Debian's package mariadb-server-core")
    data, port = folder / "data", free_port()
    # A server that starts removes the temporary tables that it finds: also another one's.
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    user = [f"--user={getpass.getuser()}"] if os.geteuid() == 0 else []
    made = subprocess.run(
        [
            install, "--no-defaults", f"--datadir={data}", "--skip-test-db",
            f"--tmpdir={temporary}", "--auth-root-authentication-method=normal", *user,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise StartError(f"mariadb-install-db failed: {(made.stderr or made.stdout)[-300:]}")
    log = folder / "mariadbd.log"
    socket = folder / "s"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                daemon, *OPTIONS, f"--datadir={data}", f"--port={port}", f"--socket={socket}",
                f"--tmpdir={temporary}", f"--pid-file={folder / 'pid'}", *user,
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        _create_schema(process, port, log)
        yield MariadbServer(port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _create_schema(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_LIMIT_S
    while True:
        try:
            root = pymysql.connect(host="127.0.0.1", port=port, user="root")
            break
        except pymysql.Error as e:
            if process.poll() is not None or time.monotonic() > end:
                words = log.read_text(errors="replace")[-300:]
                raise StartError(f"mariadbd did not start: {e}; {words}") from None
            time.sleep(0.1)
    with contextlib.closing(root):
        cursor = root.cursor()
        cursor.execute(f"create database {SCHEMA} character set utf8mb4")
        cursor.execute(f"create user {USER}@'127.0.0.1' identified by '{PASSWORD}'")
        cursor.execute(f"grant all on {SCHEMA}.* to {USER}@'127.0.0.1'")
