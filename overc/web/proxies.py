"""What a trusted proxy says of the client whose request it passes on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from overc.daemon.access_settings import TrustedProxies, parse_address

HOPS_MAX = 20
"""So many proxies may stand behind each other."""

Get = Callable[[str], str | None]
"""Returns a header of a request by its name in lower case."""

_HOST = re.compile(r"[\w.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_PREFIX = re.compile(r"(?:/[\w.~-]{1,100}){1,10}/?", re.ASCII)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+", re.ASCII)


def client_of(proxies: TrustedProxies, peer: str, forwarded_for: str | None) -> str:
    """Return the client's address: the last one in the list that is no trusted proxy's.

    What stands before that one was sent by the client itself, and may be anything.
    """
    if forwarded_for is None or not proxies.trust(peer):
        return peer
    client = peer
    for word in reversed(forwarded_for.split(",")[-HOPS_MAX:]):
        found = _WITH_PORT.fullmatch(word.strip())
        address = parse_address((found[1] or found[2]) if found else word.strip())
        if address is None:
            break
        client = str(address)
        if not proxies.trust(client):
            break
    return client


def forwarded_base(get: Get) -> str | None:
    """Return the address under which the client found us, as the proxy says; None: it doesn't."""
    host = forwarded_host(get)
    if host is None:
        return None
    scheme = "https" if _first(get("x-forwarded-proto")).lower() == "https" else "http"
    prefix = _first(get("x-forwarded-prefix"))
    path = prefix.rstrip("/") if _PREFIX.fullmatch(prefix) else ""
    return f"{scheme}://{host}{path}/"


def forwarded_host(get: Get) -> str | None:
    """Return the host, and the port if there is one, that the client asked for."""
    host = _first(get("x-forwarded-host"))
    return host if _HOST.fullmatch(host) else None


def _first(values: str | None) -> str:
    return (values or "").partition(",")[0].strip()
