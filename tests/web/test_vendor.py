"""The libraries of others are what they are said to be, and nothing else lies beside them."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from dev.vendor import FOLDER, TABLE, Vendored, differences, table

LISTED = table(TABLE.read_text())


def test_the_readme_lists_all_files() -> None:
    assert differences(FOLDER, LISTED) == []
    assert {one.file for one in LISTED} >= {"preact.js", "htm.js", "uPlot.esm.js", "uPlot.min.css"}


@pytest.mark.parametrize("package", sorted({one.package for one in LISTED}))
def test_each_has_its_licence_beside_it(package: str) -> None:
    assert f"LICENSE.{package}.txt" in {one.file for one in LISTED if one.package == package}


def test_a_file_that_was_changed_is_found(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "vendor"
    shutil.copytree(FOLDER, folder)
    (folder / "preact.js").write_text("changed")
    (folder / "htm.js").unlink()
    (folder / "stray.js").write_text("")
    assert differences(folder, LISTED) == [
        "preact.js: its sha256 is not the one in README.md",
        "htm.js: its sha256 is not the one in README.md",
        "stray.js: not in README.md",
    ]


def test_a_row_of_the_table_is_read_as_it_is_written() -> None:
    one = Vendored("a.js", "a", "1.2.3", "MIT", "dist/a.mjs", "0" * 64)
    assert table(f"text\n{one.line()}\n") == [one]
