"""What docs/DASHBOARD.md shows works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import Daemon, running
from support.http_client import Host, a_service

from overc.daemon import settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/DASHBOARD.md").read_text()
ADDRESS = "http://127.0.0.1:5000/"
BLOCKS = re.findall(r"(?:^    .+\n)+", DOCUMENT, re.M)


def section(name: str) -> str:
    """Return the first block of the document that begins with this section."""
    [found, *_] = [block for block in BLOCKS if block.startswith(f"    [{name}")]
    return re.sub("^    ", "", found, flags=re.M)


def commands() -> list[str]:
    return [
        *re.findall(r"^    (curl .+)$", DOCUMENT, re.M),
        *re.findall(r"^\$ (.+)$", DOCUMENT, re.M),
    ]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A server with the options of the tables and the blocks."""
    logins = re.findall(r"^\| `(ui-\w+=[^`]+)`", DOCUMENT, re.M)
    badges = section("overc").splitlines()[1]
    folder = tmp_path_factory.mktemp("shop")
    with running(folder, *logins, badges, sections=section("page:")) as daemon:
        host = Host(daemon.client, "web1")
        host.report(a_service("disk", "WARN", "90 %"), a_service("cron job", "FAIL"))
        host.report(a_service("http"))
        yield daemon


def test_the_document_has_examples() -> None:
    assert len(commands()) == 2
    assert "badges=" in section("overc")
    assert "services=" in section("page:")


@pytest.mark.parametrize("command", commands())
def test_a_command(shop: Daemon, command: str) -> None:
    ours = command.replace(ADDRESS, f"http://127.0.0.1:{shop.client.port}/")
    assert ours != command
    done = subprocess.run(
        [*shlex.split(ours), "--fail", "--silent"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"web1"' in done.stdout


def keys(value: Any) -> Any:
    """Return the keys of all objects, as they are nested."""
    if isinstance(value, list):
        return [keys(one) for one in value[:1]]
    return {key: keys(one) for key, one in value.items()} if isinstance(value, dict) else None


def test_the_status_page_as_json(shop: Daemon) -> None:
    found = shop.client.get("/status/shop.json")
    shown = re.search(r'^\{"title":.+\}$', DOCUMENT, re.M)
    assert shown is not None
    expected: Any = json.loads(shown[0])
    assert keys(found) == keys(expected)
    assert found["title"] == expected["title"]
    services = [one["title"] for group in found["groups"] for one in group["services"]]
    assert services == ["disk", "http"]


def test_the_badge_of_the_example(shop: Daemon) -> None:
    [address] = re.findall(r"\(https://mon\.example\.com(/badge/\S+)\)", DOCUMENT)
    reply = shop.client.request("GET", address)
    assert (reply.status, "Our site" in reply.text) == (200, True)
    for path, code in (("/badge/web1.svg", 200), ("/badge/web1/disk.svg", 404)):
        assert shop.client.request("GET", path).status == code


@pytest.mark.parametrize("line", re.findall(r"^\| `([a-z-]+=[^`]+)` \|", DOCUMENT, re.M))
def test_an_option_of_the_tables(tmp_path: Path, line: str) -> None:
    beside = {
        "ui-readers": "ui-auth=admin:secret\n",
        "remote-user-header": "trusted-proxies=127.0.0.1\n",
        "remote-writers": "trusted-proxies=127.0.0.1\nremote-user-header=X-Remote-User\n",
    }
    path = tmp_path / "server.ini"
    path.write_text(f"[overc]\n{beside.get(line.partition('=')[0], '')}{line}\n")
    assert settings.load(str(path), {}, {}, str).warnings == ()


def test_the_last_block_is_a_whole_configuration(tmp_path: Path) -> None:
    block = [one for one in BLOCKS if "remote-user-header=" in one][-1]
    path = tmp_path / "server.ini"
    path.write_text(re.sub("^    ", "", block, flags=re.M))
    access = settings.load(str(path), {}, {}, str).access
    assert access.remote_user_header == "remote-user"
    assert access.proxies.trust("127.0.0.1")
