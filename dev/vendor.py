#!/usr/bin/env python3
"""Renew the browser's libraries, or check that they are what npm has: see their README.

dev/vendor.py                   check the files against the table, and npm's against both
dev/vendor.py preact@11.2.0     take this release of one package
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
from typing import NamedTuple

FOLDER = pathlib.Path(__file__).parents[1] / "overc" / "web" / "static" / "vendor"
TABLE = FOLDER / "README.md"
_ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<package>\S+) \| (?P<version>\S+) \| (?P<licence>\S+)"
    r" \| `(?P<source>[^`]+)` \| `(?P<sha256>[0-9a-f]{64})` \|$",
    re.MULTILINE,
)


class Vendored(NamedTuple):
    file: str
    package: str
    version: str
    licence: str
    source: str
    """Where it is in the package."""
    sha256: str

    def line(self) -> str:
        return (
            f"| `{self.file}` | {self.package} | {self.version} | {self.licence}"
            f" | `{self.source}` | `{self.sha256}` |"
        )


def table(text: str) -> list[Vendored]:
    """Return what the README lists."""
    return [Vendored(**found.groupdict()) for found in _ROW.finditer(text)]


def differences(folder: pathlib.Path, listed: list[Vendored]) -> list[str]:
    """Return how the files differ from the README; empty where they don't."""
    wrong = [
        f"{one.file}: its sha256 is not the one in README.md"
        for one in listed
        if not (folder / one.file).is_file()
        or sha256((folder / one.file).read_bytes()) != one.sha256
    ]
    there = {path.name for path in folder.iterdir()} - {"README.md"}
    return wrong + [f"{name}: not in README.md" for name in there - {one.file for one in listed}]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def released(package: str, version: str) -> dict[str, bytes]:
    """Return the files of a release, by their paths in it, as npm has it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (archive,) = pathlib.Path(folder).iterdir()
        with tarfile.open(archive) as tar:
            return {
                member.name.removeprefix("package/"): file.read()
                for member in tar.getmembers()
                if (file := tar.extractfile(member)) is not None
            }


def renew(package: str, version: str) -> None:
    text = TABLE.read_text()
    files = released(package, version)
    for one in table(text):
        if one.package != package:
            continue
        content = files[one.source]
        (FOLDER / one.file).write_bytes(content)
        fresh = one._replace(version=version, sha256=sha256(content))
        text = text.replace(one.line(), fresh.line())
    TABLE.write_text(text)


def check() -> list[str]:
    listed = table(TABLE.read_text())
    wrong = differences(FOLDER, listed)
    for package, version in sorted({(one.package, one.version) for one in listed}):
        files = released(package, version)
        wrong += [
            f"{one.file}: npm has another one in {package} {version}"
            for one in listed
            if one.package == package and sha256(files[one.source]) != one.sha256
        ]
    return wrong


def main(arguments: list[str]) -> int:
    for argument in arguments:
        package, _, version = argument.rpartition("@")
        renew(package, version)
    wrong = check()
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
