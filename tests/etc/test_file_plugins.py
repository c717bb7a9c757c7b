"""The plugins that read files or ask systemd: swap, file-age, systemd."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from etc.plugins import FAIL, NAGIOS, OK, PLUGINS, UNK, WARN, plugin, run

HOUR = 3600


@pytest.mark.parametrize(
    ("total", "free", "args", "state", "text"),
    [
        (1048576, 524288, [], OK, "swap 50.0% used, 0.5 of 1.0 GiB"),
        (1048576, 524288, ["-w", "40"], WARN, "swap 50.0% used (WARN), 0.5 of 1.0 GiB"),
        (1048576, 0, [], FAIL, "swap 100.0% used (FAIL), 1.0 of 1.0 GiB"),
        (0, 0, [], OK, "there is no swap\n"),
    ],
)
def test_swap(
    tmp_path: Path, total: int, free: int, args: list[str], state: int, text: str
) -> None:
    (tmp_path / "meminfo").write_text(f"SwapTotal: {total} kB\nSwapFree: {free} kB\n")
    result = plugin("swap", "--proc", tmp_path, *args)
    assert result[:2] == (state, text)
    used = (total - free) * 1024
    assert not total or result.perfdata.endswith(f"'bytes'={used}B;;;0;{total * 1024}")


def test_swap_where_the_kernel_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    result = plugin("swap", "--proc", tmp_path)
    assert result.state == UNK
    assert "SwapTotal" in result.text


def test_what_is_broken_beyond_all_expectation_is_unk(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("SwapTotal: lots kB\nSwapFree: 1 kB\n")
    result = plugin("swap", "--proc", tmp_path)
    assert result.state == UNK
    assert result.text.startswith("the plugin failed, ValueError: ")
    assert result.text.count("\n") == 1


def aged(path: Path, hours: float, size: int = 2048) -> Path:
    path.write_bytes(b"x" * size)
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(
    ("hours", "args", "state", "said"),
    [
        (3.5, [], OK, " is 3h 30m old, 2.0 KiB"),
        (3.5, ["-w", "3h"], WARN, " old (WARN), "),
        (3.5, ["-w", "3h", "-c", "1h"], FAIL, " old (FAIL), "),
        (3.5, ["-w", "4h", "-c", "1d"], OK, " old, "),
        (3.5, ["-c", "5h:"], FAIL, " old (FAIL), "),
        (3.5, ["-c", "@3h:4h"], FAIL, " old (FAIL), "),
        (3.5, ["-c", "12599"], FAIL, " old (FAIL), "),
        (49.5, ["-c", "2.5d"], OK, " is 2d 1h old"),
        (0.05, [], OK, " is 3m 0s old"),
        (-1000, ["-c", "1w"], FAIL, " is from the future by 41d 15h (FAIL)"),
        (-0.01, ["-c", "1w"], OK, " is 0s old"),
        (1, ["-W", "1K"], WARN, ", 2.0 KiB (WARN)"),
        (1, ["-C", "1M:"], FAIL, ", 2.0 KiB (FAIL)"),
        (1, ["-C", "0.001M:"], OK, ", 2.0 KiB"),
    ],
)
def test_file_age(tmp_path: Path, hours: float, args: list[str], state: int, said: str) -> None:
    path = aged(tmp_path / "a", hours + 0.0001)
    result = plugin("file-age", *args, path)
    assert result.state == state
    assert said in result.text
    assert result.text.startswith(str(path))
    assert f"'{path} age'=" in result.perfdata
    assert f"'{path} size'=2048B;" in result.perfdata


def test_file_age_of_the_newest_and_of_the_oldest_that_match(tmp_path: Path) -> None:
    for hours, name in ((1, "new.tar"), (30, "old.tar"), (0, "other.log")):
        aged(tmp_path / name, hours)
    (tmp_path / "dangling.tar").symlink_to(tmp_path / "gone")
    pattern = tmp_path / "*.tar"
    newest = plugin("file-age", "-c", "26h", pattern)
    assert newest.state == OK
    assert newest.text.startswith(f"{tmp_path}/new.tar is 1h 0m old")
    # The name of the value stays the same when another file is the newest.
    assert f"'{pattern} age'=" in newest.perfdata
    oldest = plugin("file-age", "-c", "26h", "--oldest", pattern)
    assert oldest.state == FAIL
    assert oldest.text.startswith(f"{tmp_path}/old.tar is 1d 6h old (FAIL)")


def test_file_age_takes_a_name_with_a_star_in_it_as_it_is(tmp_path: Path) -> None:
    aged(tmp_path / "a[1]*", 2)
    aged(tmp_path / "a1x", 0)
    assert "2h 0m old" in plugin("file-age", tmp_path / "a[1]*").text


@pytest.mark.parametrize("args", [["gone"], ["*.gone"], ["dangling"]])
def test_file_age_of_what_is_missing(tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    paths = [str(tmp_path / arg) for arg in args]
    result = plugin("file-age", *paths)
    assert (result.state, result.text) == (FAIL, f"{paths[0]}: no such file (FAIL)\n")
    result = plugin("file-age", "--missing-ok", *paths)
    assert (result.state, result.text) == (OK, f"{paths[0]}: no such file\n")


def test_file_age_says_all_of_several(tmp_path: Path) -> None:
    aged(tmp_path / "a", 1)
    (tmp_path / "file").write_text("")
    below = tmp_path / "file/below"
    result = plugin("file-age", "-w", "2h", tmp_path / "a", below, tmp_path / "gone")
    assert result.state == FAIL
    assert f"{tmp_path}/a is 1h 0m old" in result.text
    assert "no such file (FAIL)" in result.text


def test_file_age_of_what_can_not_be_looked_at_is_unk() -> None:
    path = "a" * 300
    result = plugin("file-age", path)
    assert (result.state, result.text) == (UNK, f"{path}: File name too long\n")


# Without these, root may read no more than others may.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.mark.parametrize("name", ["a", "*"])
def test_file_age_in_a_folder_that_is_not_ours_is_unk(tmp_path: Path, name: str) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    command = (sys.executable, PLUGINS / "file-age", tmp_path / "locked" / name)
    result = run(*(UNPRIVILEGED if os.getuid() == 0 else ()), *command)
    assert (result.state, "Permission denied" in result.text) == (UNK, True)


@pytest.mark.parametrize("bad", ["1y", "h", "5h:1h", "1h:x", "1hh"])
@pytest.mark.parametrize("option", ["--warning", "--size-critical"])
def test_file_age_with_a_bad_range(option: str, bad: str) -> None:
    result = plugin("file-age", f"{option}={bad}", "/")
    assert result.state == UNK
    assert f'"{bad}" is not a range of ' in result.text
    assert result.text.count("\n") == 1


@pytest.mark.skipif(not (NAGIOS / "check_file_age").exists(), reason="needs monitoring-plugins")
@pytest.mark.parametrize("hours", [1, 3, 5])
def test_file_age_agrees_with_debians(tmp_path: Path, hours: int) -> None:
    path = aged(tmp_path / "a", hours)
    ours = plugin("file-age", "-w", "2h", "-c", "4h", path)
    theirs = run(NAGIOS / "check_file_age", "-w", "7200", "-c", "14400", "-f", path)
    assert ours.state == theirs.state == (OK, WARN, FAIL)[hours // 2]


SYSTEMCTL = """\
#!/bin/sh
printf '%s\\n' "$*" > "$(dirname "$0")/asked"
{body}
"""


def systemd(folder: Path, body: str, *args: str) -> tuple[int, str, str, str]:
    """Run the plugin with a systemctl of ours; return also what that was asked."""
    systemctl = folder / "systemctl"
    systemctl.write_text(SYSTEMCTL.format(body=body))
    systemctl.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    result = plugin("systemd", *args, environ={"PATH": path, "LC_ALL": "C"})
    asked = (folder / "asked").read_text()
    return *result, asked


LISTED = """cat <<'END'
a.service loaded failed failed A thing
snap-x.mount loaded failed failed X
END"""


@pytest.mark.parametrize(
    ("body", "args", "state", "said", "counted"),
    [
        (":", [], OK, "0 failed units", 0),
        (LISTED, [], FAIL, "2 failed units (FAIL): a.service, snap-x.mount", 2),
        (LISTED, ["--ignore", "snap-*"], FAIL, "1 failed unit (FAIL): a.service", 1),
        (LISTED, ["--ignore", "snap-*", "--ignore", "a.service"], OK, "0 failed units", 0),
        (LISTED, ["-w", "1", "-c", "5"], WARN, "2 failed units (WARN)", 2),
        (LISTED, ["-c", "5"], OK, "2 failed units: a.service", 2),
    ],
)
def test_systemd_counts_failed_units(
    tmp_path: Path, body: str, args: list[str], state: int, said: str, counted: int
) -> None:
    found, text, perfdata, asked = systemd(tmp_path, body, *args)
    assert found == state
    assert text.startswith(said)
    assert perfdata.startswith(f"'failed'={counted};")
    assert "list-units --state=failed" in asked


def show(**properties: str) -> str:
    unit = {
        "Id": "a.service",
        "LoadState": "loaded",
        "Type": "simple",
        "Result": "success",
        "ExecMainExitTimestampMonotonic": "0",
        **properties,
    }
    return "\n".join(f"{name}={value}" for name, value in unit.items())


@pytest.mark.parametrize(
    ("properties", "state", "said"),
    [
        ({"ActiveState": "active", "SubState": "running"}, OK, "active (running)"),
        ({"ActiveState": "active", "SubState": "exited"}, OK, "active (exited)"),
        ({"ActiveState": "reloading", "SubState": "reload"}, OK, "reloading"),
        ({"ActiveState": "activating", "SubState": "start"}, WARN, "activating (start) (WARN)"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"},
            FAIL,
            "activating (auto-restart) (FAIL)",
        ),
        ({"ActiveState": "deactivating", "SubState": "stop"}, WARN, "deactivating (stop) (WARN)"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"},
            FAIL,
            "failed, exit-code (FAIL)",
        ),
        ({"ActiveState": "inactive", "SubState": "dead"}, FAIL, "inactive (FAIL)"),
        (
            {
                "ActiveState": "inactive",
                "SubState": "dead",
                "Type": "oneshot",
                "ExecMainExitTimestampMonotonic": "77",
            },
            OK,
            "inactive",
        ),
        (
            {"ActiveState": "inactive", "SubState": "dead", "Type": "oneshot"},
            FAIL,
            "inactive (FAIL)",
        ),
        (
            {"ActiveState": "inactive", "SubState": "dead", "LoadState": "not-found"},
            FAIL,
            "not found (FAIL)",
        ),
        (
            {"ActiveState": "active", "SubState": "running", "LoadState": "masked"},
            FAIL,
            "masked (FAIL)",
        ),
    ],
)
def test_systemd_of_one_unit(
    tmp_path: Path, properties: dict[str, str], state: int, said: str
) -> None:
    body = f"cat <<'END'\n{show(**properties)}\nEND"
    found, text, perfdata, asked = systemd(tmp_path, body, "a")
    assert (found, text) == (state, f"a.service {said}")
    assert perfdata == f"'bad'={int(state != OK)};;;0;1"
    assert asked.rstrip().endswith("-- a")


def test_systemd_of_several_units_of_the_user(tmp_path: Path) -> None:
    well = show(ActiveState="active", SubState="running")
    ill = show(Id="b.timer", ActiveState="inactive", SubState="dead")
    body = f"cat <<'END'\n{well}\n\n{ill}\nEND"
    state, text, _, asked = systemd(tmp_path, body, "--user", "a", "b.timer")
    assert (state, text) == (FAIL, "a.service active (running); b.timer inactive (FAIL)")
    assert asked.startswith("--user ")


@pytest.mark.parametrize(
    ("body", "args", "said"),
    [
        ("echo 'Can not operate.' >&2; echo more >&2; exit 1", [], "status 1: Can not operate."),
        ("exit 4", ["a"], "systemctl failed with status 4"),
        ("echo nonsense", ["a"], "the plugin failed, KeyError"),
    ],
)
def test_systemd_that_does_not_answer_is_unk(
    tmp_path: Path, body: str, args: list[str], said: str
) -> None:
    state, text, _, _ = systemd(tmp_path, body, *args)
    assert state == UNK
    assert said in text
    assert text.count("\n") == 1


def test_systemd_where_there_is_none(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.symlink_to(sys.executable)
    result = run("/usr/bin/env", "python3", PLUGINS / "systemd", environ={"PATH": str(tmp_path)})
    assert (result.state, result.text.startswith("there is no systemctl here")) == (UNK, True)


@pytest.mark.parametrize("name", ["", "two words"])
def test_systemd_with_a_bad_name(name: str) -> None:
    result = plugin("systemd", name)
    assert result.state == UNK
    assert "is not the name of a unit" in result.text
