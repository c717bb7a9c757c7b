"""`make bench` works: one row on a real server. How fast it is, is not a test's business."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from support.browser import chromium_path

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("generator", [[], ["--own-load"]], ids=["wrk if there", "our own"])
def test_a_row_is_measured_and_printed(tmp_path: pathlib.Path, generator: list[str]) -> None:
    found = tmp_path / "figures.json"
    command = [
        sys.executable, "-m", "bench", "--quick", "--only", "post1", "--database", "sqlite",
        "--connections", "4", "--cache", str(tmp_path / "cache"), "--json", str(found), *generator,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "post1 on sqlite" in done.stdout
    assert "fdatasync" in done.stdout
    document = json.loads(found.read_text())
    [row] = document["rows"]
    assert (row["name"], row["engine"], row["fault"]) == ("post1", "sqlite", None)
    figures = {figure["name"]: figure for figure in row["figures"]}
    assert figures["Y"]["median"] > 0
    assert figures["requests/s over Y"]["goal"] == ">= 0.8"
    assert figures["errors that clients saw"]["median"] == 0
    assert list((tmp_path / "cache").iterdir()) == [], "the run's folder is left behind"


def test_a_long_history_is_made_and_added_to(tmp_path: pathlib.Path) -> None:
    found = tmp_path / "figures.json"
    command = [
        sys.executable, "-m", "bench", "--quick", "--only", "history", "--own-load",
        "--database", "sqlite", "--services", "200", "--history", "1000", "--connections", "4",
        "--cache", str(tmp_path / "cache"), "--json", str(found),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = json.loads(found.read_text())["rows"]
    assert (row["name"], row["engine"], row["fault"]) == ("history", "sqlite", None)
    figures = {figure["name"]: figure for figure in row["figures"]}
    assert figures["states/s"]["goal"] == ">= 30000"
    assert figures["states/s"]["median"] > 0


def test_the_agent_is_measured(tmp_path: pathlib.Path) -> None:
    found = tmp_path / "figures.json"
    command = [
        sys.executable, "-m", "bench", "--quick", "--only", "agent", "--own-load",
        "--cache", str(tmp_path / "cache"), "--json", str(found),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = json.loads(found.read_text())["rows"]
    figures = {figure["name"]: figure for figure in row["figures"]}
    assert figures["processor, of one core"]["goal"] == "<= 1"
    assert figures["resident memory"]["goal"] == "<= 60"
    assert figures["runs/s, reports sent"]["median"] > 1
    assert list((tmp_path / "cache").iterdir()) == [], "the run's folder is left behind"


def test_the_pages_are_measured_in_a_browser(tmp_path: pathlib.Path) -> None:
    chromium_path()
    found = tmp_path / "figures.json"
    command = [
        sys.executable, "-m", "bench", "--quick", "--only", "dashboard10k", "--own-load",
        "--services", "200", "--cache", str(tmp_path / "cache"), "--json", str(found),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = json.loads(found.read_text())["rows"]
    figures = {figure["name"]: figure for figure in row["figures"]}
    assert figures["overview: usable"]["goal"] == "<= 1000"
    assert figures["services: usable"]["goal"] == "<= 1000"
    assert figures["filter, key to painted"]["goal"] == "<= 100"
    assert figures["delta of 100, event to painted"]["goal"] == "<= 50"
    assert all(value > 0 for figure in row["figures"] for value in figure["values"])
