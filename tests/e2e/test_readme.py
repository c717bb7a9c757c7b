"""The README's console lines, run as they stand there."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.daemon import Daemon, clean_environment

from overc.daemon.alerting.routing import EVENTS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

ADDRESS = "http://127.0.0.1:5000/"
LOOKS = ("cat ", "grep ", "tail ", ".venv/bin/overcli explain ")
"""Commands that change nothing, so that they may be repeated."""

LIMIT_S = 60.0


def console_lines(text: str = README) -> list[tuple[str, str]]:
    """Return each command of the console blocks with the output that follows it."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            # A command goes on as long as its quote is open.
            lines = part.splitlines(keepends=True)
            command = lines.pop(0)
            while command.count("'") % 2:
                command += lines.pop(0)
            found.append((command, "".join(lines)))
    return found


def test_the_readme_has_console_lines() -> None:
    commands = [command.split()[0] for command, _ in console_lines()]
    assert commands.count("curl") >= 5
    assert sum(command.endswith("overcli") for command in commands) >= 3


def after(sentence: str, language: str) -> str:
    """Return the block of code that follows a sentence."""
    found = re.search(rf"^```{language}\n(.*?)^```", README.partition(sentence)[2], re.M | re.S)
    assert found is not None
    return found[1]


def plain(text: str) -> str:
    """Return a text without what differs each time: times, and how long something took."""
    text = re.sub(r"\d{4}-\d\d-\d\d (?=\d\d:)", "", text)
    text = re.sub(r"\b\d\d:\d\d(:\d\d)?( yesterday| tomorrow| UTC)?\b", "<time>", text)
    return re.sub(r"\bin \d+\.\d s\b", "in <time>", text).strip()


class Shell:
    """One shell that runs command after command, as somebody's terminal does."""

    def __init__(self, folder: Path, url: str) -> None:
        self._url = url
        self._bin = str(Path(sys.executable).parent)
        self._errors = folder / "errors"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                ["sh"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=folder,
                env=clean_environment(
                    PYTHONPATH=str(ROOT), STATE_DIRECTORY=str(folder / "state"), no_proxy="*"
                ),
            )

    def run(self, command: str) -> str:
        """Return what a command prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        text = command.replace(ADDRESS, self._url).replace(".venv/bin", self._bin)
        self._process.stdin.write(f"{text}\necho; echo --\n")
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) != "--\n":
            assert line, f"the shell has ended: {self.errors()}"
            lines.append(line)
        return "".join(lines).replace(self._url, ADDRESS)

    def errors(self) -> str:
        return self._errors.read_text()

    def close(self) -> None:
        self._process.communicate(timeout=30)


def test_every_console_line_prints_what_stands_there(tmp_path: Path) -> None:
    var = tmp_path / "var"
    var.mkdir()
    (var / "page.sh").write_text(after("Its script goes into", "sh"))
    # What `make run` makes, and what is to be added to it.
    log = f"[alert:log]\ncommand={ROOT}/etc/overc/alert.d/log.sh {var}/alerts.log\n\n"
    sections = log + after("add these sections to the file", "ini")
    with (
        Daemon(var, sections=sections) as daemon,
        contextlib.closing(Shell(tmp_path, f"http://127.0.0.1:{daemon.client.port}/")) as shell,
    ):
        for command, output in console_lines():
            wanted, printed = plain(output), plain(shell.run(command))
            end = time.monotonic() + LIMIT_S
            # Alerts are on their way for a while.
            while printed != wanted and command.startswith(LOOKS) and time.monotonic() < end:
                time.sleep(0.2)
                printed = plain(shell.run(command))
            assert printed == wanted, command + shell.errors() + daemon.log()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:overc|etc|docs|tests|dev)/[\w./-]*\w)`", text)
    assert named
    assert [path for path in named if not (ROOT / path).exists() and path not in EVENTS] == []
