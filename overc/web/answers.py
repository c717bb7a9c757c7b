"""What a route returns, what it refuses with, and one decorator that turns both into HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.defer import TimeoutError as TwistedTimeout
from twisted.python.failure import Failure
from twisted.web.server import Request

from overc.daemon.intake import Overloaded
from overc.daemon.recording import WrongKey
from overc.daemon.store.errors import StorageError
from overc.logging import get_logger
from overc.web import compression
from overc.web.access import Refusal, header
from overc.web.reports import Malformed

RETRY_AFTER_S = 5

HTML = "text/html; charset=utf-8"

ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer, unless it says otherwise."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    content_type: str = "application/json"
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None
    """Stands for the body, where it is known before it is asked for."""
    packed: bytes | None = None
    """The body compressed, where that was done before."""


def as_json(value: Any) -> Answer:
    return Answer(msgspec.json.encode(value))


def refusal_of(error: BaseException, path: bytes, failure: Failure | None = None) -> Refusal:
    """Return the refusal that stands for an error.

    What is not known here is a fault of ours and goes to the log, from `failure` if it is not being
    handled just now.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Malformed):
        return Refusal(400, str(error))
    if isinstance(error, WrongKey):
        return Refusal(403, str(error))
    if isinstance(error, StorageError | Overloaded | TwistedTimeout):
        later = {"Retry-After": str(RETRY_AFTER_S)}
        sentence = "the server took too long" if isinstance(error, TwistedTimeout) else str(error)
        return Refusal(503, f"{sentence}. Nothing is lost if you send it again", later)
    log.failure("a request failed: {path!r}", failure, path=path)
    return Refusal(500, "the server failed: its log says why")


async def respond(
    request: Request,
    route: Callable[[], Awaitable[Answer]],
    reactor: Any,
    timeout_s: float,
    show: Callable[[Refusal], Answer],
) -> bytes:
    """Run a route within its time, set the status and the headers, return the body.

    `show` makes the answer that a refusal gets. A client that goes away cancels the route, never a
    transaction: that runs to its end in its thread.
    """
    running: Deferred[Answer] = ensureDeferred(_await(route))
    running.addTimeout(timeout_s, reactor)
    try:
        answer = await running
    except CancelledError:
        raise
    except Exception as error:
        answer = show(refusal_of(error, request.path))
    return await _write(request, answer)


async def _write(request: Request, answer: Answer) -> bytes:
    """Set the status and the headers; return the body in the form that the client takes."""
    code, body, headers = answer.code, answer.body, {**ALWAYS, **answer.headers}
    etag = answer.etag
    if len(body) >= compression.LEAST_BYTES and compression.is_compressible(answer.content_type):
        headers["Vary"] = "Accept-Encoding"
        if compression.takes_gzip(header(request, b"accept-encoding")):
            body = answer.packed or await compression.compressed(body)
            headers["Content-Encoding"] = "gzip"
            etag = etag and compression.gzip_etag(etag)
    if etag is not None:
        headers["ETag"] = etag
        if code == 200 and compression.has(header(request, b"if-none-match"), answer.etag or ""):
            code, body = 304, b""
            headers.pop("Content-Encoding", None)
    request.setResponseCode(code)
    if code != 304:
        request.setHeader("Content-Type", answer.content_type)
        request.setHeader("Content-Length", str(len(body)))
    for name, value in headers.items():
        request.setHeader(name, value)
    return body


async def _await(route: Callable[[], Awaitable[Answer]]) -> Answer:
    return await route()


def refusal_as_json(refusal: Refusal) -> Answer:
    body = json.dumps({"error": str(refusal)}, ensure_ascii=False).encode()
    return Answer(body, code=refusal.code, headers=refusal.headers)
