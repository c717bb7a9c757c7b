"""Runs the plugins of etc/overc/plugin.d as the agent does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PLUGINS = Path(__file__).parents[2] / "etc/overc/plugin.d"
NAGIOS = Path("/usr/lib/nagios/plugins")
OK, WARN, FAIL, UNK = range(4)

NUMBER = r"-?\d+(?:\.\d+)?"
RANGE = rf"(?:@?(?:(?:~|{NUMBER}):)?(?:{NUMBER})?)"
ITEM = rf"'(?:[^'=]|'')+'={NUMBER}(?:s|%|B)?;{RANGE};{RANGE};(?:{NUMBER})?;(?:{NUMBER})?"
LINE = re.compile(rf"(?P<text>[^|\n]+) \| (?P<perfdata>{ITEM}(?: {ITEM})*)\n")


class Result(NamedTuple):
    state: int
    text: str
    perfdata: str


def run(*command: str | Path, environ: Mapping[str, str] | None = None) -> Result:
    """Run a command. `text` is all of its output, if that is no line with performance data."""
    environment = {
        **os.environ,
        # A locale with a decimal comma, where it is installed.
        "LC_ALL": "de_DE.UTF-8",
        # The Python that runs the tests is the one to test with.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **(environ or {}),
    }
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    output = done.stdout.decode()
    match = LINE.fullmatch(output)
    if match is None:
        return Result(done.returncode, output, "")
    return Result(done.returncode, match["text"], match["perfdata"])


def plugin(name: str, *args: str | Path, environ: Mapping[str, str] | None = None) -> Result:
    """Run one of our plugins."""
    return run(PLUGINS / name, *args, environ=environ)
