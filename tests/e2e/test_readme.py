"""The README's console lines, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon import Daemon

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def console_lines() -> list[tuple[str, str]]:
    """Return each command of the console blocks with the output that follows it."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL):
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


def test_every_console_line_prints_what_stands_there(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        url = f"http://127.0.0.1:{daemon.client.port}/"
        script, wanted = [], []
        for command, output in console_lines():
            script.append(command)
            wanted.append(output)
            script.append("echo; echo --\n")
        here = str(Path(sys.executable).parent)
        text = "".join(script).replace("http://127.0.0.1:5000/", url)
        text = text.replace(".venv/bin", here)
        told = subprocess.run(
            ["sh", "-s"],
            input=text,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        parts = [part.strip() for part in told.stdout.split("\n--\n")][: len(wanted)]
        expected = [output.strip().replace("http://127.0.0.1:5000/", url) for output in wanted]
        assert parts == expected, told.stderr


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:overc|etc|docs|tests|dev)/[\w./-]*\w)`", text)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
