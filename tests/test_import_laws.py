"""The laws of imports hold, and each of them is seen to be broken when it is.

`.importlinter` states the laws; the ones it can't state are checked here.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAWS = ROOT / ".importlinter"
MAY_IMPORT_THE_REACTOR = {
    "overc/server_tap.py",
    "overc/agent_tap.py",
    "overc/cli.py",
    "overc/cli_once.py",
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the laws on the package `overc` in a folder."""
    code = "from importlinter.cli import lint_imports_command as command; command()"
    options = ["--no-cache", "--no-logo", "--config", str(LAWS)]
    return subprocess.run(
        [sys.executable, "-c", code, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def broken_laws(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.partition(" BROKEN")[0] for line in done.stdout.splitlines() if " BROKEN" in line]


def imports_the_reactor(source: str) -> bool:
    """Tell whether the code imports the global reactor, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        if any(f"{name}.".startswith("twisted.internet.reactor.") for name in names):
            return True
    return False


def test_the_laws_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "static", "templates", "schema")
    shutil.copytree(ROOT / "overc", folder / "overc", ignore=ignored)
    return folder


@pytest.mark.parametrize(
    "module, seed, law",
    [
        ("model", "import overc.config", "Imports go down"),
        ("daemon/watchdog", "import overc.web.site", "Imports go down"),
        ("daemon/watchdog", "import overc.agent.schedule", "Imports go down"),
        ("web/site", "from overc.agent import schedule", "Imports go down"),
        ("process", "import overc.cli", "Imports go down"),
        ("brandnew", "", "Imports go down"),
        ("model", "import sqlite3", "Decisions know neither Twisted nor SQL"),
        ("config", "import twisted", "Decisions know neither Twisted nor SQL"),
        ("daemon/judge", "def f():\n    import pymysql", "Decisions know neither Twisted nor SQL"),
        ("daemon/judge", "import overc.process", "Decisions know neither Twisted nor SQL"),
        ("daemon/seqs", "import twisted", "Decisions know neither Twisted nor SQL"),
        ("agent/schedule", "import twisted.internet", "Decisions know neither Twisted nor SQL"),
        ("agent/nagios", "from twisted import python", "Decisions know neither Twisted nor SQL"),
        ("agent/runner", "from overc.daemon import judge", "The agent knows nothing of the server"),
        ("agent_tap", "import overc.daemon.judge", "The agent knows nothing of the server"),
        (
            "daemon/store/engine",
            "import overc.daemon.judge",
            "The store stands on model, config, clock and logging",
        ),
        (
            "daemon/store/engine",
            "import overc.process",
            "The store stands on model, config, clock and logging",
        ),
        ("web/site", "import sqlite3", "Only the store knows the databases"),
        ("client", "import treq", "overcli needs the standard library alone"),
        ("cli", "import overc.process", "overcli needs the standard library alone"),
        ("cli_alerts", "import msgspec", "overcli needs the standard library alone"),
        ("cli_agent", "import overc.cli_once", "overcli needs the standard library alone"),
        ("cli_init", "import overc.agent.settings", "overcli needs the standard library alone"),
        ("cli_run", "import overc.process", "overcli needs the standard library alone"),
        ("agent/delivery_settings", "import treq", "overcli needs the standard library alone"),
        ("wrapped", "import overc.cli_run", "Imports go down"),
        ("daemon/alerting/explaining", "import twisted", "Decisions know neither Twisted nor SQL"),
        ("wording", "import overc.daemon.judge", "Imports go down"),
        ("backup", "import msgspec", "overcli needs the standard library alone"),
    ],
)
def test_a_broken_law_is_seen(copy: Path, module: str, seed: str, law: str) -> None:
    path = copy / "overc" / f"{module}.py"
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{seed}\n")
    try:
        done = lint(copy)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert done.returncode == 1
    assert law in broken_laws(done)


@pytest.mark.parametrize(
    "source, guilty",
    [
        ("from twisted.internet import reactor", True),
        ("from twisted.internet import defer, reactor as r", True),
        ("import os, twisted.internet.reactor", True),
        ("from twisted.internet.reactor import callLater", True),
        ("def f():\n    if True:\n        from twisted.internet import reactor", True),
        ("from twisted.internet import defer", False),
        ("from twisted.internet.base import ReactorBase", False),
        ("from . import reactor", False),
        ("import twisted.internet.reactors", False),
        ("# from twisted.internet import reactor", False),
    ],
)
def test_an_import_of_the_reactor_is_seen(source: str, guilty: bool) -> None:
    assert imports_the_reactor(source) is guilty


def test_only_the_taps_and_cli_import_the_reactor() -> None:
    files = [*(ROOT / "overc").rglob("*.py"), *(ROOT / "twisted").rglob("*.py")]
    guilty = {
        path.relative_to(ROOT).as_posix() for path in files if imports_the_reactor(path.read_text())
    }
    assert guilty <= MAY_IMPORT_THE_REACTOR
    assert len(files) > len(MAY_IMPORT_THE_REACTOR)


@pytest.mark.parametrize(
    "module",
    ["overc.cli", "overc.client", "overc.backup", "overc.config", "overc.model", "overc.wording"],
)
def test_these_load_nothing_but_the_standard_library(module: str) -> None:
    code = f"""
import sys
before = set(sys.modules)
import {module}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(new - sys.stdlib_module_names))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "['overc']\n"
