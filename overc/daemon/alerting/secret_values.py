"""Values of options that are secrets: out of a file, out of the environment, or as they are."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from overc.config import Section

T = TypeVar("T")

FILE_BYTES = 16 * 1024
"""A file with more than this in it is no secret's."""

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})", re.ASCII)


class Secrets(NamedTuple):
    """Where secrets are looked up."""

    folder: str
    """What paths are relative to."""
    environ: Mapping[str, str]

    def read(self, section: Section, option: str, parse: Callable[[str], T]) -> T | None:
        """Read an option that may be `@FILE` or `$VARIABLE`; None when it is not given.

        No mistake quotes the value. `parse` raises ValueError without quoting its text.
        """

        def look_up(text: str) -> T:
            text = text.strip()
            if text.startswith("@"):
                return parse(self._from_file(section, option, text[1:]))
            if text.startswith("$"):
                return parse(self._from_environment(text))
            return parse(text)

        return section.read(option, lambda text: look_up(text), None)

    def _from_file(self, section: Section, option: str, name: str) -> str:
        path = os.path.join(self.folder, name)
        try:
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(FILE_BYTES + 1)
        except (OSError, ValueError) as e:
            reason = getattr(e, "strerror", None) or "no path of a file"
            raise ValueError(f"{path} can't be read: {reason}") from None
        if mode & stat.S_IROTH:
            section.warn(option, f"everybody may read the secret in {path}: chmod o-rwx it")
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text") from None
        if not text or len(content) > FILE_BYTES or len(text.splitlines()) > 1:
            raise ValueError(f"{path}: expected one line with the value")
        return text

    def _from_environment(self, text: str) -> str:
        found = _VARIABLE.fullmatch(text)
        if found is None:
            raise ValueError("expected $VARIABLE, @FILE or the value itself")
        name = found[1] or found[2]
        value = self.environ.get(name, "").strip()
        if not value:
            raise ValueError(f"the environment has no variable {name}, or an empty one")
        return value
