"""What one connection may cost: bytes of body, and time.

Note [Refused bodies]
~~~~~~~~~~~~~~~~~~~~~
A body that is too large is refused as soon as that shows: by its Content-Length before a byte of it
was read, or else when the bytes exceed the limit. The answer goes out at once; what the client
still sends is thrown away until it ends or its time is over, because closing at once would reset
the connection and destroy the answer before the client has read it.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel, datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from overc.web import shortcut

_CONNECTION_DONE = Failure(ConnectionDone())


class LimitedRequest(Request):
    """A request whose body is kept in memory, up to the site's `max_body_bytes`.

    Note [Short way]
    ~~~~~~~~~~~~~~~~
    Reports come by the thousand each second and are answered with a constant. For the site's
    `exact` routes the way through resources, Klein and header objects is left out: it costs more
    than decoding and storing a report does.
    """

    _refused = False

    def parseCookies(self) -> None:
        """Read none: we set none."""

    def process(self) -> None:
        serve = self._limited_channel().site.exact.get((self.method, self.path))
        if serve is None:
            super().process()
        else:
            serve(self)

    def body(self) -> bytes:
        assert self.content is not None
        content: bytes = self.content.read()
        return content

    def send(self, code: int, headers: bytes, body: bytes) -> None:
        """Answer in one piece; `headers` are whole lines. Does nothing if the client is gone."""
        if self._disconnected or self.finished:
            return
        if not self._limited_channel().persistent:
            headers = b"Connection: close\r\n" + headers
        self.startedWriting = 1
        self.channel.write(_answer(code, headers, body))
        self.finish()

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length is not None and length > self._limit():
            # Without the header no "100 Continue" follows our answer.
            self.requestHeaders.removeHeader(b"expect")
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        assert self.content is not None
        if self.content.tell() + len(data) > self._limit():
            self._refuse_body()
            return
        self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused and not _is_utf8(path):
            # Klein would answer with HTML, and put a traceback into the log.
            sentence = "the path is not UTF-8 text: encode it anew"
            self._refuse(raw_answer(400, "Bad Request", sentence))
        if self._refused:
            self.channel.loseConnection()
            return
        super().requestReceived(command, path, version)

    def getRequestHostname(self) -> bytes:
        # No route depends on it, and Klein fails on a Host header that is no host's name.
        return b"localhost"

    def _limit(self) -> int:
        return self._limited_channel().site.max_body_bytes

    def _limited_channel(self) -> LimitedChannel:
        assert isinstance(self.channel, LimitedChannel)
        return self.channel

    def _refuse_body(self) -> None:
        self.content = BytesIO()
        sentence = f"the body is larger than {self._limit()} bytes: send it in smaller parts"
        self._refuse(raw_answer(413, "Request Entity Too Large", sentence))

    def _refuse(self, answer: bytes) -> None:
        self._refused = True
        self._limited_channel().write_raw(answer)


class LimitedChannel(HTTPChannel):
    """A connection on which each request has to arrive within the site's `request_timeout_s`.

    Twisted's own time-out starts anew with every byte, so a client that drips would stay for ever.
    """

    site: LimitedSite
    _deadline: IDelayedCall | None = None
    _answered = False
    _received = 0
    """Requests that have arrived whole."""
    _serving_whole = False
    """One that came by Note [Whole posts] waits for its answer."""
    _held = b""
    """What the client has sent meanwhile."""

    def dataReceived(self, data: bytes) -> None:
        if self._serving_whole:
            self._held += data
            self._transport().pauseProducing()
            return
        if not self.requests and not self._buffer and not self._dataBuffer:
            whole = shortcut.split(data)
            if whole is not None and self._serve_whole(*whole):
                return
        self._twisted_way(data)

    def _serve_whole(self, head: shortcut.Head, body: bytes) -> bool:
        serve = self.site.exact.get((b"POST", head.path))
        if serve is None or head.length > self.site.max_body_bytes or self._answered:
            return False
        self.resetTimeout()
        self._serving_whole = True
        peer = self._transport().getPeer()
        serve(shortcut.WholePost(head, body, peer, self._answer_whole))
        return True

    def _answer_whole(self, code: int, headers: bytes, body: bytes) -> None:
        if not self._serving_whole:
            return
        self._serving_whole = False
        self.resetTimeout()
        self._transport().write(_answer(code, headers, body))
        if self._held:
            held, self._held = self._held, b""
            self._transport().resumeProducing()
            self.dataReceived(held)

    def timeoutConnection(self) -> None:
        if self._serving_whole:
            # The time is ours, not the client's.
            self.setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    def _twisted_way(self, data: bytes) -> None:
        whole = self._received
        super().dataReceived(data)
        # Nearly every request arrives in one piece and needs no timer.
        in_pieces = bool(self.requests or self._buffer) or self._received == whole
        if in_pieces and self._deadline is None and not self._handlingRequest:
            self._deadline = self.callLater(self.site.request_timeout_s, self._out_of_time)

    def allContentReceived(self) -> None:
        self._received += 1
        self._end_deadline()
        super().allContentReceived()

    def write_raw(self, answer: bytes) -> None:
        """Send the connection's last answer, where no request is whole enough to send it."""
        assert self.transport is not None
        self._answered = True
        self.transport.write(answer)

    def connectionLost(self, reason: Failure = _CONNECTION_DONE) -> None:
        self._serving_whole = False
        self._end_deadline()
        super().connectionLost(reason)

    def _transport(self) -> Any:
        return self.transport

    def _end_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _out_of_time(self) -> None:
        self._deadline = None
        if not self._answered:
            sentence = f"the request did not arrive within {self.site.request_timeout_s:g} s"
            self.write_raw(raw_answer(408, "Request Time-out", sentence))
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()


class LimitedSite(Site):
    """A Site with these limits, and without an access log."""

    noisy = False
    protocol = LimitedChannel  # type: ignore[assignment]  # Twisted's own does HTTP/2 too

    def __init__(
        self,
        resource: IResource,
        reactor: Any,
        max_body_bytes: int,
        request_timeout_s: float,
        exact: Mapping[tuple[bytes, bytes], shortcut.Serve] | None = None,
    ) -> None:
        """`exact`: routes by method and path that are served without the resource."""
        super().__init__(
            resource,
            requestFactory=LimitedRequest,
            reactor=reactor,
            timeout=60,
            parsePOSTFormSubmission=False,
        )
        self.max_body_bytes = max_body_bytes
        self.request_timeout_s = request_timeout_s
        self.displayTracebacks = False
        self.exact = exact or {}

    def log(self, request: Any) -> None:
        """Log nothing: agents report every few seconds."""


def _answer(code: int, headers: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Length: %d\r\n%s\r\n%s" % (
        code, RESPONSES.get(code, b""), _http_date(int(time.time())), len(body), headers, body
    )  # fmt: skip


@functools.lru_cache(maxsize=2)
def _http_date(second: int) -> bytes:
    date: bytes = datetimeToString(second)
    return date


def _is_utf8(path: bytes) -> bool:
    try:
        unquote_to_bytes(path.partition(b"?")[0]).decode()
    except UnicodeDecodeError:
        return False
    return True


def raw_answer(code: int, phrase: str, sentence: str) -> bytes:
    """Return a whole answer that ends its connection, for where there is no request to answer."""
    body = json.dumps({"error": sentence}).encode()
    head = (
        f"HTTP/1.1 {code} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
