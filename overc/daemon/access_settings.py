"""Who may see the dashboard and who may change things: options of the server's INI file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from overc.config import Section
from overc.daemon.alerting.secret_values import Secrets
from overc.daemon.patterns import EVERYTHING, Patterns

UNIX = "unix"

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
_NO_NAMES = frozenset(("authorization", "cookie", "host", "connection", "content-length"))
"""Headers that every client may send, for something else."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password for HTTP Basic."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Whose word counts about the client that they pass on."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False
    """Whoever comes through a Unix socket."""

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trust(self, host: str) -> bool:
        """Say whether a peer is one of them. A Unix socket's peer has no host: it is empty."""
        if not host:
            return self.unix
        address = parse_address(host)
        return address is not None and any(address in network for network in self.networks)


NO_PROXIES = TrustedProxies()


@dataclass(frozen=True, slots=True)
class Access:
    """What there is beside `ui-auth`."""

    readers: tuple[Credentials, ...] = ()
    """They see everything and change nothing."""
    proxies: TrustedProxies = NO_PROXIES
    remote_user_header: str | None = None
    """In lower case: by this header a trusted proxy says who is logged in."""
    remote_writers: Patterns = EVERYTHING
    """Who of these users may change things."""
    names: Patterns | None = None
    """By which names, in lower case, browsers may change things where nobody logs in."""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an IP address; an IPv4 address that is written as one of IPv6 is that of IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def read_access(section: Section, secrets: Secrets, auth: Credentials | None) -> Access:
    """Read the options of [overc]. `auth`: what `ui-auth` says."""
    access = Access(
        readers=secrets.read(section, "ui-readers", parse_readers) or (),
        proxies=section.read("trusted-proxies", parse_proxies, NO_PROXIES),
        remote_user_header=section.read("remote-user-header", parse_header, None),
        remote_writers=section.read("remote-writers", Patterns, EVERYTHING),
        names=section.read("ui-hosts", parse_hosts, None),
    )

    def given(option: str) -> bool:
        return section.read(option, lambda text: True, False)

    if given("ui-readers") and not given("ui-auth"):
        section.mistake("ui-readers", "needs ui-auth beside it: without, all may change everything")
    elif auth is not None and auth.user in (reader.user for reader in access.readers):
        section.mistake("ui-readers", "names the user of ui-auth, who may change everything")
    if given("remote-user-header") and not given("trusted-proxies"):
        section.mistake("remote-user-header", "needs trusted-proxies: nobody else is believed")
    if given("remote-writers") and not given("remote-user-header"):
        section.mistake("remote-writers", "is for remote-user-header, and there is none")
    if access.remote_writers.in_vain:
        section.warn("remote-writers", "can never match: what it names it leaves out again")
    return access


def parse_credentials(text: str) -> Credentials:
    """Read `user:password`. Raises ValueError, without the text: it may be a secret."""
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ValueError("expected user:password")
    return Credentials(user, password)


def parse_readers(text: str) -> tuple[Credentials, ...]:
    """Read several of them, with white space between. Raises ValueError, without the text."""
    try:
        readers = tuple(parse_credentials(word) for word in text.split())
    except ValueError:
        readers = ()
    if not readers:
        raise ValueError("expected user:password, several with spaces between them")
    users = [reader.user for reader in readers]
    if len(set(users)) < len(users):
        raise ValueError("names a user twice")
    return readers


def parse_proxies(text: str) -> TrustedProxies:
    """Read addresses and networks such as `127.0.0.1 10.0.0.0/8 unix`."""
    networks = []
    words = text.replace(",", " ").split()
    for word in words:
        if word.lower() == UNIX:
            continue
        try:
            networks.append(ip_network(word))
        except ValueError as e:
            raise ValueError(
                f"expected addresses, networks or unix, such as 127.0.0.1 10.0.0.0/8 unix: {e}"
            ) from None
    if not words:
        raise ValueError("expected addresses, networks or unix, such as 127.0.0.1 10.0.0.0/8 unix")
    return TrustedProxies(tuple(networks), any(word.lower() == UNIX for word in words))


def parse_hosts(text: str) -> Patterns:
    """Read names of hosts, with wildcards. Raises ValueError."""
    expected = "expected names such as mon.example.com, *.lan"
    # The one thing that people write beside a name.
    if found := re.search(r"[:/\s]", ",".join(word.strip() for word in text.split(","))):
        what = "a space" if found[0].isspace() else repr(found[0])
        raise ValueError(f"{expected}, with commas between them and without a port; got {what}")
    try:
        return Patterns(text.lower())
    except ValueError:
        raise ValueError(f"{expected}, got {text!r:.80}") from None


def parse_header(text: str) -> str:
    """Read the name of a header; return it in lower case."""
    name = text.strip()
    if not _HEADER.fullmatch(name) or name.lower() in _NO_NAMES:
        raise ValueError(f"expected a header's name such as X-Remote-User, got {text!r:.80}")
    return name.lower()
