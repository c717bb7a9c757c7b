"""Alert plugins that keep what they are given, for tests to read."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from support.daemon import eventually

_RECORD = """#!/bin/sh
# One folder for each run: what it was called with, and where.
run="$1/.$OVERC_ALERT_ID-$$"
mkdir -p "$run"
printf '%s\\0' "$@" >"$run/arguments"
pwd >"$run/folder"
env >"$run/environment"
cat >"$run/message"
mv "$run" "$1/$OVERC_ALERT_ID-$$"
"""


@dataclass(frozen=True)
class Run:
    """One run of a plugin."""

    alert_id: int
    message: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Recorder:
    """An alert plugin that delivers into a folder."""

    def __init__(self, folder: pathlib.Path, name: str = "kept", extra: str = "") -> None:
        """`folder`: the INI file's. `extra`: how the command goes on after the first argument."""
        self.folder = folder
        self._runs = folder / name
        self._runs.mkdir()
        write_script(folder / "record", _RECORD)
        self.section = f"[alert:{name}]\ncommand=./record {name} {extra}\n"

    def runs(self) -> list[Run]:
        """Return the runs that have ended, by the id of their alert."""
        found = []
        for run in self._runs.iterdir():
            if run.name.startswith("."):
                continue
            lines = (run / "environment").read_text().splitlines()
            found.append(
                Run(
                    int(run.name.partition("-")[0]),
                    (run / "message").read_bytes().decode(),
                    (run / "arguments").read_text().split("\0")[:-1],
                    (run / "folder").read_text().rstrip("\n"),
                    dict(line.split("=", 1) for line in lines if "=" in line),
                )
            )
        return sorted(found, key=lambda run: run.alert_id)

    def messages(self) -> list[str]:
        return [run.message for run in self.runs()]

    def wait_for(self, n: int) -> list[str]:
        """Return the messages once there are n of them, and fail if there are more."""
        eventually(lambda: len(self.runs()) >= n, f"{n} alerts sent")
        found = self.messages()
        assert len(found) == n, found
        return found


def write_script(path: pathlib.Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def is_running(pid: int) -> bool:
    """Say whether a process still does something: one that only waits to be reaped does not."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
