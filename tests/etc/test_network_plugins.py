"""The plugins tcp and certificate, against real sockets and real certificates."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from etc.plugins import FAIL, NAGIOS, OK, UNK, WARN, plugin, run
from support.expiring import make_certificate

PATIENT = ["--timeout", "60"]
"""A slow machine must not change a state."""


@contextmanager
def listening(
    talk: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Let `talk` deal with every connection to a port."""
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        try:
            with sock:
                talk(tls.wrap_socket(sock, server_side=True) if tls else sock)
                over.wait(0 if talk is hang_up else 60)
        except OSError:
            pass  # the plugin went away, as some tests want

    def accept() -> None:
        while not over.is_set():
            try:
                sock, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        over.set()


def hang_up(sock: socket.socket) -> None:
    sock.sendall(b"go away\n")


def greet(sock: socket.socket) -> None:
    for piece in (b"SSH-2.0-", b"Open", b"SSH_9\r\n"):
        sock.sendall(piece)


def redis(sock: socket.socket) -> None:
    if sock.recv(100) == b"PING\r\n":
        sock.sendall(b"+PONG\r\n")


def silent(sock: socket.socket) -> None:
    """Say nothing."""


@pytest.mark.parametrize(
    ("talk", "args", "state", "said"),
    [
        (silent, [], OK, " answers in "),
        (silent, ["-w", "@0:60"], WARN, " s (WARN)"),
        (silent, ["-c", "@0:60"], FAIL, " s (FAIL)"),
        (greet, ["--expect", "OpenSSH"], OK, " answers in "),
        (redis, ["--send", r"PING\r\n", "--expect", "+PONG"], OK, " answers in "),
        (hang_up, ["--expect", "220"], FAIL, '"220" is not in the answer (FAIL), it said: go away'),
    ],
)
def test_tcp(talk: Callable[[socket.socket], None], args: list[str], state: int, said: str) -> None:
    with listening(talk) as port:
        result = plugin("tcp", "-w", "60", "-c", "60", *PATIENT, *args, f"127.0.0.1:{port}")
    assert result.state == state
    assert result.text.startswith(f"127.0.0.1:{port}")
    assert said in result.text
    assert result.perfdata.startswith("'time'=")


def test_tcp_in_time() -> None:
    with listening(silent) as port:
        result = plugin("tcp", "--timeout", "0.3", "--expect", "x", f"127.0.0.1:{port}")
    assert result.state == FAIL
    assert result.text == f"127.0.0.1:{port}: no complete reply within 0.3 seconds\n"


def test_tcp_over_ipv6() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        port = server.getsockname()[1]
        assert plugin("tcp", *PATIENT, "-w", "60", "-c", "60", f"[::1]:{port}").state == OK


def closed_port() -> tuple[socket.socket, int]:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens
    return bound, bound.getsockname()[1]


@pytest.mark.parametrize("name", ["tcp", "certificate"])
def test_refused(name: str) -> None:
    bound, port = closed_port()
    with bound:
        result = plugin(name, f"127.0.0.1:{port}")
    assert (result.state, result.text) == (FAIL, f"127.0.0.1:{port}: Connection refused\n")


@pytest.mark.parametrize("name", ["tcp", "certificate"])
def test_unknown_host(name: str) -> None:
    result = plugin(name, *PATIENT, "name.invalid:22")
    assert result.state == FAIL
    assert result.text.startswith("name.invalid:22: the name cannot be looked up: ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["tcp"], "ADDRESS"),
        (["tcp", "localhost"], '"localhost" is not an address'),
        (["tcp", "localhost:"], "is not an address"),
        (["tcp", "localhost:0"], "is not an address"),
        (["tcp", "localhost:65536"], "is not an address"),
        (["tcp", "::1:22"], "is not an address"),
        (["tcp", "a..b:22"], "is not an address"),
        (["tcp", ":22"], "is not an address"),
        (["tcp", "--timeout", "0", "a:1"], "number of seconds"),
        (["tcp", "--send", "\\", "a:1"], "--send: "),
        (["certificate"], "is required"),
        (["certificate", "a..b"], "is not an address"),
        (["certificate", "--file", "/etc/passwd"], "there is no X.509 certificate"),
        (["certificate", "--file", "/nonexistent"], "cannot read /nonexistent: No such file"),
        (["certificate", "--file", "x", "example.com"], "not allowed with"),
        (["certificate", "--ca-file", "/nonexistent", "a"], "cannot read /nonexistent"),
        (["certificate", "--ca-file", "/etc/passwd", "a"], "/etc/passwd holds no certificate"),
    ],
)
def test_wrong_arguments_are_unk(command: list[str], said: str) -> None:
    result = plugin(command[0], *command[1:])
    assert result.state == UNK
    assert said in result.text
    assert result.text.count("\n") == 1


@pytest.mark.parametrize(
    ("days", "args", "state", "said"),
    [
        (30, [], OK, "the certificate of localhost expires in 30 days, "),
        (9, [], WARN, "expires in 9 days, "),
        (3, [], FAIL, "expires in 3 days, "),
        (1, [], FAIL, "expires in 24 hours, "),
        (9, ["-w", "7:", "-c", "1:"], OK, "expires in 9 days, "),
        (-5, [], FAIL, "expired 4 days ago, "),
        # Above 2049 a date is written in another way.
        (12000, [], OK, "expires in 12000 days, 20"),
    ],
)
def test_certificate_in_a_file(
    tmp_path: Path, days: float, args: list[str], state: int, said: str
) -> None:
    path = make_certificate(tmp_path, days)
    result = plugin("certificate", *args, "--file", path)
    assert result.state == state
    assert said in result.text
    assert (" (WARN)" in result.text, " (FAIL)" in result.text) == (state == WARN, state == FAIL)
    assert result.perfdata.startswith(f"'days'={days}." if days > 0 else "'days'=-")


def test_certificate_in_a_file_in_der(tmp_path: Path) -> None:
    pem = make_certificate(tmp_path, 30).read_text()
    begin = pem.index("-----BEGIN CERTIFICATE")
    path = tmp_path / "certificate.der"
    path.write_bytes(ssl.PEM_cert_to_DER_cert(pem[begin:]))
    assert "expires in 30 days" in plugin("certificate", "--file", path).text
    path.write_bytes(path.read_bytes()[:-9])
    result = plugin("certificate", "--file", path)
    assert (result.state, "no X.509 certificate" in result.text) == (UNK, True)


def test_the_first_of_several_certificates_counts(tmp_path: Path) -> None:
    texts = [make_certificate(tmp_path, days).read_text() for days in (400, 20, 90)]
    path = tmp_path / "bundle.pem"
    path.write_text("".join(texts))
    assert "expires in 20 days" in plugin("certificate", "--file", path).text


def serving(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("days", "host", "args", "state", "said"),
    [
        (30, "localhost", ["--ca-file", "<file>"], OK, "expires in 30 days"),
        (9, "localhost", ["--ca-file", "<file>"], WARN, "expires in 9 days"),
        (-5, "localhost", ["--ca-file", "<file>"], FAIL, "expired 4 days ago"),
        (30, "localhost", [], FAIL, "; self"),
        (30, "localhost", ["--dates-only"], OK, "expires in 30 days"),
        (30, "example.com", ["--ca-file", "<file>"], FAIL, "; Hostname mismatch"),
        (30, "example.com", ["--ca-file", "<file>", "--name", "example.com"], OK, "of example.com"),
    ],
)
def test_certificate_of_a_server(
    tmp_path: Path, days: float, host: str, args: list[str], state: int, said: str
) -> None:
    path = make_certificate(tmp_path, days, host)
    words = [str(path) if word == "<file>" else word for word in args]
    with listening(silent, serving(path)) as port:
        result = plugin("certificate", *PATIENT, *words, f"localhost:{port}")
    assert result.state == state
    assert said in result.text
    assert result.perfdata.startswith("'days'=")


def test_certificate_that_is_not_valid_yet(tmp_path: Path) -> None:
    path = make_certificate(tmp_path, 30, begins=2)
    result = plugin("certificate", "--file", path)
    assert result.state == FAIL
    assert "is not valid before " in result.text


def test_certificate_of_what_speaks_no_tls() -> None:
    with listening(hang_up) as port:
        result = plugin("certificate", *PATIENT, f"localhost:{port}")
    assert result.state == FAIL
    assert result.text.startswith(f"localhost:{port}: TLS failed: ")
    with listening(silent) as port:
        result = plugin("certificate", "--timeout", "0.3", f"localhost:{port}")
    assert result.text == f"localhost:{port}: no complete reply within 0.3 seconds\n"


def test_tcp_verifies_the_certificate(tmp_path: Path) -> None:
    path = make_certificate(tmp_path, 30)
    with listening(greet, serving(path)) as port:
        where = f"localhost:{port}"
        refused = plugin("tcp", "--tls", *PATIENT, where)
        told = plugin(
            "tcp", "--tls", "-w", "60", "-c", "60", *PATIENT, "--expect", "SSH", where,
            environ={"SSL_CERT_FILE": str(path)},
        )  # fmt: skip
    assert refused.state == FAIL
    assert "the TLS certificate is not valid: self" in refused.text
    assert told.state == OK


@pytest.mark.skipif(not (NAGIOS / "check_http").exists(), reason="needs monitoring-plugins")
@pytest.mark.parametrize("days", [30, 9, 3])
def test_certificate_agrees_with_debians(tmp_path: Path, days: int) -> None:
    path = make_certificate(tmp_path, days)
    with listening(silent, serving(path)) as port:
        ours = plugin(
            "certificate", *PATIENT, "--ca-file", path, "-w", "15:", "-c", "5:", f"localhost:{port}"
        )
        theirs = run(
            NAGIOS / "check_http", "-H", "localhost", "-p", str(port), "-C", "15,5", "-t", "60"
        )
    assert ours.state == theirs.state == {30: OK, 9: WARN, 3: FAIL}[days]


@pytest.mark.skipif(not (NAGIOS / "check_tcp").exists(), reason="needs monitoring-plugins")
@pytest.mark.parametrize(("talk", "expect"), [(greet, "SSH"), (hang_up, "SSH"), (silent, None)])
def test_tcp_agrees_with_debians(talk: Callable[[socket.socket], None], expect: str | None) -> None:
    more = [] if expect is None else ["-e", expect, "-M", "crit"]
    with listening(talk) as port:
        theirs = run(NAGIOS / "check_tcp", "-H", "127.0.0.1", "-p", str(port), "-t", "60", *more)
        more = [] if expect is None else ["--expect", expect]
        ours = plugin("tcp", "-w", "60", "-c", "60", *PATIENT, *more, f"127.0.0.1:{port}")
    assert ours.state == theirs.state
