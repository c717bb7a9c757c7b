"""URLs that are secrets: checked, taken apart, and kept out of what people read. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urldefrag, urlsplit

from overc.http_urls import split_credentials, split_http

HIDDEN = "***"

SECRET_CHARS = 4
"""Parts of a URL that are shorter are not searched for: they are in every other text."""

_APPRISE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://\S.*", re.DOTALL)


class Webhook(NamedTuple):
    """Where to POST to."""

    url: str
    """Without user and password."""
    credentials: tuple[str, str] | None
    """User and password for HTTP Basic."""


def parse_http(text: str) -> str:
    """Check an address for requests of ours. Raises ValueError without the text: it is secret."""
    split_http(text, "expected a URL such as https://chat.example.com/hooks/abc")
    return text


def parse_apprise(text: str) -> str:
    """Check that a text may be an Apprise URL. Raises ValueError without the text."""
    if not _APPRISE.fullmatch(text) or not text.isprintable():
        raise ValueError("expected an Apprise URL such as mailto://user:password@example.com")
    return text


def webhook(url: str) -> Webhook:
    """Take user and password out of a URL that `parse_http` took."""
    return Webhook(*split_credentials(urldefrag(url).url))


def shown(url: str) -> str:
    """Return as much of a URL as anybody may see: who is asked."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return HIDDEN
    return f"{parts.scheme}://{host}" if parts.scheme and host else HIDDEN


def mask(text: str, url: str, hide_host: bool = False) -> str:
    """Take out of a text what a URL has in it that may be secret.

    `hide_host`: the first part may be a token, too, as in many of Apprise's URLs.
    """
    before, _, query = url.partition("://")[2].partition("?")
    authority, _, path = before.partition("/")
    users, _, host = authority.rpartition("@")
    words = [url, users, *users.split(":"), path, *re.split(r"[/:@,;#]", path), query]
    words += [pair.partition("=")[2] for pair in re.split(r"[&;]", query)]
    if hide_host:
        words += host.split(":")
    found = {form for word in words for form in _forms(word) if len(form) >= SECRET_CHARS}
    for word in sorted(found, key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text


def _forms(word: str) -> set[str]:
    """Return how a part of a URL may be written."""
    plain = unquote(word)
    return {word, plain, quote(plain), quote(plain, safe="")}
