"""Badges: small pictures that say how a service is, or the worst of a server, without a login.

Which there are is said by `badges` in the INI file. Of all others, and of what does not exist,
there is one and the same picture: nobody learns from it what is watched here.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from fnmatch import fnmatchcase
from xml.sax.saxutils import escape, quoteattr

from overc.daemon.alerting.keeping import OpenWindows
from overc.daemon.patterns import Patterns
from overc.daemon.snapshot import ServerEntry, ServiceEntry
from overc.web.access import Refusal
from overc.web.answers import Answer
from overc.web.public.sight import Sight
from overc.web.public.view import MAINTENANCE, WORDS, condition, label, worst
from overc.web.words import undirected

MAX_AGE_S = 30
LABEL_CHARS = 60
PATH_CHARS = 2 * 255 + 1
"""Of the two names, and the slash between them: longer ones do not exist."""

SUFFIX = ".svg"

_COLOURS = {
    "FAIL": "#c02620",
    "late": "#8039a8",
    "WARN": "#985600",
    "UNK": "#36688c",
    MAINTENANCE: "#4a56b0",
    "OK": "#23794a",
    "none": "#5a6472",
}
"""White on any of them has a contrast of more than 4.5."""

_MARKS = {
    "FAIL": '<rect x="{x}" y="6" width="8" height="8" rx="1" fill="#fff"/>',
    "late": '<circle cx="{c}" cy="10" r="3.6" fill="none" stroke="#fff" stroke-width="1.4"/>'
    '<path d="M{c} 8v2.2l1.5 1" fill="none" stroke="#fff" stroke-width="1.2"/>',
    "WARN": '<path d="M{c} 5.4l4.4 8.2h-8.8z" fill="#fff"/>',
    "UNK": '<path d="M{c} 5.4l4.6 4.6-4.6 4.6-4.6-4.6z" fill="#fff"/>',
    MAINTENANCE: '<path transform="translate({x} 6) scale(.5)" fill="#fff" d="M14.6 4.4a4 4 0 0 1'
    "-5.3 4.5L4.8 13.6a1.7 1.7 0 0 1-2.4-2.4L7.1 6.7A4 4 0 0 1 11.6 1.4L9.2 3.8l.5 2.5 2.5.5z"
    '"/>',
    "OK": '<circle cx="{c}" cy="10" r="3.6" fill="#fff"/>',
    "none": '<circle cx="{c}" cy="10" r="3.4" fill="none" stroke="#fff" stroke-width="1.2"'
    ' stroke-dasharray="2 1.6"/>',
}

_WIDTHS = {
    char: width
    for width, chars in {
        3.0: "il'",
        4.0: " .,jf",
        4.6: "!rtIJ",
        5.0: '()[]/\\:;-|"`',
        5.8: "csz",
        6.2: "FL",
        6.6: "aekoPvxyTY",
        7.0: "bdghnpquE_*{}?$0123456789",
        7.6: "ABCKRSVXZ",
        8.3: "DHNU&",
        8.6: "GOQ",
        9.1: "wM#+<=>~^",
        10.8: "mW@",
        11.8: "%",
    }.items()
    for char in chars
}
"""In pixels, of Verdana 11."""


class Allowed:
    """What may be seen. A pattern for servers says nothing of their services, but what is left out
    is left out with all that belongs to it."""

    def __init__(self, patterns: Patterns) -> None:
        words = patterns.text.split(", ")
        self._servers = patterns
        self._left_out = [word[1:].strip() for word in words if word.startswith("!")]
        wanted = [word for word in words if not word.startswith("!")] or ["*"]
        # Names may have slashes in them: any may be the one between server and service.
        self._parts = [
            (word[:at], word[at + 1 :])
            for word in ("*/*" if word == "*" else word for word in wanted)
            for at, char in enumerate(word)
            if char == "/"
        ]

    def server(self, name: str) -> bool:
        """Say whether a server may be seen as a whole."""
        return self._servers.match(name)

    def service(self, server: str, name: str) -> bool:
        """Say whether a service may be seen."""
        whole = f"{server}/{name}"
        if any(fnmatchcase(one, pattern) for pattern in self._left_out for one in (server, whole)):
            return False
        return any(
            fnmatchcase(server, of_server) and fnmatchcase(name, of_service)
            for of_server, of_service in self._parts
        )


class Badges:
    """For the reactor's thread only."""

    def __init__(self, allowed: Patterns | None, sight: Sight) -> None:
        """`allowed`: `SERVER/SERVICE`, and `SERVER` for a server as a whole. None: nothing is."""
        self._allowed = None if allowed is None else Allowed(allowed)
        self._sight = sight
        self._number = -1
        self._servers: dict[str, tuple[ServerEntry, list[ServiceEntry]]] = {}

    async def badge(self, path: str, label_text: str | None) -> Answer:
        """Return the picture for `SERVER/SERVICE.svg` or `SERVER.svg`, whose names are decoded.

        `label_text`: what stands on it in place of the name.
        """
        found = await self._find(path)
        if found is None:
            return _answer(draw(label_text or "status", "none", "not found"), 404)
        title, is_now = found
        return _answer(draw(label_text or title, is_now, WORDS[is_now]), 200)

    def error_badge(self, refusal: Refusal) -> Answer:
        """Return the picture in place of one that can't be made. It does not say why."""
        picture = draw("status", "none", "not known just now")
        return Answer(picture, "image/svg+xml", refusal.code, refusal.headers)

    async def _find(self, path: str) -> tuple[str, str] | None:
        if self._allowed is None or not path.endswith(SUFFIX):
            return None
        names = path.removesuffix(SUFFIX)
        if len(names) > PATH_CHARS:
            return None
        look = await self._sight.look()
        if self._number != look.number:
            self._number = look.number
            self._servers = {found[0].row.name: found for found in look.servers}
        # Names may have slashes in them, and a proxy may have decoded them: any may be the one.
        for at in [at for at, char in enumerate(names) if char == "/"]:
            found = self._service(names[:at], names[at + 1 :], look.windows)
            if found is not None:
                return found
        return self._server(names, look.windows)

    def _service(self, server: str, name: str, windows: OpenWindows) -> tuple[str, str] | None:
        """Return title and condition of a service; None for one that may not be seen."""
        assert self._allowed is not None
        if server not in self._servers or not self._allowed.service(server, name):
            return None
        entry, services = self._servers[server]
        for one in services:
            if one.row.name == name:
                return label(one.row), condition(entry.row, one.row, windows)
        return None

    def _server(self, name: str, windows: OpenWindows) -> tuple[str, str] | None:
        assert self._allowed is not None
        if name not in self._servers or not self._allowed.server(name):
            return None
        entry, services = self._servers[name]
        is_now = worst(condition(entry.row, one.row, windows) for one in services)
        return label(entry.row), is_now


@functools.lru_cache(maxsize=1024)
def draw(label_text: str, is_now: str, word: str) -> bytes:
    """Return an SVG picture: the label in grey, then the mark and the word in their colour."""
    text = readable(label_text)
    label_width, word_width = text_width(text), text_width(word)
    left, right = label_width + 12, word_width + 25
    width = left + right
    mark = _MARKS[is_now].format(x=left + 6, c=left + 10)
    spoken = f"{text}: {word}"
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img"'
        f" aria-label={quoteattr(spoken)}><title>{escape(spoken)}</title>"
        f'<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#454c56"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{_COLOURS[is_now]}"/></g>{mark}'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">'
        f"{_text(6, label_width, text)}{_text(left + 19, word_width, word)}</g></svg>\n"
    )
    return drawn.encode()


def readable(text: str) -> str:
    """Return text that can stand in XML, on one line, and that turns nothing around."""
    plain = "".join(
        char if char.isprintable() and not unicodedata.category(char).startswith("C") else " "
        for char in undirected(text[: 4 * LABEL_CHARS])
    )
    words = " ".join(plain.split()) or "(blank)"
    return words if len(words) <= LABEL_CHARS else words[: LABEL_CHARS - 1].rstrip() + "…"


def text_width(text: str) -> int:
    """Return about how many pixels a text takes in Verdana 11; the picture makes it fit."""
    width = 0.0
    for char in text:
        if unicodedata.combining(char):
            continue
        if unicodedata.east_asian_width(char) in "WF":
            width += 11.5
        else:
            width += _WIDTHS.get(char) or (8.0 if char.isupper() else 6.9)
    return max(7, round(width))


def _text(x: int, width: int, text: str) -> str:
    return f'<text x="{x}" y="14" textLength="{width}">{escape(text)}</text>'


def _answer(body: bytes, code: int) -> Answer:
    tag = hashlib.sha256(body).hexdigest()[:16]
    headers = {"Cache-Control": f"max-age={MAX_AGE_S}"}
    return Answer(body, "image/svg+xml", code, headers, etag=f'"{tag}"')
