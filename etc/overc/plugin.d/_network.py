"""What the plugins that ask over the network share: addresses, one deadline, reasons."""

from __future__ import annotations

import argparse
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str, default_port: int | None = None) -> Address:
    """HOST:PORT, or HOST where there is a default port; an IPv6 address stands in brackets."""
    host, colon, port = text.rpartition(":")
    if (not colon or text.endswith("]")) and default_port is not None:
        host, port = text, str(default_port)
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        usable = bool(host.encode("idna")) and (bracketed or ":" not in host)
    except UnicodeError:
        usable = False
    if not (usable and port.isascii() and port.isdigit() and 0 < int(port[:9]) < 65536):
        example = "example.com:22" if default_port is None else "example.com or example.com:8443"
        raise argparse.ArgumentTypeError(
            f'"{text}" is not an address, write one like {example}, or [::1]:22'
        )
    return Address(host, int(port))


def time_limit(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of seconds from 0 to 3600')
    return seconds


def in_time(work: Callable[[], T], seconds: float) -> T:
    """A socket's own timeout covers neither the name lookup nor a reply that drips in."""
    results: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def keep() -> None:
        try:
            results.put(work())
        except Exception as error:
            results.put(error)

    threading.Thread(target=keep, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result


def reason(error: Exception, seconds: float) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, TimeoutError):
        return f"no complete reply within {seconds:g} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the TLS certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"the name cannot be looked up: {error.strerror}"
    return str(getattr(error, "strerror", None) or error)
