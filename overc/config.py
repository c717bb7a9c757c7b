"""Read an INI file so that every mistake in it is found at once, each with its file and line.

A reader asks a `Config` for its sections and a `Section` for its options; what it asks for is what
is known. `Config.finish()` raises one `ConfigError` with all that was wrong, unknown sections and
options included. Standard library only.

The format is configparser's without interpolation, so that `%` in a command is a percent sign, with
`=` as the only delimiter, and without a [DEFAULT] section.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

DURATION_UNITS_S = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
# Nine digits: what is longer is no number of seconds that anything else could still count with.
_DURATION = re.compile(
    r"(?:(\d{1,9})y)?(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)s)?",
    re.ASCII,
)
_PLAIN_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_LINE_OF_FILE = re.compile(r".*:([0-9]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong, and where: `where` is `file:line`, a file, or an option's origin."""

    where: str
    reason: str
    section: str = ""
    option: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: "
        if self.section:
            place += f"[{self.section}] "
        if self.option:
            place += f"{self.option}: "
        return place + self.reason


class ConfigError(Exception):
    """A configuration that can't be used; `str()` gives one line for each mistake."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def parse_duration(text: str) -> float:
    """Return the seconds in `90`, `5m` or `1h30m`. Raises ValueError with a sentence."""
    if _PLAIN_SECONDS.fullmatch(text.strip()):
        return float(text)
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(f"expected a duration such as 90, 5m or 1h30m, got {text!r}")
    parts = zip(found.groups(), DURATION_UNITS_S.values(), strict=True)
    return sum(float(number) * unit_s for number, unit_s in parts if number)


def parse_command(text: str) -> tuple[str, ...]:
    """Split a command as a shell splits words. Raises ValueError with a sentence."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as e:
        reason = str(e)
        raise ValueError(f"can't be split into words: {reason[0].lower()}{reason[1:]}") from None
    if not words or not words[0]:
        raise ValueError("expected a command, got nothing")
    return words


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    where: str


class Section:
    """One section's options. Each reading method reports a bad value as a mistake of the Config.

    Where one option has several values, the command line wins over the environment, and the
    environment over the file.
    """

    def __init__(
        self,
        config: Config,
        name: str,
        where: str,
        values: dict[str, _Value],
        environ: Mapping[str, str],
        overrides: Mapping[str, str | None],
    ) -> None:
        self.name = name
        self.where = where
        self._config = config
        self._values = values
        self._environ = environ
        self._overrides = overrides
        self._known: set[str] = set()

    def _value(self, option: str) -> _Value | None:
        self._known.add(option)
        override = self._overrides.get(option)
        if override is not None:
            return _Value(override, f"--{option}")
        variable = "OVERC_" + option.upper().replace("-", "_")
        if variable in self._environ:
            return _Value(self._environ[variable], f"environment {variable}")
        return self._values.get(option)

    def read(self, option: str, parse: Callable[[str], T], default: T) -> T:
        """Return `parse(text)` of an option, or the default when it is not given.

        A ValueError of `parse` becomes a mistake, and the default is returned.
        """
        value = self._value(option)
        if value is None:
            return default
        try:
            return parse(value.text)
        except ValueError as e:
            self._config.add(Mistake(value.where, str(e), self.name, option))
            return default

    def require(self, option: str, parse: Callable[[str], T], stand_in: T) -> T:
        """Like `read`, but a missing option is a mistake; `stand_in` only fills its place."""
        if self._value(option) is None:
            self.mistake(option, "is missing")
        return self.read(option, parse, stand_in)

    def mistake(self, option: str, reason: str) -> None:
        """Report an option that is wrong for a reason only the reader can know."""
        value = self._value(option)
        where = value.where if value else self.where
        self._config.add(Mistake(where, reason, self.name, option))

    def warn(self, option: str, reason: str) -> None:
        """Note what will work, but hardly as it was meant. Without an option: the whole section."""
        value = self._value(option) if option else None
        where = value.where if value else self.where
        self._config.warnings.append(Mistake(where, reason, self.name, option))

    def report_unknown(self) -> None:
        for option, value in self._values.items():
            if option not in self._known:
                known = ", ".join(sorted(self._known))
                reason = f"unknown option; known here: {known}"
                self._config.add(Mistake(value.where, reason, self.name, option))


class Config:
    """An INI file's sections, with the environment and the command line over one of them."""

    def __init__(self, path: str | None = None) -> None:
        """Read the file; None stands for an empty one. An unreadable file is a mistake."""
        self.path = path
        self.folder = os.path.dirname(os.path.abspath(path)) if path else os.getcwd()
        self.warnings: list[Mistake] = []
        """What is no mistake, but should be told."""
        self._mistakes: list[Mistake] = []
        self._lines: dict[tuple[str, str], int] = {}
        self._parser = configparser.ConfigParser(
            interpolation=None, delimiters=("=",), strict=False, default_section="\0"
        )
        if path is not None:
            self._load(path)
        self._asked: set[str] = set()
        self._sections: list[Section] = []

    def add(self, mistake: Mistake) -> None:
        self._mistakes.append(mistake)

    def has(self, name: str) -> bool:
        """Say whether there is a section of that name."""
        return self._parser.has_section(name)

    def refuse(self, name: str, reason: str) -> None:
        """Report a section that has no place here, whatever it says."""
        self._asked.add(name)
        self.add(Mistake(self._place(name, ""), reason, name))

    def section(
        self,
        name: str,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, str | None] | None = None,
    ) -> Section:
        """Return a section, an empty one if the file has none of that name.

        `environ`: variables `OVERC_<OPTION>` win over the file. `overrides`: options of the command
        line that are not None win over both.
        """
        self._asked.add(name)
        values: dict[str, _Value] = {}
        if self._parser.has_section(name):
            for option, text in self._parser.items(name):
                values[option] = _Value(text, self._place(name, option))
        where = self._place(name, "")
        section = Section(self, name, where, values, environ or {}, overrides or {})
        self._sections.append(section)
        return section

    def sections(self, kind: str) -> Iterator[tuple[str, Section]]:
        """Yield the name and the section of each `[kind:name]`, in the file's order."""
        first: dict[str, str] = {}
        for full_name in self._parser.sections():
            if full_name.partition(":")[0] != kind:
                continue
            name = full_name.partition(":")[2].strip()
            section = self.section(full_name)
            if not name:
                self.add(Mistake(section.where, f"expected [{kind}:NAME]", full_name))
            elif name in first:
                reason = f"the same name as [{first[name]}]: each needs its own"
                self.add(Mistake(section.where, reason, full_name))
            first.setdefault(name, full_name)
            yield name, section

    def finish(self) -> None:
        """Raise ConfigError if anything was wrong or unknown."""
        for section in self._sections:
            section.report_unknown()
        for name in self._parser.sections():
            if name not in self._asked:
                self.add(Mistake(self._place(name, ""), "unknown section", name))
        if self._mistakes:
            raise ConfigError(sorted(self._mistakes, key=self._line_of))

    def _line_of(self, mistake: Mistake) -> int:
        found = _LINE_OF_FILE.fullmatch(mistake.where)
        return int(found[1]) if found else 0

    def _place(self, section: str, option: str) -> str:
        line = self._lines.get((section, option))
        return f"{self.path}:{line}" if line else (self.path or "built-in defaults")

    def _load(self, path: str) -> None:
        try:
            with open(path, encoding="utf-8-sig") as file:
                # Not splitlines(): configparser knows no other end of a line than this one.
                lines = file.read().split("\n")
        except OSError as e:
            self.add(Mistake(path, f"can't be read: {e.strerror}"))
            return
        except UnicodeDecodeError as e:
            line = e.object.count(b"\n", 0, e.start) + 1
            self.add(Mistake(f"{path}:{line}", f"is not UTF-8 text: {e.reason}"))
            return
        self._parser.read_string("\n".join(self._sound_lines(lines)) + "\n")

    def _sound_lines(self, lines: list[str]) -> Iterator[str]:
        """Note where each section and option stands; blank out what configparser would refuse.

        configparser stops at the first such line and forgets the numbers of all others. As there, a
        line goes on with the option above if it is indented deeper than that one.
        """
        section: str | None = None
        option_indent: int | None = None
        for number, line in enumerate(lines, 1):
            text = line.strip()
            indent = len(line) - len(line.lstrip())
            kept = line.lstrip()
            if not text or text[0] in "#;":
                pass
            elif option_indent is not None and indent > option_indent:
                kept = line
            elif header := self._parser.SECTCRE.match(text):
                section, option_indent = header.group("header"), None
                if (section, "") in self._lines:
                    first = self._lines[section, ""]
                    self._mistake_at(number, f"the section stands in line {first} too", section)
                self._lines.setdefault((section, ""), number)
            elif section is None:
                self._mistake_at(number, "expected a [section] before the first option")
                kept = ""
            elif "=" not in line or not (option := line.partition("=")[0].strip().lower()):
                self._mistake_at(number, f"expected option=value, got {text!r}", section)
                kept, option_indent = "", None
            else:
                option_indent = indent
                if (section, option) in self._lines:
                    first = self._lines[section, option]
                    self._mistake_at(number, f"stands in line {first} too", section, option)
                self._lines[section, option] = number
            yield kept

    def _mistake_at(self, line: int, reason: str, section: str = "", option: str = "") -> None:
        self.add(Mistake(f"{self.path}:{line}", reason, section, option))
