"""Certificates that nobody has signed but they themselves."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import ssl


class Certificate:
    """A key and a certificate for some hosts, in files of a folder."""

    def __init__(self, folder: Path, name: str, *hosts: str) -> None:
        self.key, self.path = folder / f"{name}.key", folder / f"{name}.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        form = serialization.PrivateFormat.PKCS8
        self.key.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        self.pem = certificate.public_bytes(pem)
        self.path.write_bytes(self.pem)

    def context(self) -> Any:
        """Return what a listening port is made with."""
        return ssl.DefaultOpenSSLContextFactory(str(self.key), str(self.path))


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
