"""Speak the reporting API, blocking, with nothing but the standard library.

The wire's field names are known here and in `overc.web.reports`, nowhere else but in the agent's
own encoder.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from overc import __version__
from overc.model import AlertReport, ServerIdentity

DEADLINE_S = 30.0
MAX_REPLY_BYTES = 64 * 1024


class ClientError(Exception):
    """A request that did not succeed. `str()` is one sentence, without any secret."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """Where a server is, and the HTTP Basic credentials it asks for."""

    secure: bool
    host: str
    port: int
    prefix: str
    """The path that the API's own paths follow, without a slash at the end."""
    credentials: bytes | None
    """`user:password`, decoded. No text made from this object shows them."""

    @property
    def authority(self) -> str:
        """Return `host:port`, the host in brackets if it is an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.prefix}/"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One state to report. What the server doesn't know as a state, it takes as UNK."""

    name: str
    state: str
    info: str = ""


def parse_url(text: str) -> ServerUrl:
    """Read `http[s]://[user:password@]host[:port][/prefix]`, the credentials %-encoded.

    Raises ValueError with a sentence that repeats nothing of a URL that may hold a password.
    """
    expected = "expected a URL such as http://mon.example.com:5000/"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").encode("ascii" if "[" in parts.netloc else "idna").decode()
    except ValueError:
        raise ValueError(f"{expected}{_advice_on_password(text)}") from None
    secure = parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(expected)
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(f"{expected}{_advice_on_password(text)}")
    if parts.query or parts.fragment:
        raise ValueError(f"{expected}, without ? and #")
    return ServerUrl(
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        prefix=quote(parts.path, safe="/%:!$&'()*+,;=~").rstrip("/"),
        credentials=_credentials(parts),
    )


def _advice_on_password(text: str) -> str:
    return "; write / ? # in a password as %2F %3F %23" if "@" in text else ""


def _credentials(parts: SplitResult) -> bytes | None:
    if parts.username is None:
        return None
    return unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")


class Client:
    """Reports to one server under one name. Each call is one request on its own connection.

    Redirects are not followed: the key is in the body. `deadline_s` bounds the attempt to connect
    to each address of the host, and then all of the exchange. `trace`, if given, gets each line of
    the request and the reply, secrets hidden.
    """

    def __init__(
        self,
        url: ServerUrl,
        identity: ServerIdentity,
        *,
        deadline_s: float = DEADLINE_S,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url
        self._identity = identity
        self._deadline_s = deadline_s
        self._trace = trace or (lambda _line: None)

    def ping(self) -> None:
        """Check the connection and the key. Raises ClientError."""
        self._call("/api/ping", {}, expected="pong")

    def set_service_status(self, period_s: int, services: Sequence[ServiceState]) -> None:
        """Report states, and promise the next ones within `period_s`. Raises ClientError."""
        listed = [{"name": s.name, "state": str(s.state), "info": s.info} for s in services]
        content = {"period": period_s, "services": listed}
        self._call("/api/set/service/status", content, expected="ok")

    def set_alerts(self, alerts: Sequence[AlertReport]) -> None:
        """Have messages passed on to people. Raises ClientError."""
        listed = []
        for alert in alerts:
            about = {} if alert.service is None else {"service": alert.service}
            listed.append({"message": alert.message, **about})
        self._call("/api/set/alerts", {"alerts": listed}, expected="ok")

    def _call(self, path: str, content: dict[str, Any], *, expected: str) -> None:
        self._trace(f"> POST {str(self.url)[:-1]}{path}")
        self._trace("> " + _encode("***", self._identity.name, content).decode())
        reply = self._exchange(path, _encode(self._identity.key, self._identity.name, content))
        self._trace(f"< {reply.status} {_one_line(reply.reason)}")
        self._trace("< " + _one_line(reply.body.decode("utf-8", "replace")))
        if reply.status != 200:
            raise ClientError(self._refusal(reply))
        if expected not in reply.fields():
            raise ClientError(f"{self.url} answers, but not as an OverC server does")

    def _refusal(self, reply: _Reply) -> str:
        sentence = reply.fields().get("error")
        if isinstance(sentence, str) and sentence.strip():
            return f"HTTP {reply.status}: {_one_line(sentence)}"
        said = f"HTTP {reply.status} {_one_line(reply.reason)} from {self.url}".replace("  ", " ")
        if reply.location:
            return f"{said}: it redirects to {_one_line(reply.location)}; give the final URL"
        if reply.status == 401:
            return f"{said}: put the right user:password@ into the URL"
        return f"{said}, which is not how an OverC server refuses: check the URL"

    def _exchange(self, path: str, body: bytes) -> _Reply:
        where = self.url.authority
        try:
            sock = socket.create_connection((self.url.host, self.url.port), self._deadline_s)
        except TimeoutError:
            raise ClientError(f"{where}: no connection within {self._deadline_s:g} s") from None
        except (OSError, UnicodeError) as e:
            raise ClientError(f"{where}: {_reason(e)}") from None
        ends_at = time.monotonic() + self._deadline_s
        try:
            if self.url.secure:
                context = ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=self.url.host)
            return self._post(_TimedSocket(sock, ends_at), path, body)
        except TimeoutError:
            raise ClientError(f"{where}: no reply within {self._deadline_s:g} s") from None
        except ssl.SSLCertVerificationError as e:
            raise ClientError(f"{where}: certificate refused: {e.verify_message}") from None
        except http.client.RemoteDisconnected:
            raise ClientError(f"{where}: closed the connection without a reply") from None
        except http.client.IncompleteRead:
            raise ClientError(f"{where}: the reply broke off") from None
        except http.client.HTTPException:
            raise ClientError(f"{where}: the reply is not HTTP: check the URL") from None
        except OSError as e:
            raise ClientError(f"{where}: {_reason(e)}") from None
        finally:
            sock.close()

    def _post(self, sock: _TimedSocket, path: str, body: bytes) -> _Reply:
        headers = {
            "Host": self.url.authority,
            "User-Agent": f"overcli/{__version__}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Connection": "close",
        }
        if self.url.credentials is not None:
            coded = base64.b64encode(self.url.credentials).decode()
            headers["Authorization"] = f"Basic {coded}"
        connection = http.client.HTTPConnection(self.url.host, self.url.port)
        connection.sock = cast(socket.socket, sock)
        connection.request("POST", self.url.prefix + path, body, headers)
        response = connection.getresponse()
        content = response.read(MAX_REPLY_BYTES + 1)
        if len(content) > MAX_REPLY_BYTES:
            raise ClientError(
                f"{self.url.authority}: the reply is over {MAX_REPLY_BYTES // 1024} KiB,"
                " longer than any of an OverC server: check the URL"
            )
        if response.length:
            raise http.client.IncompleteRead(content, response.length)
        return _Reply(response.status, response.reason, response.getheader("Location"), content)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    reason: str
    location: str | None
    body: bytes

    def fields(self) -> dict[str, Any]:
        """Return the JSON object in the body, an empty one if there is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class _TimedSocket(io.RawIOBase):
    """A connected socket under one deadline; a socket's own time-out starts anew with each byte."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._sock = sock
        self._ends_at = ends_at

    def sendall(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._arm()
        return self._sock.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Do nothing: HTTPConnection closes its socket before the reply has been read."""

    def _arm(self) -> None:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)


def _encode(key: str, name: str, content: dict[str, Any]) -> bytes:
    # A command's argument that is not UTF-8 holds surrogates, which no JSON may: they become `?`.
    text = json.dumps({"server": {"name": name, "key": key}, **content}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _one_line(text: str, limit: int = 500) -> str:
    """Return what a server sent in a form that is safe to show on a terminal."""
    words = " ".join(text.split())
    shown = "".join(c if c.isprintable() else "?" for c in words)
    return shown if len(shown) <= limit else shown[:limit] + "..."


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return "TLS failed: " + error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
