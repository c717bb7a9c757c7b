"""Speak the server's APIs, blocking, with nothing but the standard library.

The wire's field names are known here and in `overc.web`, nowhere else but in the agent's own
encoder.
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
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlencode, urlsplit

from overc import __version__
from overc.model import AlertReport, ServerIdentity, Spooled

DEADLINE_S = 30.0
MAX_REPLY_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""For what the dashboard's API tells of all services."""

ALERT_TEST_S = 600.0
"""Each alert plugin may take its own time-out, and the server waits for all of them."""

Json = dict[str, Any]


class ClientError(Exception):
    """A request that did not succeed. `str()` is one sentence, without any secret."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        """Of the reply; None where none came, or none of an OverC server."""


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
    grace: float | str | None = None
    """Seconds, or a share of the period such as "20%"; None: as the server's rules say."""
    seen_at: float | None = None
    """Epoch seconds, for what is reported later than it was seen."""

    def fields(self) -> Json:
        content: Json = {"name": self.name, "state": str(self.state), "info": self.info}
        if self.grace is not None:
            content["grace"] = self.grace
        if self.seen_at is not None:
            content["time"] = self.seen_at
        return content


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
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        self._identity = identity
        self._http = _Http(url, trace, MAX_REPLY_BYTES, tls)
        self._deadline_s = deadline_s

    def ping(self) -> None:
        """Check the connection and the key. Raises ClientError."""
        self._call("/api/ping", {}, expected="pong")

    def set_service_status(
        self,
        period_s: int,
        services: Sequence[ServiceState],
        spooled: Spooled | None = None,
    ) -> None:
        """Report states, and promise the next ones within `period_s`. Raises ClientError.

        With `spooled`, a report that was stored before is stored no second time.
        """
        content: Json = {"period": period_s, "services": [one.fields() for one in services]}
        if spooled is not None:
            content |= {"spool": spooled.spool, "seq": spooled.seq}
        self._call("/api/set/service/status", content, expected="ok")

    def set_alerts(self, alerts: Sequence[AlertReport]) -> None:
        """Have messages passed on to people. Raises ClientError."""
        listed = []
        for alert in alerts:
            about = {} if alert.service is None else {"service": alert.service}
            listed.append({"message": alert.message, **about})
        self._call("/api/set/alerts", {"alerts": listed}, expected="ok")

    def snooze(self, for_s: float, reason: str, services: str | None = None) -> Json:
        """Silence this host's own alerts for a time. Raises ClientError."""
        about = {} if services is None else {"services": services}
        content = {"for": for_s, "reason": reason, **about}
        return self._call("/api/set/silence", content, expected="ok")

    def end_snooze(self) -> Json:
        """End what `snooze` began. Raises ClientError."""
        return self._call("/api/set/silence", {"end": True}, expected="ok")

    def _call(self, path: str, content: Json, *, expected: str) -> Json:
        name, key = self._identity
        body, shown = _encode(key, name, content), _encode("***", name, content)
        return self._http.call("POST", path, body, shown, self._deadline_s, expected)


class Operator:
    """Speaks the dashboard's API for people: what is, why, and who shall not hear of it.

    Redirects are not followed. A service is named by its id, or by its server's name and its own.
    Every method raises ClientError.
    """

    def __init__(
        self,
        url: ServerUrl,
        *,
        deadline_s: float = DEADLINE_S,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url
        self._http = _Http(url, trace, MAX_ANSWER_BYTES)
        self._deadline_s = deadline_s

    def status(self) -> Json:
        return self._call("GET", "/ui/api/status/", expected="servers")

    def acknowledge(self, service: ServiceName, author: str, reason: str) -> Json:
        content = {**service.fields(), "author": author, "reason": reason}
        return self._call("POST", "/ui/api/ack", content)

    def unacknowledge(self, service: ServiceName) -> Json:
        return self._call("DELETE", "/ui/api/ack", service.fields())

    def silences(self) -> Json:
        return self._call("GET", "/ui/api/silences", expected="silences")

    def silence(self, servers: str, services: str, span: Json, author: str, reason: str) -> Json:
        """`span`: `{"for": seconds}` or `{"until": epoch seconds}`, and maybe `"from"` too."""
        content = {"servers": servers, "services": services, "author": author, "reason": reason}
        return self._call("POST", "/ui/api/silences", {**content, **span})

    def unsilence(self, silence_id: int) -> Json:
        return self._call("DELETE", f"/ui/api/silences/{silence_id}")

    def explain(self, service: ServiceName, utc_offset_min: int) -> Json:
        """Say why a service is shown, and was told of, as it was; in sentences under `text`.

        `utc_offset_min`: by which clock the sentences tell times.
        """
        query: dict[str, Any] = {"utc_offset": utc_offset_min}
        path = "/ui/api/explain"
        if service.id is None:
            query |= service.fields()
        else:
            path += f"/service/{service.id}"
        return self._call("GET", f"{path}?{urlencode(query, errors='replace')}", expected="text")

    def test_alerts(self, plugin: str | None) -> Json:
        """Have a test sent through each alert plugin, or through one."""
        content = {} if plugin is None else {"plugin": plugin}
        return self._call(
            "POST", "/ui/api/alert-test", content, expected="results", deadline_s=ALERT_TEST_S
        )

    def _call(
        self,
        method: str,
        path: str,
        content: Json | None = None,
        *,
        expected: str = "ok",
        deadline_s: float | None = None,
    ) -> Json:
        body = None if content is None else _as_bytes(content)
        return self._http.call(method, path, body, body, deadline_s or self._deadline_s, expected)


@dataclass(frozen=True, slots=True)
class ServiceName:
    """Which service is meant: by its id or, without one, by names."""

    id: int | None
    server: str = ""
    service: str = ""

    def fields(self) -> Json:
        if self.id is not None:
            return {"service_id": self.id}
        return {"server": self.server, "service": self.service}


class _Http:
    """Makes requests to one server and reads what it answers."""

    def __init__(
        self,
        url: ServerUrl,
        trace: Callable[[str], None] | None,
        max_reply_bytes: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        self._tls = tls
        self._trace = trace or (lambda _line: None)
        self._max_reply_bytes = max_reply_bytes

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        shown: bytes | None,
        deadline_s: float,
        expected: str,
    ) -> Json:
        """Return the fields of the reply, `expected` among them. Raises ClientError.

        `shown`: what the trace gets in the body's place.
        """
        self._trace(f"> {method} {str(self.url)[:-1]}{path}")
        if shown is not None:
            self._trace("> " + shown.decode())
        reply = self._exchange(method, path, body, deadline_s)
        self._trace(f"< {reply.status} {_one_line(reply.reason)}")
        self._trace("< " + _one_line(reply.body.decode("utf-8", "replace")))
        if reply.status != 200:
            raise ClientError(self._refusal(reply), reply.status)
        fields = reply.fields()
        if expected not in fields:
            raise ClientError(f"{self.url} answers, but not as an OverC server does")
        return fields

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

    def _exchange(self, method: str, path: str, body: bytes | None, deadline_s: float) -> _Reply:
        where = self.url.authority
        connect_s = min(deadline_s, DEADLINE_S)
        try:
            sock = socket.create_connection((self.url.host, self.url.port), connect_s)
        except TimeoutError:
            raise ClientError(f"{where}: no connection within {connect_s:g} s") from None
        except (OSError, UnicodeError) as e:
            raise ClientError(f"{where}: {_reason(e)}") from None
        ends_at = time.monotonic() + deadline_s
        try:
            if self.url.secure:
                context = self._tls or ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=self.url.host)
            return self._request(_TimedSocket(sock, ends_at), method, path, body)
        except TimeoutError:
            raise ClientError(f"{where}: no reply within {deadline_s:g} s") from None
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

    def _request(self, sock: _TimedSocket, method: str, path: str, body: bytes | None) -> _Reply:
        headers = {
            "Host": self.url.authority,
            "User-Agent": f"overcli/{__version__}",
            "Accept": "application/json",
            "Connection": "close",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.url.credentials is not None:
            coded = base64.b64encode(self.url.credentials).decode()
            headers["Authorization"] = f"Basic {coded}"
        connection = http.client.HTTPConnection(self.url.host, self.url.port)
        connection.sock = cast(socket.socket, sock)
        connection.request(method, self.url.prefix + path, body, headers)
        response = connection.getresponse()
        content = response.read(self._max_reply_bytes + 1)
        if len(content) > self._max_reply_bytes:
            raise ClientError(
                f"{self.url.authority}: the reply is over {self._max_reply_bytes // 1024} KiB,"
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

    def fields(self) -> Json:
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


def _encode(key: str, name: str, content: Json) -> bytes:
    return _as_bytes({"server": {"name": name, "key": key}, **content})


def _as_bytes(content: Json) -> bytes:
    # A command's argument that is not UTF-8 holds surrogates, which no JSON may: they become `?`.
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def _one_line(text: str, limit: int = 500) -> str:
    """Return what a server sent as one line that is safe to show on a terminal."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= limit else shown[:limit] + "..."


def printable(text: str) -> str:
    """Return a text that moves no cursor and rings no bell."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return "TLS failed: " + error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
