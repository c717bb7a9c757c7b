"""Lists of names with wildcards, such as `web*, db1, !web9`. Pure.

Names are separated by commas, since a service's name may have spaces in it. `*`, `?` and `[abc]`
stand for what they stand for in a shell, case counts. What a pattern after `!` matches is left out,
wherever it stands in the list; a list of such patterns alone means everything else.
"""

from __future__ import annotations

import functools
import re
from fnmatch import fnmatchcase, translate


class Patterns:
    """A list of patterns. Equal lists are equal."""

    __slots__ = ("_left_out", "_wanted", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError with a sentence for a list without a pattern."""
        words = [word.strip() for word in text.split(",") if word.strip()]
        if not words or "!" in words:
            raise ValueError(f"expected names such as web*, db1 or !web9, got {text!r}")
        self.text = ", ".join(words)
        left_out = [word[1:].strip() for word in words if word.startswith("!")]
        wanted = [word for word in words if not word.startswith("!")]
        self._left_out = _joined(left_out) if left_out else None
        self._wanted = _joined(wanted) if wanted and "*" not in wanted else None

    def match(self, name: str) -> bool:
        if self._left_out is not None and self._left_out.match(name):
            return False
        return self._wanted is None or self._wanted.match(name) is not None

    @property
    def everything(self) -> bool:
        """There is no name that does not match."""
        return self._left_out is None and self._wanted is None

    @property
    def in_vain(self) -> bool:
        """No name can match, since all that is named is left out again. True is certain."""
        words = self.text.split(", ")
        left_out = [word[1:].strip() for word in words if word.startswith("!")]
        wanted = [word for word in words if not word.startswith("!")] or ["*"]
        return all(
            word in left_out
            or "*" in left_out
            or (
                not set("*?[") & set(word)
                and any(fnmatchcase(word, pattern) for pattern in left_out)
            )
            for word in wanted
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Patterns({self.text!r})"


EVERYTHING = Patterns("*")


def _joined(patterns: list[str]) -> re.Pattern[str]:
    return _compiled(tuple(patterns))


@functools.lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns))
