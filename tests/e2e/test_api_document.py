"""The console lines of docs/API.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from e2e.test_readme import ROOT, console_lines
from support.daemon import Daemon

from overc.cli import main
from overc.web.site import ATTENTION_API

DOCUMENT = (ROOT / "docs/API.md").read_text()


def without_times(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", "<time>", text).strip()


def test_every_console_line_prints_what_stands_there(tmp_path: Path) -> None:
    lines = console_lines(DOCUMENT)
    assert len(lines) >= 10
    with Daemon(tmp_path) as daemon:
        url = f"http://127.0.0.1:{daemon.client.port}/"
        script = "".join(f"{command}\necho; echo --\n" for command, _ in lines)
        done = subprocess.run(
            ["sh", "-s"],
            input=script.replace("http://127.0.0.1:5000/", url),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "no_proxy": "*"},
            check=False,
        )
        printed = [without_times(part) for part in done.stdout.split("\n--\n")][: len(lines)]
        assert printed == [without_times(output) for _, output in lines], done.stderr


def test_every_route_is_described() -> None:
    for method, path, _ in ATTENTION_API:
        named = re.sub(r"<id:\w+>", "ID", path)
        assert f"`{named}" in DOCUMENT or f" {named}" in DOCUMENT, path
        assert f"{method} {named}" in DOCUMENT or method == "GET", (method, path)


def test_every_command_is_one() -> None:
    commands = set(re.findall(r"\bovercli ([a-z-]+)", DOCUMENT))
    assert len(commands) >= 9
    for command in commands:
        assert main([command, "--help"]) == 0
