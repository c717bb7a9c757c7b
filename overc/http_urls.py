"""Addresses of web servers, as people write them into a configuration. Standard library only."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit


def split_http(text: str, expected: str) -> SplitResult:
    """Return the parts of an http or https URL.

    Raises ValueError with a sentence that begins with `expected`, and never with the text: there
    may be secrets in it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        # The reason may quote the password, when it holds a character that ends the host.
        kind = "the port is not a number" if "ort" in str(e) else "the host can't be read"
        raise ValueError(f"{expected}: {kind}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{expected}: it has to start with http:// or https://")
    if not parts.hostname:
        raise ValueError(f"{expected}: the host is missing")
    if not text.isprintable() or " " in text:
        raise ValueError(f"{expected}: it can't hold white space or control characters")
    if port == 0:
        raise ValueError(f"{expected}: the port can't be 0")
    return parts


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return a URL without its `user:password@`, and those two, decoded."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return plain, (unquote(parts.username), unquote(parts.password or ""))
