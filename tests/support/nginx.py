"""A real nginx with the configuration that is shipped, filled in for a test."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from support.certificates import Certificate
from support.daemon import eventually
from support.http_client import TIMEOUT_S, Reply

SHIPPED = Path(__file__).parent.parent.parent / "etc" / "nginx" / "overc.conf"
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
HOST = "127.0.0.1"


class Front:
    """A client of nginx, by TLS. `headers` go with each request."""

    def __init__(self, port: int, certificate: Path, headers: Mapping[str, str]) -> None:
        self.port = port
        self.certificate = certificate
        self.headers = headers
        self._context = ssl.create_default_context(cafile=str(certificate))

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/"

    def signed_in(self, headers: Mapping[str, str]) -> Front:
        return Front(self.port, self.certificate, {**self.headers, **headers})

    def connect(self, source_ip: str = HOST) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            HOST, self.port, timeout=TIMEOUT_S, context=self._context,
            source_address=(source_ip, 0),
        )  # fmt: skip

    def request(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        source_ip: str = HOST,
    ) -> Reply:
        with contextlib.closing(self.connect(source_ip)) as connection:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            found = connection.getresponse()
            return Reply(found.status, found.headers, found.read())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)


def free_port() -> int:
    with socket.socket() as placeholder:
        placeholder.bind((HOST, 0))
        port: int = placeholder.getsockname()[1]
    return port


def filled_in(port: int, server_port: int, certificate: Certificate, passwords: Path | None) -> str:
    """Return the shipped file for these ports; with `passwords` nginx asks for a login."""
    text = SHIPPED.read_text()
    for shipped, ours in (
        ("server 127.0.0.1:5000;", f"server {HOST}:{server_port};"),
        ("listen 443 ssl;", f"listen {HOST}:{port} ssl;"),
        ("listen [::]:443 ssl;", ""),
        ("/etc/ssl/certs/mon.example.com.pem", str(certificate.path)),
        ("/etc/ssl/private/mon.example.com.key", str(certificate.key)),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, ours)
    if passwords is not None:
        text = re.sub(r"#(?=auth_basic|proxy_set_header)", "", text)
        assert text.count("/etc/nginx/overc.htpasswd;") == 1
        text = text.replace("/etc/nginx/overc.htpasswd", str(passwords))
    return text


@contextlib.contextmanager
def running_nginx(
    folder: Path, port: int, server_port: int, passwords: str | None = None
) -> Iterator[Front]:
    """Run it until the end of the block. `passwords`: the lines of its file of passwords."""
    assert PROGRAM is not None, "nginx is missing: apt-get install nginx-light"
    folder.mkdir()
    certificate = Certificate(folder, "mon", HOST)
    file = None
    if passwords is not None:
        file = folder / "htpasswd"
        file.write_text(passwords)
    (folder / "overc.conf").write_text(filled_in(port, server_port, certificate, file))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\n"
        f"events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary} include {folder}/overc.conf; }}\n"
    )
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [PROGRAM, "-p", str(folder), "-c", str(main)], stderr=errors, stdin=subprocess.DEVNULL
        )
    try:

        def listens() -> bool:
            assert process.poll() is None, (folder / "errors").read_text()
            with socket.socket() as probe:
                return probe.connect_ex((HOST, port)) == 0

        eventually(listens, "nginx listens")
        yield Front(port, certificate.path, {})
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
