"""Who may come in: HTTP Basic credentials, and no requests that another site's page made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from twisted.web.server import Request

from overc.daemon.settings import Credentials
from overc.web.shortcut import Post


class Refusal(Exception):
    """A request that is not served; the sentence says what to do."""

    def __init__(self, code: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.headers = headers or {}


def check_access(request: Request | Post, wanted: Credentials | None) -> None:
    """Raise Refusal for a request that may not come in."""
    if wanted is not None and not is_allowed(header(request, b"authorization"), wanted):
        challenge = {"WWW-Authenticate": 'Basic realm="OverC", charset="UTF-8"'}
        raise Refusal(401, "give the user and the password for this part", challenge)
    if request.method not in (b"GET", b"HEAD") and is_cross_site(
        header(request, b"sec-fetch-site"), header(request, b"origin"), header(request, b"host")
    ):
        raise Refusal(403, "this request came from another site's page")


def header(request: Request | Post, name: bytes) -> str | None:
    # Asked for text, Twisted raises for a header that is not UTF-8.
    value = request.getHeader(name)
    return None if value is None else value.decode(errors="replace")


def is_allowed(authorization: str | None, wanted: Credentials | None) -> bool:
    """Say whether an Authorization header carries the wanted credentials; None wants nothing."""
    if wanted is None:
        return True
    given = _basic(authorization)
    return given is not None and _same(given, f"{wanted.user}:{wanted.password}".encode())


def user_of(authorization: str | None) -> str | None:
    """Return the user that an Authorization header names; None without one."""
    given = _basic(authorization) or b""
    return given.partition(b":")[0].decode(errors="replace") or None


def _basic(authorization: str | None) -> bytes | None:
    """Return `user:password`; None where there is no such thing."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None


def _same(one: bytes, other: bytes) -> bool:
    # Hashes are of one length, so the time tells nothing, not even how long the secret is.
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def is_cross_site(fetch_site: str | None, origin: str | None, host: str | None) -> bool:
    """Say whether a browser sent this request for a page of another site.

    A browser adds Basic credentials by itself, whichever page asks. Scripts send none of these
    headers and are let through.
    """
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != (host or "").lower()
    except ValueError:
        # No browser sends what is no URL.
        return True
