"""What the pages say, as text. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone

from overc.daemon import perfdata

_LISTED_CHARS = 200
_UNITS_S = {86400: "d", 3600: "h", 60: "min"}
_ROUNDED_S = 90
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def span_words(span_s: float) -> str:
    """Return a span as people say it, to the unit that there are at least two of: `3 min`.

    From 90 s on it is `2 min`.
    """
    whole_s = max(0, int(span_s))
    if _ROUNDED_S <= whole_s < 120:
        whole_s = 120
    for unit_s, unit in _UNITS_S.items():
        if whole_s >= 2 * unit_s:
            return f"{whole_s // unit_s} {unit}"
    return f"{whole_s} s"


def period_words(period_s: int) -> str:
    """Return a period exactly, in the largest unit that divides it: `5 min`, `90 s`."""
    for unit_s, unit in _UNITS_S.items():
        if period_s % unit_s == 0:
            return f"{period_s // unit_s} {unit}"
    return f"{period_s} s"


def count_words(count: int, noun: str) -> str:
    """Return `1 service`, `1,440 services`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def first_line(text: str) -> str:
    """Return the first line that says something, with an ellipsis for all that is left out."""
    lines = text.strip().splitlines() or [""]
    if len(lines) > 1 or len(lines[0]) > _LISTED_CHARS:
        return lines[0][:_LISTED_CHARS].rstrip() + " …"
    return lines[0]


def title_words(title: str, name: str = "") -> str:
    """Return a title that can be hit: white space is a legal name."""
    return first_line(title) or first_line(name) or "(blank)"


def headline(info: str) -> str:
    """Return the first line of an info, without the figures behind it that are for graphs."""
    before, bar, _ = info.partition("|")
    if bar and before.strip() and perfdata.parse(info):
        return first_line(before)
    return first_line(info)


def attribute_text(text: str) -> str:
    """Return text fit for a tooltip or a tab's title, which no <bdi> can isolate: one line."""
    return undirected(first_line(text))


def undirected(text: str) -> str:
    """Return text without what could turn the text after it around."""
    return _BIDI_CONTROLS.sub("", text)


def pasteable_json(value: object) -> str:
    """Return JSON on one line for a shell: readable, with all that can't be seen escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char).strip('"') for char in text)


def curl_line(base_url: str, server: str, service: str, period_s: int, state: str) -> str:
    """Return the shell command that reports one state; `KEY` stands for the server's key."""
    report = {
        "server": {"name": server, "key": "KEY"},
        "period": period_s,
        "services": [{"name": service, "state": state, "info": "reported by curl"}],
    }
    url = shlex.quote(base_url.rstrip("/") + "/api/set/service/status")
    return f"curl {url} -d {shlex.quote(pasteable_json(report))}"


def overcli_line(base_url: str, server: str, service: str, period_s: int, state: str) -> str:
    """Return the same by overcli; a comment for names that it can't be told on one line."""
    if not (server + service).isprintable() or ":" in server:
        return "# overcli can't be told these names on a line: use curl"
    url, name = shlex.quote(base_url.rstrip("/") + "/"), shlex.quote(f"{server}:KEY")
    # A name that begins with a dash is no option.
    end = "-- " if service.startswith("-") else ""
    words = f"{end}{period_s} {shlex.quote(service)} {state} 'reported by overcli'"
    return f"overcli -s {url} -i {name} service-status {words}"


def as_sentence(text: str) -> str:
    """Return a refusal as a sentence: with a capital, and with a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def listed(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def epoch(text: str) -> float:
    """Return the epoch seconds of a time of the dashboard API, without its fraction."""
    whole_seconds = text[:19]
    return datetime.fromisoformat(whole_seconds).replace(tzinfo=timezone.utc).timestamp()


def utc_text(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
