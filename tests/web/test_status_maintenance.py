"""What a status page says while a window of maintenance is open, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support_daemon import FakeClock, a_database, a_recorder, a_report, a_state, change, record
from twisted.internet.defer import maybeDeferred
from web.doubles import API, UI, Fixture
from web.page_doubles import Page

from overc.daemon.alerting.routing import Maintenance
from overc.daemon.page_settings import PublicPieces, StatusPage
from overc.daemon.patterns import Patterns
from overc.daemon.store.errors import StorageError
from overc.web.public import status_pages


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """web1 and web2 with a disk each."""
    monkeypatch.setattr(status_pages, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    for name in ("web1", "web2"):
        report = a_report(a_state("disk"), name=name, key=f"key of {name}")
        record(path, a_recorder(), FakeClock(), report)
    return path


class Window(NamedTuple):
    """A window of maintenance that is open since a time, or is not."""

    begins_at: float | None

    def until(self, now_at: float) -> float | None:
        return None if self.begins_at is None else now_at + 60

    def begun_at(self, now_at: float) -> float | None:
        return self.begins_at


def a_web(database: str, servers: str, maintenance: Maintenance) -> Fixture:
    page = StatusPage("shop", "Our shop", Patterns(servers))
    public = PublicPieces((page,), Patterns("*"))
    return Fixture(database, API, UI, public=public, maintenances=[maintenance])


def as_json(web: Fixture) -> dict[str, Any]:
    found: dict[str, Any] = web.ask("GET", "/status/shop.json").json
    return found


@pytest.mark.parametrize(
    "state, late, word, sentence, since",
    [
        ("FAIL", False, "maintenance", "1 service under maintenance", "09:59:40"),
        ("WARN", False, "maintenance", "1 service under maintenance", "09:59:40"),
        # It is not well for a shorter time than the window is open.
        ("UNK", True, "maintenance", "1 service under maintenance", "10:00:00"),
        ("OK", False, "OK", "All systems work", "09:50:00"),
        (None, False, "no data", "No data yet", None),
    ],
)
def test_a_problem_in_a_window_of_maintenance(
    database: str, state: str | None, late: bool, word: str, sentence: str, since: str | None
) -> None:
    """It is the maintenance's, and not counted; what is well is well."""
    change(
        database,
        "update services set state = ?, since_at = ?, timed_out = ?"
        " where id = (select services.id from services join servers on servers.id = server_id"
        " where servers.name = 'web1' and services.name = 'disk')",
        state, None if state is None else FakeClock().wall() - 600, int(late),
    )  # fmt: skip
    window = Window(FakeClock().wall() - 20)
    maintenance = Maintenance("new kernels", window, Patterns("web1"), reason="an exploit")
    web = a_web(database, "web1", maintenance)
    answer = web.ask("GET", "/status/shop")
    page = Page(answer.body.decode())
    assert word in page.text
    assert sentence in page.text
    found = as_json(web)
    is_maintained = word == "maintenance"
    assert (found["problems"], found["maintenance"]) == (0, int(is_maintained))
    [service] = found["groups"][0]["services"]
    assert (service["state"] == "maintenance") is is_maintained
    assert found["state"] == found["groups"][0]["state"] == service["state"]
    assert service["since"] == (None if since is None else f"2026-03-01 {since}.000000")
    for secret in (b"kernels", b"exploit"):
        assert secret not in answer.body
        assert secret not in web.ask("GET", "/status/shop.json").body


def test_a_problem_elsewhere_is_one_beside_maintenance(database: str) -> None:
    change(database, "update services set state = 'WARN' where name = 'disk'")
    maintenance = Maintenance("x", Window(FakeClock().wall() - 20), Patterns("web1"))
    found = as_json(a_web(database, "web1, web2", maintenance))
    assert (found["sentence"], found["state"]) == ("1 problem", "WARN")
    assert (found["problems"], found["maintenance"]) == (1, 1)
    assert [group["state"] for group in found["groups"]] == ["maintenance", "WARN"]


def silence(path: str, author: str, ends_s: float) -> None:
    at = FakeClock().wall()
    change(
        path,
        "insert into silences (servers, services, author, reason, created_at, starts_at, ends_at)"
        " values ('*', '*', ?, 'a leak', ?, ?, ?)",
        author, at, at - 20, at + ends_s,
    )  # fmt: skip


@pytest.mark.parametrize(
    "author, ends_s, state",
    [("anna", 60, "FAIL"), ("maintenance x", 60, "maintenance"), ("maintenance x", -5, "FAIL")],
)
def test_silences_of_people_do_not_show(
    database: str, author: str, ends_s: float, state: str
) -> None:
    """But that they ended a window, or let it go on."""
    change(database, "update services set state = 'FAIL'")
    silence(database, author, ends_s)
    window = Window(FakeClock().wall() - 20) if ends_s < 0 else Window(None)
    web = a_web(database, "web1", Maintenance("x", window))
    assert as_json(web)["state"] == state
    for path in ("/status/shop", "/status/shop.json"):
        body = web.ask("GET", path).body
        assert not [word for word in (b"anna", b"a leak") if word in body]


def test_windows_that_can_not_be_read_are_told(database: str) -> None:
    web = a_web(database, "web1", Maintenance("x", Window(None)))

    def be_away(description: str) -> None:
        if description == "read windows of maintenance":
            raise StorageError("the database is away")

    web.store.fault = be_away
    for path in ("status/shop", "status/shop.json", "badge/web1.svg"):
        assert web.ask("GET", f"/{path}").code == 503
    web.store.fault = lambda _: None
    assert as_json(web)["state"] == "OK"
