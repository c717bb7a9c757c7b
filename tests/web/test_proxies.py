from __future__ import annotations

import pytest

from overc.daemon.access_settings import NO_PROXIES, parse_proxies
from overc.web.proxies import client_of, forwarded_base, forwarded_host

PROXIES = parse_proxies("127.0.0.1 10.0.0.0/8 unix")


@pytest.mark.parametrize(
    "peer, header, client",
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("", "203.0.113.9", "203.0.113.9"),
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "  203.0.113.9  ", "203.0.113.9"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("127.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        # The client may send what it likes; the proxies add to the end.
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("127.0.0.1", "<script>, 203.0.113.9, 10.1.1.1, 127.0.0.1", "203.0.113.9"),
        ("127.0.0.1", "10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("127.0.0.1", "<script>, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9,", "127.0.0.1"),
        ("127.0.0.1", ",".join(["10.0.0.1"] * 4000), "10.0.0.1"),
        # Nobody else is believed.
        ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("127.0.0.2", "203.0.113.9", "127.0.0.2"),
        ("::1", "203.0.113.9", "::1"),
    ],
)
def test_the_client(peer: str, header: str | None, client: str) -> None:
    assert client_of(PROXIES, peer, header) == client
    assert client_of(NO_PROXIES, peer, header) == peer


@pytest.mark.parametrize(
    "host, proto, prefix, base",
    [
        ("mon.example.com", "https", None, "https://mon.example.com/"),
        ("mon.example.com:8443", "HTTPS", "/overc", "https://mon.example.com:8443/overc/"),
        ("mon.example.com", None, "/a/b/", "http://mon.example.com/a/b/"),
        ("[2001:db8::1]:80", "http", None, "http://[2001:db8::1]:80/"),
        ("mon.example.com, inner.example", "https, http", None, "https://mon.example.com/"),
        ("mon.example.com", "javascript", None, "http://mon.example.com/"),
        ("mon.example.com", "https", "//evil.example", "https://mon.example.com/"),
        ("mon.example.com", "https", "/a b", "https://mon.example.com/"),
        ("mon.example.com", "https", "/$(id)", "https://mon.example.com/"),
        ("mon.example.com", "https", "overc", "https://mon.example.com/"),
        (None, "https", "/overc", None),
        ("", "https", None, None),
        ("a/b", None, None, None),
        ("user@host", None, None, None),
        ("a b", None, None, None),
        ('"><script>', None, None, None),
        ("a" * 254, None, None, None),
        ("host:123456", None, None, None),
    ],
)
def test_where_the_client_found_us(
    host: str | None, proto: str | None, prefix: str | None, base: str | None
) -> None:
    headers = {
        "x-forwarded-host": host, "x-forwarded-proto": proto, "x-forwarded-prefix": prefix,
    }  # fmt: skip
    assert forwarded_base(headers.get) == base
    assert (forwarded_host(headers.get) is None) is (base is None)
