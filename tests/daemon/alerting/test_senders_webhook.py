"""The webhook against real servers, good and bad. No connection may be left, whatever they do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from message_doubles import RAISED_AT, a_notice, several, single
from support_daemon import FakeClock
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock
from zope.interface import directlyProvides, providedBy

from overc import transport
from overc.daemon.alerting.alert_settings import AlertPlugin, Format
from overc.daemon.alerting.messages import Kind, Message
from overc.daemon.alerting.senders import Attempt, make_sender
from overc.daemon.alerting.senders.webhook import RETRY_AFTER_MOST_S, WebhookSender
from overc.process import Runner
from overc.transport import ReplyReader

real_reactor: Any = global_reactor
TIMEOUT_S = 7.0
PATIENCE_S = 30.0
MESSAGE = single(a_notice())


def patiently(fired: Deferred[None]) -> Deferred[None]:
    """Let a test fail that waits for what does not come."""
    return fired.addTimeout(PATIENCE_S, real_reactor)


class HandReactor:
    """The real reactor, but for the time limit, which passes when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        directlyProvides(self, providedBy(real_reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(real_reactor, name)

    def callLater(self, delay: float, *args: Any, **kwargs: Any) -> Any:
        timers = self.clock if delay == TIMEOUT_S else real_reactor
        return timers.callLater(delay, *args, **kwargs)


class Receiver(Factory):
    """Keeps what it is sent, and answers as it is told once a request is there."""

    noisy = False

    def __init__(self, answer: bytes | Callable[[Any], None]) -> None:
        self.answer = answer
        self.asked: Deferred[None] = Deferred()
        self.received = b""
        self.open = 0
        self.at_once = False
        """It answers before it has read the whole request."""
        self.protocols: list[Any] = []
        self._all_gone: Deferred[None] | None = None

    def buildProtocol(self, addr: object) -> Protocol:
        return Answering(self)

    def is_whole(self) -> bool:
        head, _, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        return length is not None and len(body) >= int(length[1])

    def gone(self) -> Deferred[None]:
        """Fire when no connection is left."""
        if self.open == 0:
            return succeed(None)
        self._all_gone = patiently(Deferred())
        return self._all_gone

    def closed_one(self) -> None:
        self.open -= 1
        if self.open == 0 and self._all_gone is not None:
            self._all_gone.callback(None)


class Answering(Protocol):
    transport: Any

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def connectionMade(self) -> None:
        self.receiver.open += 1
        self.receiver.protocols.append(self)

    def dataReceived(self, data: bytes) -> None:
        receiver = self.receiver
        receiver.received += data
        if not receiver.asked.called and (receiver.at_once or receiver.is_whole()):
            if callable(receiver.answer):
                receiver.answer(self)
            else:
                self.transport.write(receiver.answer)
            receiver.asked.callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        self.receiver.closed_one()


def reply(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *headers, "", body]
    return "\r\n".join(lines).encode()


class Bench:
    """A receiver, and a sender to it."""

    def __init__(self) -> None:
        self.reactor = HandReactor()
        self.clock = FakeClock(wall_at=RAISED_AT)
        self.ports: list[Any] = []
        self.receiver = Receiver(b"")

    def sender(
        self,
        answer: bytes | Callable[[Any], None],
        path: str = "/hook",
        *,
        form: Format = Format.JSON,
        user: str = "",
        tls: Any = None,
        host: str = "127.0.0.1",
    ) -> WebhookSender:
        self.receiver = Receiver(answer)
        if tls is None:
            port = real_reactor.listenTCP(0, self.receiver, interface="127.0.0.1")
        else:
            port = real_reactor.listenSSL(0, self.receiver, tls, interface="127.0.0.1")
        self.ports.append(port)
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://{user}{host}:{port.getHost().port}{path}"
        plugin = AlertPlugin("hook", webhook=url, format=form, timeout_s=TIMEOUT_S)
        runner = Runner(real_reactor)
        sender = make_sender(plugin, runner, self.reactor, self.clock, "https://mon", {})
        assert isinstance(sender, WebhookSender)
        return sender

    def send(self, sender: WebhookSender, message: Message = MESSAGE) -> Deferred[Attempt]:
        return Deferred.fromCoroutine(sender.send(message)).addTimeout(PATIENCE_S, real_reactor)

    @property
    def head(self) -> list[str]:
        return self.receiver.received.partition(b"\r\n\r\n")[0].decode().split("\r\n")

    @property
    def body(self) -> Any:
        return json.loads(self.receiver.received.partition(b"\r\n\r\n")[2])


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for port in bench.ports:
        pytest_twisted.blockon(port.stopListening())


@pytest_twisted.ensureDeferred
async def test_a_message_is_posted(bench: Bench) -> None:
    sender = bench.sender(reply("200 OK", "thanks\n"), "/hook?token=abcdefgh", user="me:pä%3Ass@")
    attempt = await bench.send(sender)
    assert attempt == Attempt(True, "status 200: thanks")
    await bench.receiver.gone()
    assert bench.head[0] == "POST /hook?token=abcdefgh HTTP/1.1"
    assert "Authorization: Basic bWU6cMOkOnNz" in bench.head
    assert "Content-Type: application/json" in bench.head
    assert f"Idempotency-Key: overc-7-{int(RAISED_AT)}" in bench.head
    assert not any(line.startswith("Accept-Encoding") for line in bench.head)
    assert bench.body["title"] == 'localhost a: [service:state/WARN] State changed: "OK" -> "WARN"'
    assert bench.body["url"] == "https://mon/ui/service/4"


@pytest_twisted.ensureDeferred
async def test_in_alertmanagers_format(bench: Bench) -> None:
    sender = bench.sender(reply("204 No Content"), form=Format.ALERTMANAGER)
    assert await bench.send(sender) == Attempt(True, "status 204")
    assert (bench.body["version"], bench.body["receiver"]) == ("4", "hook")
    assert bench.body["alerts"][0]["status"] == "firing"


@pytest_twisted.ensureDeferred
async def test_as_text(bench: Bench) -> None:
    sender = bench.sender(reply("200 OK"), form=Format.TEXT)
    assert (await bench.send(sender)).delivered
    assert "Content-Type: text/plain; charset=utf-8" in bench.head
    assert bench.receiver.received.endswith(b'"OK" -> "WARN"\nCurrent: WARN: hey3\n')


@pytest_twisted.ensureDeferred
async def test_a_reminder_is_another_message(bench: Bench) -> None:
    """A receiver that drops what it knows already must not drop it."""
    sender = bench.sender(reply("200 OK"))
    await bench.send(sender, several(Kind.SINGLE, a_notice(reminder=True)))
    assert not any(line.startswith("Idempotency-Key") for line in bench.head)


@pytest.mark.parametrize(
    "answer, words, retry_after",
    [
        (reply("500 Oops", "it\nbroke"), "does not take it: status 500: it broke", None),
        (reply("404 Not Found"), "does not take it: status 404", None),
        (reply("401 Unauthorized"), "wants a user and a password: put user:password@", None),
        (reply("429 Slow", "", "Retry-After: 120"), "does not take it: status 429", 120.0),
        (reply("503 Busy", "", "Retry-After: 99999999999"), "status 503", RETRY_AFTER_MOST_S),
        (reply("503 Busy", "", "Retry-After: soon"), "status 503", None),
        (
            reply("503 Busy", "", "Retry-After: Sun, 01 Mar 2026 10:05:00 GMT"),
            "status 503",
            300.0,
        ),
        (
            reply("500 Oops", "no token abcdefgh for user s3cret"),
            "status 500: no token *** for user ***",
            None,
        ),
        (b"this is no HTTP\r\n\r\n", "can't be reached: ", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refusals(bench: Bench, answer: bytes, words: str, retry_after: float | None) -> None:
    sender = bench.sender(answer, "/hook/abcdefgh", user="me:s3cret@")
    attempt = await bench.send(sender)
    assert not attempt.delivered
    assert attempt.words.startswith("http://127.0.0.1:")
    assert words in attempt.words
    assert attempt.retry_after_s == retry_after
    assert "abcdefgh" not in attempt.words
    assert "s3cret" not in attempt.words
    await bench.receiver.gone()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location, where",
    [
        ("https://elsewhere.example.com/abcdefgh", "https://elsewhere.example.com"),
        ("/x", "another"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed(
    bench: Bench, code: int, location: str, where: str
) -> None:
    sender = bench.sender(reply(f"{code} Moved", "", f"Location: {location}"))
    attempt = await bench.send(sender)
    assert not attempt.delivered
    assert f" redirects to {where}" in attempt.words
    assert "put the final address into webhook=" in attempt.words
    assert "abcdefgh" not in attempt.words
    assert len(bench.receiver.protocols) == 1
    await bench.receiver.gone()


def endless(status: str) -> Callable[[Any], None]:
    class Endless:
        def __init__(self, transport: Any) -> None:
            self.transport = transport

        def resumeProducing(self) -> None:
            self.transport.write(b"x" * 65536)

        def stopProducing(self) -> None:
            pass

    def answer(protocol: Any) -> None:
        protocol.transport.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        protocol.transport.registerProducer(Endless(protocol.transport), False)

    return answer


@pytest.mark.parametrize("status, delivered", [("200 OK", True), ("500 Oops", False)])
@pytest_twisted.ensureDeferred
async def test_a_reply_that_never_ends_is_cut(bench: Bench, status: str, delivered: bool) -> None:
    attempt = await bench.send(bench.sender(endless(status)))
    assert attempt.delivered is delivered
    assert f"status {status[:3]}: xxx" in attempt.words
    assert len(attempt.words) < 1000
    await bench.receiver.gone()


def silent(protocol: Any) -> None:
    """Read the request, and say nothing."""


def a_part_of_the_head(protocol: Any) -> None:
    protocol.transport.write(b"HTTP/1.1 200 OK\r\nA: ")


@pytest.mark.parametrize("answer", [silent, a_part_of_the_head])
@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_is_left(bench: Bench, answer: Callable[[Any], None]) -> None:
    sending = bench.send(bench.sender(answer))
    await patiently(bench.receiver.asked)
    bench.reactor.clock.advance(TIMEOUT_S)
    attempt = await sending
    assert not attempt.delivered
    assert attempt.words.endswith(" gave no answer within 7 s")
    await bench.receiver.gone()


@pytest.fixture
def reply_begun(monkeypatch: pytest.MonkeyPatch) -> Deferred[None]:
    """Return what fires when the first part of a reply's body has been read."""
    begun: Deferred[None] = Deferred()

    class Watched(ReplyReader):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if not begun.called:
                begun.callback(None)

    monkeypatch.setattr(transport, "ReplyReader", Watched)
    return begun


@pytest_twisted.ensureDeferred
async def test_a_server_that_answers_and_does_not_read_is_left(
    bench: Bench, reply_begun: Deferred[None]
) -> None:
    """More is to be written than fits into buffers: a polite end would wait for it."""
    size = 16 * 1024 * 1024

    def answer(protocol: Any) -> None:
        protocol.transport.pauseProducing()
        protocol.transport.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 99\r\n\r\nso far")

    sender = bench.sender(answer, form=Format.TEXT)
    bench.receiver.at_once = True
    sending = bench.send(sender, single(a_notice(info="x" * size)))
    await patiently(reply_begun)
    bench.reactor.clock.advance(TIMEOUT_S)
    assert (await sending).words.endswith("status 500: so far")
    [protocol] = bench.receiver.protocols
    protocol.transport.resumeProducing()
    await bench.receiver.gone()
    assert len(bench.receiver.received) < size


@pytest.mark.parametrize("status, delivered", [("200 OK", True), ("500 Oops", False)])
@pytest_twisted.ensureDeferred
async def test_a_reply_that_stalls_has_said_enough(
    bench: Bench, status: str, delivered: bool, reply_begun: Deferred[None]
) -> None:
    """Whoever said 200 has the message: to send it again would be one too many."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: 99\r\n\r\nso far".encode()
    sending = bench.send(bench.sender(head))
    await patiently(reply_begun)
    bench.reactor.clock.advance(TIMEOUT_S)
    attempt = await sending
    assert attempt.delivered is delivered
    assert f"status {status[:3]}: so far" in attempt.words
    await bench.receiver.gone()


@pytest_twisted.ensureDeferred
async def test_cancelling_hangs_up(bench: Bench) -> None:
    """As a stopping server does."""
    sending = bench.send(bench.sender(silent))
    await patiently(bench.receiver.asked)
    sending.cancel()
    with pytest.raises(CancelledError):
        await sending
    await bench.receiver.gone()
    assert not bench.reactor.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_nobody_is_there(bench: Bench) -> None:
    sender = bench.sender(b"")
    await bench.ports.pop().stopListening()
    attempt = await bench.send(sender)
    assert not attempt.delivered
    assert "can't be reached: Connection was refused" in attempt.words


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for `localhost`, signed by nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    path = tmp_path_factory.mktemp("tls") / "identity.pem"
    path.write_bytes(
        key.private_bytes(pem, form, serialization.NoEncryption()) + certificate.public_bytes(pem)
    )
    return path


def of(identity: Path) -> Any:
    return PrivateCertificate.loadPEM(identity.read_bytes()).options()


@pytest.mark.parametrize(
    "host, trusted, words",
    [
        ("localhost", True, None),
        ("localhost", False, "its certificate is not signed by anybody"),
        ("127.0.0.1", True, "its certificate is for another host"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_certificate_has_to_be_right(
    bench: Bench,
    identity: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    trusted: bool,
    words: str | None,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(identity))
    sender = bench.sender(reply("200 OK"), tls=of(identity), host=host)
    attempt = await bench.send(sender)
    assert attempt.delivered is (words is None), attempt.words
    assert (words or "status 200") in attempt.words
    assert bench.receiver.received.startswith(b"POST" if words is None else b"")
    assert bool(bench.receiver.received) is (words is None)
    await bench.receiver.gone()
