"""The `[page:NAME]` sections of the server's INI file: status pages for those without a login."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from overc.config import Config, Mistake, Section
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.rule_settings import read_names

TITLE_CHARS = 200

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_TRUTH = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class StatusPage:
    """A page that all may see, and what it shows."""

    name: str
    """It is in the page's address."""
    title: str
    servers: Patterns = EVERYTHING
    services: Patterns = EVERYTHING
    groups: bool = True
    """By server; else servers do not show at all."""
    infos: bool = False
    """Show what services say."""
    full_names: bool = False
    """Beside titles, show the names behind them."""


@dataclass(frozen=True, slots=True)
class PublicPieces:
    """What is shown to those without a login. Nothing, unless it is configured."""

    pages: tuple[StatusPage, ...] = ()
    badges: Patterns | None = None
    """Of `SERVER/SERVICE`, and of `SERVER` for a server as a whole."""


def read_public(config: Config, overc: Section) -> PublicPieces:
    """Read the sections and the option `badges` of [overc]."""
    badges = overc.read("badges", Patterns, None)
    if badges is not None and badges.in_vain:
        overc.warn("badges", "can never match: what it names it leaves out again")
    return PublicPieces(tuple(_pages(config)), badges)


def _pages(config: Config) -> Iterator[StatusPage]:
    for name, section in config.sections("page"):
        if name and not _NAME.fullmatch(name):
            reason = f"the name is part of the address: letters, digits, - and _, got {name!r:.80}"
            config.add(Mistake(section.where, reason, section.name))
        # It has to be said what all the world may see.
        if all(section.read(option, str, None) is None for option in ("servers", "services")):
            section.mistake("servers", "is missing; or give services. * stands for all of them")
        yield StatusPage(
            name,
            section.read("title", parse_title, name),
            read_names(section, "servers"),
            read_names(section, "services"),
            section.read("groups", parse_yes_no, True),
            section.read("show-info", parse_yes_no, False),
            section.read("names", parse_names, False),
        )


def parse_title(text: str) -> str:
    """Raises ValueError with a sentence."""
    title = " ".join(text.split())
    if not 0 < len(title) <= TITLE_CHARS:
        raise ValueError(f"expected a title of at most {TITLE_CHARS} characters")
    return title


def parse_yes_no(text: str) -> bool:
    """Raises ValueError with a sentence."""
    found = _TRUTH.get(text.strip().lower())
    if found is None:
        raise ValueError(f"expected yes or no, got {text!r:.80}")
    return found


def parse_names(text: str) -> bool:
    """Say whether the full names are wanted. Raises ValueError with a sentence."""
    word = text.strip().lower()
    if word not in ("title", "full"):
        raise ValueError(f"expected title or full, got {text!r:.80}")
    return word == "full"
