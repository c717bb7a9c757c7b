"""The files of the dashboard, read and compressed once."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from overc.web import compression
from overc.web.answers import Answer
from overc.web.icons import counting_icons

_CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""Files of other kinds, such as licences, are not served."""

_BEST = 9


@functools.cache
def load() -> Mapping[str, Answer]:
    """Return an answer for each file by its path: what is not among them can't be asked for."""
    found = dict(_read(Path(__file__).parent / "static", ""))
    return {
        name: _answer(content, _CONTENT_TYPES[_suffix(name)])
        for name, content in {**found, **counting_icons()}.items()
    }


def _answer(content: bytes, content_type: str) -> Answer:
    packed = compression.compress(content, _BEST)
    worthwhile = len(content) >= compression.LEAST_BYTES and len(packed) < len(content)
    return Answer(
        content,
        content_type,
        # To be asked for each time: the answer is short as long as the file is the same.
        headers={"Cache-Control": "no-cache"},
        etag=f'"{hashlib.sha256(content).hexdigest()[:20]}"',
        packed=packed if worthwhile else None,
    )


def _read(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
        elif _suffix(entry.name) in _CONTENT_TYPES:
            yield prefix + entry.name, entry.read_bytes()


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
