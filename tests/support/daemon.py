"""A real `twistd overc-server` child: started, waited for, watched and ended."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

from support.http_client import Client

START_LIMIT_S = 60.0
"""No figure of ours: a machine that is busy with other tests may be slow to import Twisted."""

END_LIMIT_S = 30.0

_LISTENING = re.compile(r"listening on http://[\d.]+:(\d+)/")

TWISTD = (sys.executable, str(pathlib.Path(sys.executable).with_name("twistd")))
FOREGROUND = (*TWISTD, "-n", "--pidfile=", "overc-server")


def eventually(
    true: Callable[[], object], what: str = "", limit_s: float = 30.0, step_s: float = 0.02
) -> None:
    """Return once something has come true in another process; fail when it has not in time."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what or true}"
        time.sleep(step_s)


def clean_environment(**more: str) -> dict[str, str]:
    """Return our environment without what would configure a server, and with `more`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OVERC_", "STATE_DIR"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


class Child:
    """A process whose standard output and error go to files."""

    def __init__(
        self,
        command: list[str],
        folder: pathlib.Path,
        environ: Mapping[str, str],
        log: pathlib.Path,
    ) -> None:
        self._log = log
        with log.open("wb") as out, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, cwd=folder, env=dict(environ), stdout=out, stderr=errors,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def _errors(self) -> pathlib.Path:
        return self._log.with_suffix(".stderr")

    def stdout(self) -> str:
        return self._log.read_text(errors="replace")

    def stderr(self) -> str:
        return self._errors.read_text(errors="replace")

    def output(self) -> str:
        return self.stdout() + self.stderr()

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, limit_s: float = END_LIMIT_S) -> int:
        """Return the exit status, or -signal, once it has ended."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended in time:\n{self.output()}") from None

    def kill(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Daemon:
    """A folder with `server.ini`, and the server that runs on it, again and again if need be.

    `overc`: lines for the [overc] section; `sections`: whole sections after it.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *overc: str,
        sections: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.database = folder / "overc.db"
        self.environ: dict[str, str] = clean_environment(**(environ or {}))
        self.config = folder / "server.ini"
        self.arguments = ["--config", str(self.config)]
        self.prefix: tuple[str, ...] = ()
        """What comes before the command, to run it as somebody else."""
        self.working_folder = folder
        self.starts = 0
        self.client: Client
        self.child: Child
        lines = (
            "[overc]",
            "loglevel=INFO",
            "database=sqlite:///overc.db",
            "listen=tcp:0:interface=127.0.0.1",
            *overc,
        )
        self.config.write_text("\n".join(lines) + "\n" + sections, encoding="utf-8")

    def spawn(self) -> None:
        """Start the child without waiting for it."""
        self.starts += 1
        command = [*self.prefix, *FOREGROUND, *self.arguments]
        log = self.folder / f"server.{self.starts}.log"
        self.child = Child(command, self.working_folder, self.environ, log)

    def start(self) -> Daemon:
        """Start the child; return when it answers."""
        self.spawn()
        return self.wait_until_started()

    def wait_until_started(self) -> Daemon:
        eventually(self._has_started, "the server listens", START_LIMIT_S)
        found = _LISTENING.search(self.log())
        assert found is not None
        self.client = Client(int(found[1]))
        return self

    def _has_started(self) -> bool:
        assert self.child.process.poll() is None, f"it ended at once:\n{self.log()}"
        return _LISTENING.search(self.log()) is not None

    def log(self) -> str:
        return self.child.output()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return the exit status."""
        self.child.signal(number)
        return self.child.wait()

    def restart(self) -> None:
        assert self.stop() == 0
        self.start()

    def kill(self) -> None:
        if self.starts:
            self.child.kill()

    def said(self, words: str) -> bool:
        return words in self.log()

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


@contextlib.contextmanager
def running(
    folder: pathlib.Path,
    *overc: str,
    sections: str = "",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """Run a server that has to end well: without a word of a failure in its log, by SIGTERM."""
    with Daemon(folder, *overc, sections=sections, environ=environ) as daemon:
        yield daemon
        assert daemon.stop() == 0, daemon.log()
        assert "Traceback" not in daemon.log(), daemon.log()
