"""Who may come in: HTTP Basic credentials, users that a trusted proxy names, and no requests that
another site's page made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from twisted.web.server import Request

from overc.daemon.access_settings import Access, Credentials
from overc.daemon.patterns import Patterns
from overc.web import hosts, proxies
from overc.web.shortcut import Post

USER_CHARS = 255
NAME_CHARS = 255
CHALLENGE = {"WWW-Authenticate": 'Basic realm="OverC", charset="UTF-8"'}


class Refusal(Exception):
    """A request that is not served; the sentence says what to do."""

    def __init__(self, code: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.headers = headers or {}


class Visitor(NamedTuple):
    """Who came in."""

    user: str | None = None
    can_change: bool = True
    is_remote: bool = False
    """A proxy has checked who it is."""


class Gate:
    """Lets people or hosts into a part of the server: the dashboard, or the reporting API."""

    def __init__(
        self,
        auth: Credentials | None = None,
        access: Access | None = None,
        url: str | None = None,
        *,
        is_api: bool = False,
        is_own_name: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """`auth`: whose credentials open everything; None: no door. `url`: where people find us.

        `is_api`: for hosts, which no proxy logs in, and among which there are no readers.
        `is_own_name`: says of a name in lower case whether this machine goes by it.
        """
        access = access or Access()
        self._auth = auth
        self._readers = () if is_api else access.readers
        self._proxies = access.proxies
        self._remote_header = None if is_api else access.remote_user_header
        self._remote_writers = access.remote_writers
        self._folded_writers = Patterns(access.remote_writers.text.casefold())
        self._url = url
        self._is_open = auth is None and self._remote_header is None and not is_api
        self._names = access.names
        self._is_own_name = is_own_name

    def admit(self, request: Request | Post) -> Visitor:
        """Return who it is. Raises Refusal for a request that may not come in."""
        visitor = self.visitor(request)
        if request.method in (b"GET", b"HEAD"):
            return visitor
        origins = (header(request, b"host"), self._forwarded_host(request), self._own_host())
        fetch_site, origin = header(request, b"sec-fetch-site"), header(request, b"origin")
        if is_cross_site(fetch_site, origin, *origins):
            raise Refusal(403, "this request came from another site's page")
        if self._is_open and not (fetch_site is None and origin is None):
            self._check_name(request, origin)
        if not visitor.can_change:
            sentence = f"the login {visitor.user} may look at everything and change nothing"
            raise Refusal(403, f"{sentence}: use another one")
        return visitor

    def _check_name(self, request: Request | Post, origin: str | None) -> None:
        """Raise Refusal where anybody may have had the name lead to us: Note [Rebinding]."""
        sent = self._forwarded_host(request) or header(request, b"host")
        name = hosts.host_of(origin, sent)
        if hosts.is_beyond_others(name) or self._is_own_name(name):
            return
        if self._url is not None and name == hosts.host_of(self._url, None):
            return
        if self._names is None or not self._names.match(name):
            raise Refusal(
                403,
                "without a login browsers change things only by a name that is known to be this"
                f" server's, and {name[:NAME_CHARS]!r} is none: set ui-auth, or name it in"
                " ui-hosts, in the INI file",
            )

    def visitor(self, request: Request | Post) -> Visitor:
        """Return who it is, whatever is asked for. Raises Refusal for somebody unknown."""
        remote = self._remote_user(request)
        if remote is not None:
            return Visitor(remote, self._may_write(remote), is_remote=True)
        authorization = header(request, b"authorization")
        if self._auth is None:
            if self._remote_header is not None:
                raise Refusal(403, "log in: the proxy in front of this server has to say who it is")
            return Visitor(user_of(authorization))
        if is_allowed(authorization, self._auth):
            return Visitor(self._auth.user)
        # All are compared, so that the time does not tell which of them it was.
        matches = [reader for reader in self._readers if is_allowed(authorization, reader)]
        if not matches:
            raise Refusal(401, "give the user and the password for this part", CHALLENGE)
        return Visitor(matches[0].user, can_change=False)

    def peer_ip(self, request: Request | Post) -> str:
        """Return the client's address. A Unix socket's peer has none: it is empty."""
        peer = _peer(request)
        if not self._proxies:
            return peer
        return proxies.client_of(self._proxies, peer, header(request, b"x-forwarded-for"))

    def base_url(self, request: Request) -> str:
        """Return where the client found us, with a slash at the end."""
        if self._url is not None:
            return self._url.rstrip("/") + "/"
        found = None
        if self._is_from_proxy(request):
            found = proxies.forwarded_base(lambda name: header(request, name.encode()))
        if found is not None:
            return found
        scheme = "https" if request.isSecure() else "http"
        return f"{scheme}://{header(request, b'host') or '127.0.0.1'}/"

    def _is_from_proxy(self, request: Request | Post) -> bool:
        return bool(self._proxies) and self._proxies.trust(_peer(request))

    def _remote_user(self, request: Request | Post) -> str | None:
        """Return whom a trusted proxy names; from anybody else the header counts nothing."""
        if self._remote_header is None or not self._is_from_proxy(request):
            return None
        assert isinstance(request, Request)
        values = request.requestHeaders.getRawHeaders(self._remote_header.encode(), [])
        if len(values) > 1:
            # The proxy let the client's own header through beside the one that it wrote.
            raise Refusal(403, f"{self._remote_header} came twice: the proxy has to replace it")
        user = values[0].decode(errors="replace").strip() if values else ""
        if len(user) > USER_CHARS or not (user.isprintable() or not user):
            raise Refusal(403, f"{self._remote_header} is no user's name")
        return user or None

    def _may_write(self, user: str) -> bool:
        # Whoever checks passwords may take a name in capitals too. So who is left out is left out
        # in any case, and who is named has to be just that one.
        writers, folded = self._remote_writers, self._folded_writers
        return writers.match(user) and folded.match(user.casefold())

    def _forwarded_host(self, request: Request | Post) -> str | None:
        if not self._is_from_proxy(request):
            return None
        return proxies.forwarded_host(lambda name: header(request, name.encode()))

    def _own_host(self) -> str | None:
        return None if self._url is None else urlsplit(self._url).netloc


def header(request: Request | Post, name: bytes) -> str | None:
    # Asked for text, Twisted raises for a header that is not UTF-8.
    value = request.getHeader(name)
    return None if value is None else value.decode(errors="replace")


def _peer(request: Request | Post) -> str:
    return getattr(request.getClientAddress(), "host", "")


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


def is_cross_site(fetch_site: str | None, origin: str | None, *hosts: str | None) -> bool:
    """Say whether a browser sent this request for a page of another site.

    A browser adds Basic credentials by itself, whichever page asks. Scripts send none of these
    headers and are let through. `hosts`: the names, each with its port, that are ours; a proxy may
    have put one of its own into `Host`.
    """
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    if origin is None:
        return False
    try:
        from_host = urlsplit(origin).netloc.lower()
    except ValueError:
        # No browser sends what is no URL.
        return True
    return not any(host is not None and host.lower() == from_host for host in hosts)
