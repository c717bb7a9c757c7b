"""The options of `[overc]` that say how reports reach the server.

server=https://mon.example.com/ https://mon2.example.com/
ca-file=/etc/overc/ca.pem
insecure=no
spool=yes
spool-max-age=24h
spool-max-size=64M
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from overc.agent.service_settings import parse_yes_no
from overc.config import Section, parse_duration
from overc.http_urls import split_credentials, split_http

SPOOL_AGE_S = 24 * 3600.0
SPOOL_BYTES = 64 * 1024 * 1024
SPOOL_LEAST_BYTES = 1024 * 1024
MEMORY_BYTES = 4 * 1024 * 1024
"""How much is kept where there is no file for it."""

NAME_CHARS = 100
"""Of a name in that of a file; what is longer is cut and told apart by a digest."""

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"([0-9]{1,12}) ?([kmg]?)(?:i?b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Server:
    """Where reports go. `url` ends in a slash and holds no credentials."""

    url: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User and password for HTTP Basic."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where reports are kept until a server has confirmed them."""

    path: str | None = None
    """None: in memory."""
    max_age_s: float = SPOOL_AGE_S
    max_bytes: int = SPOOL_BYTES


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a server's certificate is verified."""

    ca_pem: bytes | None = None
    """Whom to trust, in place of those whom this machine trusts."""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """All of it; the first of the servers is the preferred one."""

    servers: tuple[Server, ...]
    tls: TlsSettings
    spool: SpoolSettings


def read_delivery(
    main: Section, folder: str, name: str, environ: Mapping[str, str]
) -> DeliverySettings:
    """Read the options. `folder` is the INI file's, `name` what the agent reports under."""
    nowhere: tuple[Server, ...] = (Server(""),)
    servers = main.require("server", parse_servers, nowhere)
    ca_pem = main.read("ca-file", lambda text: _read_ca(os.path.join(folder, text)), None)
    insecure = main.read("insecure", parse_yes_no, False)
    if insecure and ca_pem is not None:
        main.mistake("insecure", "with ca-file nothing has to be insecure: leave one of them out")
    elif insecure:
        main.warn(
            "insecure", "whoever answers is taken for the server and gets the key: better a ca-file"
        )

    def parse_spool(text: str) -> str | None:
        return _parse_spool(text, folder, name, environ)

    own_file: str | None = default_spool(name, environ)
    spool = SpoolSettings(
        main.read("spool", parse_spool, own_file),
        main.read("spool-max-age", _parse_age, SPOOL_AGE_S),
        main.read("spool-max-size", parse_size, SPOOL_BYTES),
    )
    return DeliverySettings(servers, TlsSettings(ca_pem, not insecure), spool)


def default_spool(name: str, environ: Mapping[str, str]) -> str:
    """Return the file in the state folder of the service, of the system or of the user.

    Agents of several names on one machine have one each.
    """
    if folder := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        pass
    elif os.geteuid() == 0:
        folder = "/var/lib/overc"
    else:
        state = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        folder = os.path.join(state, "overc")
    quoted = quote(name, safe="", errors="replace")
    if len(quoted) > NAME_CHARS:
        digest = hashlib.sha256(quoted.encode()).hexdigest()[:16]
        quoted = f"{quoted[:NAME_CHARS]}-{digest}"
    return os.path.join(folder, f"spool-{quoted}.db")


def parse_servers(text: str) -> tuple[Server, ...]:
    """Read URLs apart by white space. Raises ValueError with a sentence, without secrets."""
    servers = tuple(parse_server(word) for word in text.split()) or (parse_server(text),)
    if len({server.url for server in servers}) < len(servers):
        raise ValueError("one of the servers is there twice: leave it out once")
    return servers


def parse_server(text: str) -> Server:
    """Return the parts of a server's URL. Raises ValueError with a sentence, without secrets."""
    expected = "expected a URL such as http://user:password@mon.example.com:5000/"
    parts = split_http(text, expected)
    if parts.query or parts.fragment:
        raise ValueError(f"{expected}: it can't hold a ? or #; write them as %3F and %23")
    _, credentials = split_credentials(text)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return Server(f"{parts.scheme}://{host}{path}", credentials)


def parse_size(text: str) -> int:
    """Read a number of bytes such as 64M. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a size such as 64M, got {text!r}")
    size = int(found[1]) * _UNITS[found[2].lower()]
    if size < SPOOL_LEAST_BYTES:
        raise ValueError(f"expected 1M at least, got {text!r}")
    return size


def _parse_age(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"expected a time above 0, got {text!r}")
    return seconds


def _parse_spool(text: str, folder: str, name: str, environ: Mapping[str, str]) -> str | None:
    word = text.strip()
    if word.lower() == "yes":
        return default_spool(name, environ)
    if word.lower() == "no":
        return None
    if not word or "\0" in word:
        raise ValueError("expected yes, no or a file's path")
    return os.path.join(folder, os.path.expanduser(word))


def _read_ca(path: str) -> bytes:
    """Return a file's certificates. Raises ValueError where there are none."""
    try:
        with open(path, "rb") as file:
            pem = file.read()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise ValueError(f"{path} holds no certificate in PEM format that can be read") from None
    except OSError as e:
        raise ValueError(f"{path} can't be read: {e.strerror}") from None
    return pem
