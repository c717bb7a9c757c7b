"""The blocking client: what goes over the wire, and the sentence for each thing that goes wrong."""

from __future__ import annotations

import base64
import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_server import FakeServer, reply, running

from overc import __version__
from overc.client import (
    MAX_REPLY_BYTES,
    Client,
    ClientError,
    ServerUrl,
    ServiceState,
    parse_url,
)
from overc.model import AlertReport, ServerIdentity, Spooled, State

IDENTITY = ServerIdentity("localhost", "1:2 ü")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


def client_of(server: FakeServer, **options: Any) -> Client:
    return Client(parse_url(server.url), IDENTITY, **options)


def error_of(client: Client) -> str:
    with pytest.raises(ClientError) as caught:
        client.ping()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text, url",
    [
        ("http://mon:5000/", ServerUrl(False, "mon", 5000, "", None)),
        ("http://mon", ServerUrl(False, "mon", 80, "", None)),
        ("https://mon", ServerUrl(True, "mon", 443, "", None)),
        ("HTTPS://MON:5000", ServerUrl(True, "mon", 5000, "", None)),
        ("http://mon/over/c//", ServerUrl(False, "mon", 80, "/over/c", None)),
        ("http://mon/ü%20 x", ServerUrl(False, "mon", 80, "/%C3%BC%20%20x", None)),
        ("http://[::1]:5000/", ServerUrl(False, "::1", 5000, "", None)),
        ("http://münchen.de/", ServerUrl(False, "xn--mnchen-3ya.de", 80, "", None)),
        ("http://u:p@mon/", ServerUrl(False, "mon", 80, "", b"u:p")),
        ("http://u@mon/", ServerUrl(False, "mon", 80, "", b"u:")),
        ("http://u:p@q:r@mon/", ServerUrl(False, "mon", 80, "", b"u:p@q:r")),
        ("http://u%40v:%2F%C3%BC%FF+@mon/", ServerUrl(False, "mon", 80, "", b"u@v:/\xc3\xbc\xff+")),
    ],
)
def test_urls(text: str, url: ServerUrl) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text, advice",
    [
        ("", ""),
        ("mon", ""),
        ("mon:5000", ""),
        ("ftp://mon/", ""),
        ("http://", ""),
        ("http:///api", ""),
        ("http://mon:x/", ""),
        ("http://mon:0/", ""),
        ("http://mon:65536/", ""),
        ("http://[::1/", ""),
        ("http://a..b/", ""),
        ("http://mon/?a=b", ", without ? and #"),
        ("http://mon/#a", ", without ? and #"),
        ("http://u:s3/cret@mon/", "; write / ? # in a password as %2F %3F %23"),
        ("http://u:12/s3cret@mon/", "; write / ? # in a password as %2F %3F %23"),
        ("http://u:12?s3cret@mon/", "; write / ? # in a password as %2F %3F %23"),
        ("http://u:12#s3cret@mon/", "; write / ? # in a password as %2F %3F %23"),
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(text: str, advice: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_url(text)
    expected = f"expected a URL such as http://mon.example.com:5000/{advice}"
    assert str(caught.value) == expected
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "text, shown",
    [
        ("https://u:s3cret@mon/over/c", "https://mon:443/over/c/"),
        ("http://[::1]:5000", "http://[::1]:5000/"),
    ],
)
def test_a_url_shows_no_password(text: str, shown: str) -> None:
    url = parse_url(text)
    assert (str(url), repr(url), f"{url}") == (shown, shown, shown)


def test_ping(server: FakeServer) -> None:
    client_of(server).ping()
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/api/ping")
    assert request.json == {"server": {"name": "localhost", "key": "1:2 ü"}}
    assert request.headers["Host"] == server.authority
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == f"overcli/{__version__}"
    assert request.headers["Authorization"] is None


def test_service_status(server: FakeServer) -> None:
    services = [ServiceState("que", State.WARN, "3 ☃"), ServiceState("odd", "HEY")]
    client_of(server).set_service_status(60, services)
    [request] = server.requests
    assert request.path == "/api/set/service/status"
    assert request.json == {
        "server": {"name": "localhost", "key": "1:2 ü"},
        "period": 60,
        "services": [
            {"name": "que", "state": "WARN", "info": "3 ☃"},
            {"name": "odd", "state": "HEY", "info": ""},
        ],
    }


def test_alerts(server: FakeServer) -> None:
    client_of(server).set_alerts([AlertReport("down"), AlertReport("late", "que")])
    [request] = server.requests
    assert request.path == "/api/set/alerts"
    assert request.json["alerts"] == [{"message": "down"}, {"message": "late", "service": "que"}]


def test_what_is_not_unicode_is_sent_as_question_marks(server: FakeServer) -> None:
    client_of(server).set_alerts([AlertReport("caf\udce9 ü")])
    assert server.requests[0].json["alerts"] == [{"message": "caf? ü"}]


def test_path_prefix_and_credentials(server: FakeServer) -> None:
    url = parse_url(f"http://a%3Ab:%C3%BC%20@{server.authority}/over/c/")
    Client(url, IDENTITY).ping()
    [request] = server.requests
    assert request.path == "/over/c/api/ping"
    coded = base64.b64encode("a:b:ü ".encode()).decode()
    assert request.headers["Authorization"] == f"Basic {coded}"


@pytest.mark.parametrize(
    "status, body, sentence",
    [
        (403, {"error": "Invalid server key: ask"}, "HTTP 403: Invalid server key: ask"),
        (400, {"error": "services[2].name: expected"}, "HTTP 400: services[2].name: expected"),
        (503, {"error": " Try\n\tagain \x1b[31m"}, "HTTP 503: Try again ?[31m"),
        (500, {"error": "x" * 600}, f"HTTP 500: {'x' * 500}..."),
        (201, {"pong": 1}, "HTTP 201 Said So from URL, which is not how"),
        (401, "<html>", "HTTP 401 Said So from URL: put the right user:password@ into the URL"),
    ]
    + [
        (500, body, "HTTP 500 Said So from URL, which is not how an OverC server refuses:")
        for body in ("<html>", "", "[]", '{"error": 1}', '{"error": " "}', b"\xff", "[" * 50000)
    ],
)
def test_refusals(server: FakeServer, status: int, body: Any, sentence: str) -> None:
    server.answer = [reply(status, body)]
    assert error_of(client_of(server)).startswith(sentence.replace("URL", server.url, 1))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_not_followed(server: FakeServer, status: int) -> None:
    with running() as other:
        server.answer = [reply(status, "", Location=f"{other.url}api/ping")]
        assert error_of(client_of(server)) == (
            f"HTTP {status} Said So from {server.url}: it redirects to {other.url}api/ping;"
            " give the final URL"
        )
        assert other.requests == []


@pytest.mark.parametrize("body", ["<html>", "", "[]", "null", '"pong"', '{"ok": 1}'])
def test_success_of_something_that_is_no_overc_server(server: FakeServer, body: str) -> None:
    server.answer = [reply(200, body)]
    assert error_of(client_of(server)) == f"{server.url} answers, but not as an OverC server does"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HUGE = b"x" * (MAX_REPLY_BYTES + 1)


@pytest.mark.parametrize(
    "answer, reason",
    [
        ([b""], "closed the connection without a reply"),
        ([b"SSH-2.0-OpenSSH\r\n"], "the reply is not HTTP: check the URL"),
        ([b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500], "the reply is not HTTP: check the URL"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}"], "the reply broke off"),
        ([CHUNKED + b'5\r\n{"po'], "the reply broke off"),
        ([reply(200, HUGE)], "the reply is over 64 KiB, longer than any of an OverC server:"),
        ([reply(500, HUGE)], "the reply is over 64 KiB, longer than any of an OverC server:"),
        ([CHUNKED + b"10001\r\n" + HUGE], "the reply is over 64 KiB, longer than any of an"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + HUGE], "the reply is over 64 KiB, longer than any of an"),
    ],
    ids=range(9),
)
def test_replies_that_are_none(server: FakeServer, answer: list[bytes], reason: str) -> None:
    server.answer = answer
    assert error_of(client_of(server)).startswith(f"{server.authority}: {reason}")


@pytest.mark.parametrize(
    "answer",
    [
        [CHUNKED + b'5\r\n{"pon\r\n5\r\ng":1}\r\n0\r\n\r\n'],
        [b'HTTP/1.0 200 OK\r\n\r\n{"pong": 1, "more": []}'],
        [b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{"pong": 1}'],
        [reply(200, '{"pong": 1}' + " " * (MAX_REPLY_BYTES - 11))],
    ],
    ids=["chunked", "HTTP/1.0", "after 100", "just short enough"],
)
def test_other_forms_of_success(server: FakeServer, answer: list[bytes]) -> None:
    server.answer = answer
    client_of(server).ping()


def test_no_answer_within_the_deadline(server: FakeServer) -> None:
    server.silent = True
    expected = f"{server.authority}: no reply within 0.2 s"
    assert error_of(client_of(server, deadline_s=0.2)) == expected


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "body"])
def test_a_dripping_answer_does_not_outlive_the_deadline(server: FakeServer, head: bytes) -> None:
    server.answer = [head or b"HTTP/1.1 200 OK\r\nA: ", *[b"x"] * 100]
    server.pause_s = 0.05
    expected = f"{server.authority}: no reply within 0.2 s"
    assert error_of(client_of(server, deadline_s=0.2)) == expected


class SlowSocket:
    """Takes ten seconds of a clock of its own for everything, and hands out single bytes."""

    def __init__(self, answer: bytes) -> None:
        self.now_s = 1000.0
        self.closed = False
        self.timeouts_s: list[float] = []
        self._answer = iter(answer)

    def settimeout(self, timeout_s: float) -> None:
        self.timeouts_s.append(timeout_s)

    def sendall(self, data: bytes) -> None:
        self.now_s += 10

    def recv_into(self, buffer: bytearray) -> int:
        self.now_s += 10
        buffer[0] = next(self._answer)
        return 1

    def close(self) -> None:
        self.closed = True


def test_one_deadline_covers_the_whole_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowSocket(b"HTTP/1.1 200 OK\r\n")
    monkeypatch.setattr("socket.create_connection", lambda _address, _timeout_s: slow)
    monkeypatch.setattr("overc.client.time.monotonic", lambda: slow.now_s)
    client = Client(parse_url("http://mon/"), IDENTITY, deadline_s=50)
    assert error_of(client) == "mon:80: no reply within 50 s"
    # Head and body of the request, then byte by byte.
    assert slow.timeouts_s == [50, 40, 30, 20, 10]
    assert slow.closed


def test_connection_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{closed.getsockname()[1]}"
        client = Client(parse_url(f"http://u:s3cret@{authority}/"), IDENTITY)
        assert error_of(client) == f"{authority}: Connection refused"


@pytest.mark.parametrize(
    "error, reason",
    [
        (TimeoutError("timed out"), "no connection within 30 s"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError(113, "No route to host"), "No route to host"),
        (OSError("odd"), "odd"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_no_connection(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def create_connection(address: tuple[str, int], timeout_s: float) -> socket.socket:
        assert (address, timeout_s) == (("mon", 5000), 30.0)
        raise error

    monkeypatch.setattr("socket.create_connection", create_connection)
    client = Client(parse_url("http://u:s3cret@mon:5000/"), IDENTITY)
    assert error_of(client) == f"mon:5000: {reason}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the name localhost, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + signed.public_bytes(pem))
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[FakeServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with running(context) as server:
        yield server


def test_https_with_a_certificate_that_is_trusted(
    tls_server: FakeServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    port = tls_server.server_address[1]
    Client(parse_url(f"https://localhost:{port}/"), IDENTITY).ping()
    assert len(tls_server.requests) == 1


@pytest.mark.parametrize(
    "trusted, host, reason",
    [(False, "localhost", "self-signed certificate"), (True, "127.0.0.1", "IP address mismatch")],
)
def test_https_with_a_certificate_that_is_not(
    tls_server: FakeServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
    host: str,
    reason: str,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    authority = f"{host}:{tls_server.server_address[1]}"
    error = error_of(Client(parse_url(f"https://{authority}/"), IDENTITY))
    assert error.startswith(f"{authority}: certificate refused: {reason}")
    assert tls_server.requests == []


def test_https_by_a_context_of_ones_own(tls_server: FakeServer, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=certificate)
    url = parse_url(f"https://localhost:{tls_server.server_address[1]}/")
    Client(url, IDENTITY, tls=context).ping()
    assert len(tls_server.requests) == 1


def test_https_to_a_server_without_tls(server: FakeServer) -> None:
    error = error_of(Client(parse_url(f"https://{server.authority}/"), IDENTITY))
    assert error.startswith(f"{server.authority}: TLS failed: ")


def test_the_trace_shows_both_sides_but_no_secret(server: FakeServer) -> None:
    lines: list[str] = []
    url = parse_url(f"http://u:s3cret@{server.authority}/x/")
    server.answer = [reply(403, {"error": "no\x1b"})]
    client = Client(url, ServerIdentity("ü", "k3y"), trace=lines.append)
    error_of(client)
    assert lines == [
        f"> POST http://{server.authority}/x/api/ping",
        '> {"server": {"name": "ü", "key": "***"}}',
        "< 403 Said So",
        '< {"error": "no\\u001b"}',
    ]


@pytest.mark.parametrize(
    "more, fields",
    [
        ({}, {}),
        ({"grace": 0.0}, {"grace": 0.0}),
        ({"grace": "20%", "seen_at": 12.5}, {"grace": "20%", "time": 12.5}),
    ],
)
def test_what_a_state_carries_beside_the_usual(
    server: FakeServer, more: dict[str, Any], fields: dict[str, Any]
) -> None:
    client = Client(parse_url(server.url), IDENTITY)
    client.set_service_status(60, [ServiceState("a", "OK", "i", **more)], Spooled("uuid", 7))
    content = server.requests[-1].json
    assert (content["spool"], content["seq"]) == ("uuid", 7)
    assert content["services"] == [{"name": "a", "state": "OK", "info": "i", **fields}]


@pytest.mark.parametrize(
    "answer, status",
    [(reply(503, {"error": "no"}), 503), (reply(200, "<html>"), None), (b"", None)],
)
def test_an_error_knows_the_status_of_a_refusal(
    server: FakeServer, answer: bytes, status: int | None
) -> None:
    server.answer = [answer]
    with pytest.raises(ClientError) as raised:
        Client(parse_url(server.url), IDENTITY).ping()
    assert raised.value.status == status
