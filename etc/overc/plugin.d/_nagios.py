"""What the Python plugins beside this file share: thresholds, performance data and the way out."""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

OK, WARN, FAIL, UNK = range(4)
NAMES = ("OK", "WARN", "FAIL", "UNK")
RANGES = (
    "RANGE is [@][start:]end as in every Nagios plugin: 80 alerts below 0 and above 80, 10: below "
    "10, ~:10 above 10, 10:20 outside of the two, @10:20 inside, both included."
)
_NUMBER = r"-?(?:[0-9]*\.)?[0-9]+"
_RANGE = re.compile(rf"(?P<at>@?)(?:(?P<start>~|{_NUMBER}):)?(?P<end>{_NUMBER})?")


@dataclass(frozen=True)
class Range:
    text: str
    start: float
    end: float
    inside: bool

    @classmethod
    def parse(cls, text: str) -> Range:
        match = _RANGE.fullmatch(text)
        if match is None or (match["start"] is None and match["end"] is None):
            raise argparse.ArgumentTypeError(
                f'"{text}" is not a range, write [@][start:]end, for instance 80 or 10:20'
            )
        start = -math.inf if match["start"] == "~" else float(match["start"] or 0)
        end = float(match["end"] or math.inf)
        if start > end:
            raise argparse.ArgumentTypeError(
                f'the range "{text}" starts above its end, write the lower number first'
            )
        # Not every reader of performance data takes .5 for a number.
        return cls(re.sub(r"(?<![0-9])\.", "0.", text), start, end, bool(match["at"]))

    def alerts(self, value: float) -> bool:
        return (self.start <= value <= self.end) is self.inside


@dataclass(frozen=True)
class Metric:
    label: str
    value: float
    unit: str = ""
    warning: Range | None = None
    critical: Range | None = None
    maximum: float | None = None
    minimum: float | None = 0

    @property
    def state(self) -> int:
        if self.critical is not None and self.critical.alerts(self.value):
            return FAIL
        return WARN if self.warning is not None and self.warning.alerts(self.value) else OK

    @property
    def mark(self) -> str:
        """What to write after the value in the text, so that it shows which one is at fault."""
        return "" if self.state == OK else f" ({NAMES[self.state]})"

    @property
    def perfdata(self) -> str:
        label = clean(self.label).replace("=", "_").replace("'", "''")
        warning = self.warning.text if self.warning else ""
        critical = self.critical.text if self.critical else ""
        limits = ["" if limit is None else number(limit) for limit in (self.minimum, self.maximum)]
        return ";".join([f"'{label}'={number(self.value)}{self.unit}", warning, critical, *limits])


class Parser(argparse.ArgumentParser):
    def __init__(self, description: str) -> None:
        super().__init__(description=description, epilog=RANGES, allow_abbrev=False)

    def add_range(
        self,
        *names: str,
        default: str | None,
        text: str,
        parse: Callable[[str], Range] = Range.parse,
    ) -> None:
        suffix = "" if default is None else f" (default {default})"
        self.add_argument(*names, metavar="RANGE", type=parse, default=default, help=text + suffix)

    def error(self, message: str) -> NoReturn:
        # argparse would exit 2, which is a FAIL of the thing that is checked.
        finish(UNK, f"{message}; see {self.prog} --help")


def parse_with_units(text: str, units: dict[str, int], what: str) -> Range:
    """A range whose numbers may carry units, such as 26h."""
    plain = re.sub(
        rf"((?:[0-9]*\.)?[0-9]+)([{''.join(units)}])",
        lambda match: number(float(match[1]) * units[match[2]]),
        text,
    )
    try:
        return Range.parse(plain)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a range of {what}, write [@][start:]end, the lower number first'
        ) from None


def meminfo(proc: Path, *keys: str) -> list[int]:
    """Bytes of fields of /proc/meminfo."""
    path = proc / "meminfo"
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    try:
        return [int(fields[key].split()[0]) * 1024 for key in keys]
    except KeyError as error:
        finish(UNK, f"{path} has no {error.args[0]}, a kernel of 3.14 or newer is needed")


def number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def clean(text: str) -> str:
    """A `|` would start the performance data, a line feed the long output."""
    text = " ".join(text.splitlines())
    return "".join(char if char.isprintable() and char != "|" else "?" for char in text)


def worst(states: Iterable[int]) -> int:
    return max(states, key=(OK, WARN, UNK, FAIL).index)


def finish(state: int, text: str, metrics: Iterable[Metric] = ()) -> NoReturn:
    perfdata = " ".join(metric.perfdata for metric in metrics)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(clean(text) + (f" | {perfdata}" if perfdata else ""))
    sys.exit(state)


def run(main: Callable[[], NoReturn]) -> NoReturn:
    # An uncaught exception would exit 1 and read as a WARN about the machine.
    try:
        main()
    except OSError as error:
        reason = error.strerror or str(error)
        finish(UNK, reason if error.filename is None else f"cannot read {error.filename}: {reason}")
    except Exception as error:
        finish(UNK, f"the plugin failed, {type(error).__name__}: {error}")
