"""overc.job_files: what `overcli run` remembers, and what it has still to send."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from overc import job_files
from overc.job_files import JobFiles, Last, Waiting, state_folder


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(str(tmp_path), "web1")


def a_report(service: str = "backup", seen_at: float | None = None, spool: str = "s") -> Waiting:
    at = time.time() if seen_at is None else seen_at
    return Waiting("", spool, service, "FAIL", "disk full", 86400, "20%", at)


def test_the_last_state(files: JobFiles, tmp_path: Path) -> None:
    assert files.last("backup") is None
    files.remember("backup", Last("FAIL", "exit status 1"))
    files.remember("größe\udcff/..", Last("OK", ""))
    again = JobFiles(str(tmp_path), "web1")
    assert again.last("backup") == Last("FAIL", "exit status 1")
    assert again.last("größe\udcff/..") == Last("OK", "")
    other = JobFiles(str(tmp_path), "web2")
    assert other.last("backup") is None


def test_reports_wait_in_order(files: JobFiles) -> None:
    now = time.time()
    kept = [files.keep(a_report(spool=str(n), seen_at=now - 60 + n)) for n in (3, 1, 2)]
    assert [one.spool for one in files.waiting()] == ["1", "2", "3"]
    assert list(files.waiting())[2] == kept[0]
    files.sent(kept[0])
    files.sent(kept[0])
    assert [one.spool for one in files.waiting()] == ["1", "2"]


def test_only_the_owner_can_read_them(files: JobFiles) -> None:
    kept = files.keep(a_report())
    assert stat.S_IMODE(os.stat(kept.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(files.folder).st_mode) == 0o700


def test_what_is_too_much_or_too_old_is_dropped(
    files: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_files, "REPORTS_MOST", 3)
    now = time.time()
    for n in range(5):
        files.keep(a_report(spool=str(n), seen_at=now - 100 + n))
    assert [one.spool for one in files.waiting()] == ["2", "3", "4"]
    files.keep(a_report(spool="old", seen_at=now - 8 * 86400))
    assert [one.spool for one in files.waiting()] == ["2", "3", "4"]
    assert len(os.listdir(files.folder)) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"spool": 1}', "\udcff", "null"])
def test_what_can_not_be_read_is_not_there(files: JobFiles, content: str) -> None:
    files.remember("backup", Last("OK", ""))
    kept = files.keep(a_report())
    for name in os.listdir(files.folder):
        Path(files.folder, name).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert files.last("backup") is None
    assert list(files.waiting()) == []
    assert not os.path.exists(kept.path)


def test_a_failed_write_leaves_what_was_there(
    files: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.remember("backup", Last("OK", "before"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.remember("backup", Last("FAIL", "after"))
    assert files.last("backup") == Last("OK", "before")
    assert len(os.listdir(files.folder)) == 1


def test_a_folder_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = JobFiles(str(tmp_path / "file"), "web1")
    assert files.last("backup") is None
    assert list(files.waiting()) == []
    with pytest.raises(OSError, match="Not a directory"):
        files.remember("backup", Last("OK", ""))


@pytest.mark.parametrize(
    "environ, folder",
    [
        ({"STATE_DIRECTORY": "/a:/b"}, "/a"),
        ({"XDG_STATE_HOME": "/x"}, "/var/lib/overc" if os.geteuid() == 0 else "/x/overc"),
    ],
)
def test_where(environ: dict[str, str], folder: str) -> None:
    assert state_folder(environ) == folder


def test_nothing_secret_is_in_them(files: JobFiles) -> None:
    kept = files.keep(a_report())
    assert set(json.loads(Path(kept.path).read_text())) == {
        "spool", "service", "state", "info", "period_s", "grace", "seen_at",
    }  # fmt: skip
