"""The units that are shipped: what systemd says of them, and what they start."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "etc/systemd").iterdir())


def options_of(unit: Path) -> dict[str, str]:
    """Return the last value of each option."""
    lines = [line for line in unit.read_text().splitlines() if line and line[0] not in "#["]
    return dict(line.split("=", 1) for line in lines)


def test_there_is_one_for_each_part() -> None:
    assert [unit.name for unit in UNITS] == ["overc-agent.service", "overc-server.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_knows_every_option(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    # It looks for the program; that one is not here but this one is, and runs as root.
    text = unit.read_text().replace("/opt/overc/bin/twistd", sys.executable)
    copy = tmp_path / unit.name
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if unit.stem in line]
    assert about_ours == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_starts_what_is_there(unit: Path) -> None:
    options = options_of(unit)
    program, *arguments = shlex.split(options["ExecStart"])
    assert program == "/opt/overc/bin/twistd"
    assert arguments[:4] == ["-n", "--pidfile=", unit.stem, "--config"]
    shipped = ROOT / "etc" / Path(arguments[4]).relative_to("/etc")
    assert shipped.is_file()
    assert (options["Type"], options["NoNewPrivileges"]) == ("notify", "yes")
    assert int(options["WatchdogSec"]) >= 60
    assert re.fullmatch("[a-z]+", options["User"])


def test_the_agent_sees_the_machine_as_it_is() -> None:
    options = options_of(ROOT / "etc/systemd/overc-agent.service")
    other_mounts = ("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ReadOnlyPaths")
    assert not any(option in options for option in other_mounts)
    assert options["ExecReload"].endswith("-HUP $MAINPID")
