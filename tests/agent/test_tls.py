"""TLS against a server whose certificate nobody has signed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_twisted
from agent.doubles import RecordingServer, a_report
from support.certificates import Certificate
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from overc.agent.delivery_settings import Server, TlsSettings
from overc.agent.push import HttpPusher, Outgoing, Unavailable
from overc.model import ServerIdentity
from overc.transport import TlsError, tls_policy

REPORT = Outgoing(None, [a_report("a")])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("ours"), "ours", "127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("elsewhere"), "elsewhere", "mon.example.com")


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    server = RecordingServer()
    yield server
    pytest_twisted.blockon(Deferred.fromCoroutine(server.close()))


async def error_of(pusher: HttpPusher) -> str | None:
    try:
        await pusher.push(REPORT)
    except Unavailable as e:
        return str(e)
    finally:
        await pusher.close()
    return None


UNTRUSTED = "its certificate is not signed by anybody whom this machine trusts"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "presented, trusted, verify, error",
    [
        ("ours", None, True, UNTRUSTED),
        ("ours", ["ours"], True, None),
        ("ours", ["elsewhere", "ours"], True, None),
        ("ours", ["elsewhere"], True, UNTRUSTED),
        ("elsewhere", ["elsewhere"], True, "its certificate is for another host"),
        ("elsewhere", None, True, "its certificate is for another host"),
        ("elsewhere", None, False, None),
        ("ours", None, False, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_certificates(
    server: RecordingServer,
    ours: Certificate,
    elsewhere: Certificate,
    host: str,
    presented: str,
    trusted: list[str] | None,
    verify: bool,
    error: str | None,
) -> None:
    known = {"ours": ours, "elsewhere": elsewhere}
    ca_pem = None if trusted is None else b"text\n".join(known[name].pem for name in trusted)
    port = server.listen(reactor, tls=known[presented].context())
    pusher = HttpPusher(
        reactor,
        Server(f"https://{host}:{port}/"),
        ServerIdentity("host", "s3cret"),
        tls=TlsSettings(ca_pem, verify),
    )
    told = await error_of(pusher)
    if error is None:
        assert told is None
        assert len(server.requests) == 1
    else:
        assert told == f"https://{host}:{port}/ can't be reached: {error}"
        # Nothing of ours, and no key, has gone out.
        assert server.requests == []


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"what",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_certificate(pem: bytes) -> None:
    with pytest.raises(TlsError, match="no certificate in PEM format"):
        tls_policy(pem)
