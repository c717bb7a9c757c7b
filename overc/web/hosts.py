"""By which names of the server a browser may change things where nobody logs in.

Note [Rebinding]
~~~~~~~~~~~~~~~~
Whoever owns a name decides where it leads to. A page of evil.example can be loaded from a server of
its own, and have the name lead to 127.0.0.1 a moment later: to the browser what it asks of us then
comes from our own page. A login stops that, since a browser sends credentials only to the name that
they were given to. Without one it is the name that tells: nobody else can have an address, a name
without a dot or one below `localhost` lead anywhere, and other names have to be known. Browsers say
by which name a page was loaded in `Origin`, with every request that changes something, and no
script of a page can write that header. Programs that are no browsers send none and are not asked.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from twisted.application.service import Service

from overc.daemon.access_settings import parse_address


def host_of(origin: str | None, host: str | None) -> str:
    """Return by which name a browser found us, in lower case; empty where that can't be told.

    `host`: that of the request, with its port. It counts where there is no `Origin`, or one that
    says nothing.
    """
    for url in (origin, None if host is None else f"//{host}"):
        try:
            found = urlsplit(url or "").hostname
        except ValueError:
            continue
        if found:
            return found.rstrip(".")
    return ""


def is_beyond_others(name: str) -> bool:
    """Say whether nobody else decides where a name leads to."""
    if not name:
        return False
    return "." not in name or name.endswith(".localhost") or parse_address(name) is not None


class OwnNames(Service):
    """What this machine calls itself. The whole name may take a name server, which may be away, so
    it is looked up beside everything else."""

    def __init__(
        self,
        name: str,
        look_up: Callable[[str], str | None] | None = None,
        begin: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`look_up` returns the whole name; `begin` has it done without waiting for it."""
        name = name.lower()
        # The second one is how it is found by multicast DNS.
        self._names = frozenset((name, f"{name.partition('.')[0]}.local"))
        self._name = name
        self._look_up = look_up or whole_name
        self._begin = begin or _in_a_thread

    def startService(self) -> None:
        super().startService()
        self._begin(self._look)

    def know(self, name: str) -> bool:
        """Say whether it is one of them; `name` is in lower case."""
        return name in self._names

    def _look(self) -> None:
        found = self._look_up(self._name)
        if found is not None:
            self._names |= {found.lower().rstrip(".")}


def whole_name(name: str) -> str | None:
    """Return the canonical name of a host; None where it is not to be had. May take long."""
    try:
        return socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)[0][3] or None
    except (OSError, UnicodeError):
        return None


def _in_a_thread(work: Callable[[], None]) -> None:
    # Not the reactor's: a stop waits for those.
    threading.Thread(target=work, name="own name", daemon=True).start()
