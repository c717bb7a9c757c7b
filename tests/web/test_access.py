from __future__ import annotations

from base64 import b64encode

import pytest

from overc.daemon.access_settings import Credentials
from overc.web.access import is_allowed, is_cross_site, user_of

WANTED = Credentials("admin", "s:e crét 🔑")


def basic(text: str | bytes, scheme: str = "Basic") -> str:
    data = text.encode() if isinstance(text, str) else text
    return f"{scheme} {b64encode(data).decode()}"


@pytest.mark.parametrize("header", [None, "", "nonsense", basic("x:y")])
def test_without_credentials_all_come_in(header: str | None) -> None:
    assert is_allowed(header, None)


@pytest.mark.parametrize(
    "header",
    [
        basic("admin:s:e crét 🔑"),
        basic("admin:s:e crét 🔑", "basic"),
        basic("admin:s:e crét 🔑", "BASIC"),
        basic("admin:s:e crét 🔑", "Basic ") + " ",
    ],
)
def test_the_right_credentials(header: str) -> None:
    assert is_allowed(header, WANTED)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic é",
        "Basic !!!",
        basic("admin:s:e crét 🔑").replace("Basic YW", "Basic Y!W"),
        "Basic YWRtaW4",
        basic(""),
        basic(":"),
        basic("admin"),
        basic("admin:"),
        basic("admin:s:e crét"),
        basic("admin:s:e crét 🔑 "),
        basic("Admin:s:e crét 🔑"),
        basic("admin:s:e crét 🔑".encode("utf-16")),
        basic(b"admin:\xff"),
        basic("admin:s:e crét 🔑", "Bearer"),
        basic("admin:s:e crét 🔑", "Digest"),
        "admin:s:e crét 🔑",
    ],
)
def test_wrong_credentials(header: str | None) -> None:
    assert not is_allowed(header, WANTED)


HOST = "mon.example.com:5000"


@pytest.mark.parametrize(
    "fetch_site, origin, host, cross",
    [
        (None, None, HOST, False),
        (None, None, None, False),
        ("same-origin", None, HOST, False),
        ("none", None, HOST, False),
        ("same-site", None, HOST, True),
        ("cross-site", None, HOST, True),
        ("", None, HOST, True),
        ("Cross-Site", None, HOST, True),
        # What the browser says of itself is surer than names: a proxy may have changed them.
        ("same-origin", "https://mon.example.com", "127.0.0.1:5000", False),
        ("cross-site", f"http://{HOST}", HOST, True),
        (None, f"http://{HOST}", HOST, False),
        (None, f"https://{HOST}", HOST, False),
        (None, "http://MON.example.com:5000", HOST, False),
        (None, f"http://{HOST}", "Mon.Example.com:5000", False),
        (None, "http://mon.example.com", HOST, True),
        (None, "http://evil.example:5000", HOST, True),
        (None, f"http://evil.example/{HOST}", HOST, True),
        (None, f"http://{HOST}@evil.example", HOST, True),
        (None, "null", HOST, True),
        (None, "", HOST, True),
        (None, "http://[", HOST, True),
        (None, f"http://{HOST}", None, True),
        (None, "http://[::1]:5000", "[::1]:5000", False),
    ],
)
def test_requests_of_other_sites(
    fetch_site: str | None, origin: str | None, host: str | None, cross: bool
) -> None:
    assert is_cross_site(fetch_site, origin, host) is cross


@pytest.mark.parametrize(
    "authorization, user",
    [
        (None, None),
        ("", None),
        ("Bearer YTpi", None),
        ("Basic %", None),
        ("Basic OmI=", None),  # :b
        ("Basic YTpi", "a"),  # a:b
        ("basic YTpiOmM=", "a"),  # a:b:c
        ("Basic YQ==", "a"),  # a
        ("Basic w7w6eA==", "ü"),  # ü:x
        ("Basic /zp4", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_user_that_a_request_names(authorization: str | None, user: str | None) -> None:
    assert user_of(authorization) == user
