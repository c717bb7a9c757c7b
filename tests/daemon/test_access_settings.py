from __future__ import annotations

from pathlib import Path

import pytest
from daemon.test_settings import loaded, mistakes

from overc.daemon.access_settings import (
    Access,
    Credentials,
    TrustedProxies,
    parse_proxies,
    parse_readers,
)
from overc.daemon.page_settings import PublicPieces, StatusPage
from overc.daemon.patterns import Patterns

WHO = "expected addresses, networks or unix, such as 127.0.0.1 10.0.0.0/8 unix"
HOSTS = "expected names such as mon.example.com, *.lan"
READERS = "expected user:password, several with spaces between them"


def test_every_option(tmp_path: Path) -> None:
    text = """\
[overc]
ui-auth = admin:secret
ui-readers = anna:pässword
    ben:a:b
trusted-proxies = 127.0.0.1, 10.0.0.0/8 unix fd00::/8
remote-user-header = X-Remote-User
remote-writers = !guest*
badges = web*/http, db1

[page:shop]
title = The   shop
servers = web*
services = !cron*
groups = no
show-info = yes
names = full

[page: all ]
servers = *
"""
    found = loaded(tmp_path, text)
    assert "ssword" not in repr(found)
    assert found.access == Access(
        (Credentials("anna", "pässword"), Credentials("ben", "a:b")),
        parse_proxies("127.0.0.1/32 10.0.0.0/8 fd00::/8 unix"),
        "x-remote-user",
        Patterns("!guest*"),
    )
    shop = StatusPage(
        "shop", "The shop", Patterns("web*"), Patterns("!cron*"),
        groups=False, infos=True, full_names=True,
    )  # fmt: skip
    assert found.public == PublicPieces(
        (shop, StatusPage("all", "all")), Patterns("web*/http, db1")
    )
    assert found.warnings == ()
    assert found.has_door


def test_nothing_is_open_and_nobody_is_believed_unless_it_is_said(tmp_path: Path) -> None:
    found = loaded(tmp_path, "")
    assert found.access == Access()
    assert found.access.readers == ()
    assert not found.access.proxies
    assert found.access.remote_user_header is None
    assert found.access.names is None
    assert found.public == PublicPieces((), None)
    assert not found.has_door


def test_readers_out_of_a_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "readers").write_text("anna:one ben:two\n")
    (tmp_path / "readers").chmod(0o600)
    found = loaded(tmp_path, "[overc]\nui-auth=a:b\nui-readers=@readers\n")
    assert [one.user for one in found.access.readers] == ["anna", "ben"]
    environ = {"OVERC_UI_READERS": "$WHO", "WHO": "carl:three"}
    found = loaded(tmp_path, "[overc]\nui-auth=a:b\nui-readers=@readers\n", environ)
    assert found.access.readers == (Credentials("carl", "three"),)


@pytest.mark.parametrize(
    "line, mistake",
    [
        ("ui-auth=a:b\nui-readers=", f"3: [overc] ui-readers: {READERS}"),
        ("ui-auth=a:b\nui-readers=x:y s3cret", f"3: [overc] ui-readers: {READERS}"),
        ("ui-auth=a:b\nui-readers=x:1 x:2", "3: [overc] ui-readers: names a user twice"),
        (
            "ui-auth=a:b\nui-readers=a:c",
            "3: [overc] ui-readers: names the user of ui-auth, who may change everything",
        ),
        (
            "ui-readers=a:c",
            "2: [overc] ui-readers: needs ui-auth beside it: without, all may change everything",
        ),
        ("trusted-proxies=", f"2: [overc] trusted-proxies: {WHO}"),
        (
            "trusted-proxies=10.0.0.1/8",
            f"2: [overc] trusted-proxies: {WHO}: 10.0.0.1/8 has host bits set",
        ),
        (
            "trusted-proxies=localhost",
            f"2: [overc] trusted-proxies: {WHO}: 'localhost' does not appear to be an IPv4 or IPv6"
            " network",
        ),
        (
            "remote-user-header=X-Remote-User",
            "2: [overc] remote-user-header: needs trusted-proxies: nobody else is believed",
        ),
        (
            "trusted-proxies=::1\nremote-user-header=X Remote",
            "3: [overc] remote-user-header: expected a header's name such as X-Remote-User,"
            " got 'X Remote'",
        ),
        (
            "trusted-proxies=::1\nremote-user-header=Host",
            "3: [overc] remote-user-header: expected a header's name such as X-Remote-User,"
            " got 'Host'",
        ),
        (
            "remote-writers=anna",
            "2: [overc] remote-writers: is for remote-user-header, and there is none",
        ),
        (
            "ui-hosts=mon.example.com:5000",
            f"2: [overc] ui-hosts: {HOSTS}, with commas between them and without a port; got ':'",
        ),
        (
            "ui-hosts=https://mon.example.com/",
            f"2: [overc] ui-hosts: {HOSTS}, with commas between them and without a port; got ':'",
        ),
        (
            "ui-hosts=mon.lan mon.example.com",
            f"2: [overc] ui-hosts: {HOSTS}, with commas between them and without a port;"
            " got a space",
        ),
        ("ui-hosts=", f"2: [overc] ui-hosts: {HOSTS}, got ''"),
        ("badges=", "2: [overc] badges: expected names such as web*, db1 or !web9, got ''"),
        ("[page:]\nservers=*", "2: [page:] expected [page:NAME]"),
        (
            "[page:a/b]\nservers=*",
            "2: [page:a/b] the name is part of the address: letters, digits, - and _, got 'a/b'",
        ),
        (
            "[page:a.json]\nservers=*",
            "2: [page:a.json] the name is part of the address: letters, digits, - and _,"
            " got 'a.json'",
        ),
        (
            "[page:a]\ntitle=A",
            "2: [page:a] servers: is missing; or give services. * stands for all of them",
        ),
        (
            "[page:a]\nservers=*\ntitle=",
            "4: [page:a] title: expected a title of at most 200 characters",
        ),
        (
            "[page:a]\nservers=*\nshow-info=1",
            "4: [page:a] show-info: expected yes or no, got '1'",
        ),
        (
            "[page:a]\nservers=*\nnames=all",
            "4: [page:a] names: expected title or full, got 'all'",
        ),
        (
            "[page:a]\nservers=*\nserver=*",
            "4: [page:a] server: unknown option; known here: groups, names, servers, services,"
            " show-info, title",
        ),
    ],
)
def test_a_mistake(tmp_path: Path, line: str, mistake: str) -> None:
    text = f"[overc]\n{line}\n"
    assert mistakes(tmp_path, text) == [f"server.ini:{mistake}"]
    assert "s3cret" not in mistake


def test_by_which_names_things_can_be_changed(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[overc]\nui-hosts= Mon.example.com,*.LAN , !b.lan\n")
    assert found.access.names == Patterns("mon.example.com, *.lan, !b.lan")
    assert found.warnings == ()
    environ = {"OVERC_UI_HOSTS": "mon.lan"}
    assert loaded(tmp_path, "", environ).access.names == Patterns("mon.lan")


def test_what_can_never_match_is_told(tmp_path: Path) -> None:
    text = """\
[overc]
trusted-proxies=::1
remote-user-header=Remote-User
remote-writers=anna, !a*
badges=x, !x
[page:a]
servers=web1, !web*
"""
    found = loaded(tmp_path, text)
    assert [one.partition("server.ini:")[2].partition(": can")[0] for one in found.warnings] == [
        "4: [overc] remote-writers",
        "5: [overc] badges",
        "7: [page:a] servers",
    ]


@pytest.mark.parametrize(
    "host, trusted",
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("10.255.0.1", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("", True),
        ("127.0.0.2", False),
        ("11.0.0.1", False),
        ("::1", False),
        ("10.0.0.1.evil.example", False),
        ("0x7f.1", False),
        ("127.1", False),
        ("nonsense", False),
    ],
)
def test_who_is_trusted(host: str, trusted: bool) -> None:
    assert parse_proxies("127.0.0.1 10.0.0.0/8,fd00::/8 UNIX").trust(host) is trusted
    assert not TrustedProxies().trust(host)


def test_no_unix_socket_unless_it_is_said() -> None:
    assert not parse_proxies("0.0.0.0/0 ::/0").trust("")
    assert parse_proxies("unix").trust("")
    assert not parse_proxies("unix").trust("127.0.0.1")


def test_readers_are_separated_by_white_space() -> None:
    found = parse_readers(" a:b\n\tc:d:e ")
    assert found == (Credentials("a", "b"), Credentials("c", "d:e"))
