"""The Dashboard API, row by row, against a real server."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest
from support.daemon import Daemon
from support.http_client import Client, Host, Json, a_service

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")


@pytest.fixture
def aged(daemon: Daemon) -> Iterator[sqlite3.Connection]:
    """The server's database, for setting times back: no test can wait for hours."""
    connection = sqlite3.connect(daemon.database, timeout=30, isolation_level=None)
    yield connection
    connection.close()


def restarted(daemon: Daemon, host: Host) -> Host:
    """Restart the server, which does not look again at what it has shown already."""
    daemon.restart()
    return Host(daemon.client, host.name)


def test_the_shape_of_a_status(host: Host) -> None:
    host.report(a_service("s", "WARN", "i"))
    host.alert("x", "silent")
    found = host.client.get("/ui/api/status/")
    assert set(found) >= {"stats", "servers"}
    assert set(found["stats"]) >= {"n_alerts", "last_state_id", "supervisor_lag"}
    server = host.status()
    assert set(server) >= {"id", "name", "title", "ip", "n_alerts", "services"}
    assert isinstance(server["id"], int)
    silent, service = (host.services()[name] for name in ("silent", "s"))
    keys = {"id", "period", "name", "title", "n_alerts", "state"}
    assert set(service) >= keys
    assert set(silent) >= keys
    assert silent["state"] is None
    assert service["period"] == 60
    state = service["state"]
    assert set(state) >= {"rtime", "timed_out", "seen_ago", "state", "info"}
    assert (state["state"], state["info"], state["timed_out"]) == ("WARN", "i", False)
    assert re.fullmatch(r"0:00:\d\d", state["seen_ago"])
    assert TIME.fullmatch(state["rtime"])


def test_the_watchdog_is_not_behind(client: Client) -> None:
    assert client.get("/ui/api/status/")["stats"]["supervisor_lag"] == 0


def test_all_is_sorted_by_name(client: Client) -> None:
    names = ["b", "a", "B", "é", "\U0001f600", "ｚ", "10", "9", " x"]
    hosts = [Host(client, f"sorted {name}") for name in names]
    for host in hosts:
        host.report(*map(a_service, names))
        assert list(host.services()) == sorted(names)
    found = [name for name in client.servers() if name.startswith("sorted ")]
    assert found == sorted(f"sorted {name}" for name in names)


def test_a_selection_of_one_server_and_of_one_service(host: Host) -> None:
    host.report(a_service("a", "FAIL"), a_service("b", "FAIL"), a_service("c"))
    host.report(a_service("b", "WARN"), a_service("c"))
    for _ in range(3):
        host.alert("of the server")
    other = Host(host.client, host.name + " 2")
    other.report(a_service("a", "FAIL"))
    other.report(a_service("a", "OK"))

    server = host.status()
    services = host.services()
    assert server["n_alerts"] == 3
    assert {name: one["n_alerts"] for name, one in services.items()} == {"a": 1, "b": 2, "c": 0}
    one = host.client.get(f"/ui/api/status/server/{server['id']}")
    assert one["stats"]["n_alerts"] == 6
    assert one["servers"] == [server]
    newest = max(s["id"] for name in services for s in host.history(name))
    assert one["stats"]["last_state_id"] == newest

    b = host.client.get(f"/ui/api/status/service/{services['b']['id']}")
    assert b["stats"]["n_alerts"] == 2
    # What a server's own number counts when one of its services is asked for is left open.
    [part] = b["servers"]
    assert {**part, "n_alerts": 3} == {**server, "services": [services["b"]]}
    assert b["stats"]["last_state_id"] == host.history("b")[0]["id"]
    whole = host.client.get("/ui/api/status/")
    per_service = [s["n_alerts"] for server in whole["servers"] for s in server["services"]]
    per_server = [server["n_alerts"] for server in whole["servers"]]
    assert whole["stats"]["n_alerts"] == sum(per_service) + sum(per_server)


def test_alerts_older_than_a_day_are_not_counted(
    daemon: Daemon, host: Host, aged: sqlite3.Connection
) -> None:
    host.report(a_service("s", "FAIL"))
    host.alert("old")
    assert (host.status()["n_alerts"], host.services()["s"]["n_alerts"]) == (1, 1)
    oldest = "update alerts set raised_at = raised_at - ? where server_id = ?"
    aged.execute(oldest, (23.9 * 3600, host.status()["id"]))
    host = restarted(daemon, host)
    assert (host.status()["n_alerts"], host.services()["s"]["n_alerts"]) == (1, 1)
    aged.execute(oldest, (3600, host.status()["id"]))
    host = restarted(daemon, host)
    assert (host.status()["n_alerts"], host.services()["s"]["n_alerts"]) == (0, 0)
    selected = host.client.get(f"/ui/api/status/server/{host.status()['id']}")
    assert selected["stats"]["n_alerts"] == 0


def test_seen_ago_in_words(daemon: Daemon, host: Host, aged: sqlite3.Connection) -> None:
    host.report(a_service("s"))
    id_ = host.history("s")[0]["id"]
    for ago_s, shown in [(86, r"0:01:[23]\d"), (3600, r"1:01:\d\d"), (86400, r"1 day, 1:01:\d\d")]:
        aged.execute("update states set received_at = received_at - ? where id = ?", (ago_s, id_))
        host = restarted(daemon, host)
        assert re.fullmatch(shown, host.state("s")["seen_ago"])
    # The wall clock was set back since.
    aged.execute("update states set received_at = received_at + 1000000 where id = ?", (id_,))
    host = restarted(daemon, host)
    assert host.state("s")["seen_ago"] == "0:00:00"


def test_the_history_comes_newest_first_with_its_alerts(host: Host) -> None:
    for state, info in [("OK", "1"), ("FAIL", "2"), ("FAIL", "3")]:
        host.report(a_service("s", state, info))
    host.alert("by hand", "s")
    host.report(a_service("s", "OK", "4"))
    found = host.history("s")
    assert [(s["state"], s["info"]) for s in found] == [
        ("OK", "4"), ("FAIL", "3"), ("FAIL", "2"), ("OK", "1"),
    ]  # fmt: skip
    ids = [s["id"] for s in found]
    assert ids == sorted(ids, reverse=True)
    assert [[a["message"] for a in s["alerts"]] for s in found] == [
        ['State changed: "FAIL" -> "OK"'], ["by hand"], ['State changed: "OK" -> "FAIL"'], [],
    ]  # fmt: skip
    keys = {"id", "rtime", "state", "info", "service", "service_id", "alerts"}
    for item in found:
        assert set(item) >= keys
        assert (item["service"], item["service_id"]) == ("s", host.services()["s"]["id"])
        assert TIME.fullmatch(item["rtime"])
    [alert] = found[2]["alerts"]
    assert set(alert) >= {"id", "channel", "event", "message", "severity"}
    assert (alert["channel"], alert["event"], alert["severity"]) == (
        "service:state", "FAIL", "FAIL",
    )  # fmt: skip


def test_history_and_alerts_go_back_by_hours(host: Host, aged: sqlite3.Connection) -> None:
    for info in ("old", "new"):
        host.report(a_service("s", "FAIL" if info == "old" else "OK", info))
    server_id, service_id = host.status()["id"], host.services()["s"]["id"]
    old = host.history("s")[1]["id"]
    aged.execute("update states set received_at = received_at - 90000 where id = ?", (old,))
    aged.execute("update alerts set raised_at = raised_at - 90000 where state_id = ?", (old,))
    assert [s["info"] for s in host.history("s")] == ["new"]
    assert [s["info"] for s in host.history("s", "?hours=24")] == ["new"]
    assert [s["info"] for s in host.history("s", "?hours=26")] == ["new", "old"]
    for scope in ("", f"server/{server_id}", f"service/{service_id}"):
        for query, events in [("", ["OK"]), ("?hours=1", ["OK"]), ("?hours=26", ["OK", "FAIL"])]:
            found = host.client.get(f"/ui/api/status/alerts/{scope}{query}")["alerts"]
            assert [a["event"] for a in found if a["server"] == host.name] == events


@pytest.mark.parametrize("hours", ["0", "-1", "x", "nan", "inf", "1e9", "%ff", "9" * 400])
def test_hours_have_to_be_a_number(host: Host, hours: str) -> None:
    host.report(a_service("s"))
    id_ = host.services()["s"]["id"]
    for path in ("alerts/", f"service/{id_}/states"):
        reply = host.client.request("GET", f"/ui/api/status/{path}?hours={hours}")
        assert reply.status == 400
        assert reply.error.startswith("hours: expected a number")


def test_groups_fold_the_inside_of_long_runs(host: Host) -> None:
    for state in ["OK"] * 5 + ["FAIL"] * 6 + ["OK"] * 3 + ["WARN"]:
        host.report(a_service("s", state))
    # By their number, newest to oldest, with the runs between bars. The alerts are those of 15, 12
    # and 6: 15 | 14 13 | 12 | 11 10 9 8 7 | 6 | 5 4 3 2 1
    ids = [s["id"] for s in reversed(host.history("s"))]
    number = {id_: n for n, id_ in enumerate(ids, 1)}

    def shown(query: str) -> list[int | tuple[int, int, int, str]]:
        found: list[int | tuple[int, int, int, str]] = []
        for item in host.history("s", query):
            if "group" in item:
                assert set(item) == {"id", "state", "group", "group_count"}
                low, _, high = item["group"].partition("-")
                assert item["id"] == int(low)
                found.append(
                    (number[int(low)], number[int(high)], item["group_count"], item["state"])
                )
            else:
                found.append(number[item["id"]])
        return found

    whole = list(range(15, 0, -1))
    fails, oks = (8, 10, 3, "FAIL"), (2, 4, 3, "OK")
    folded = [15, 14, 13, 12, 11, fails, 7, 6, 5, oks, 1]
    assert shown("?groups=yes") == folded
    assert shown("?groups=no") == whole
    assert shown("") == whole
    for low, high in [(2, 2), (4, 4), (1, 7), (4, 6)]:
        query = f"?groups=yes&expand={ids[low - 1]}-{ids[high - 1]}"
        assert shown(query) == [*folded[:-2], 4, 3, 2, 1]
    for low, high in [(1, 1), (5, 7), (11, 15)]:
        assert shown(f"?groups=yes&expand={ids[low - 1]}-{ids[high - 1]}") == folded
    assert shown(f"?groups=yes&expand={ids[2]}-{ids[2]}&expand={ids[8]}-{ids[9]}") == whole


@pytest.mark.parametrize("query", ["groups=maybe", "groups=yes&expand=x", "groups=yes&expand=5-1"])
def test_what_groups_can_t_be(host: Host, query: str) -> None:
    host.report(a_service("s"))
    path = f"/ui/api/status/service/{host.services()['s']['id']}/states?{query}"
    reply = host.client.request("GET", path)
    assert reply.status == 400
    assert reply.error.startswith(("groups: ", "expand: "))


def test_alerts_in_three_scopes(host: Host) -> None:
    host.report(a_service("a", "WARN", "1"), a_service("b"))
    host.alert("of the server")
    host.alert("of b", "b")
    host.report(a_service("a", "OK", "2"))
    host.alert("of a new one", "c")
    ids = {name: one["id"] for name, one in host.services().items()}
    server_id = host.status()["id"]

    def of(scope: str) -> list[Json]:
        found: list[Json] = host.client.get(f"/ui/api/status/alerts/{scope}")["alerts"]
        assert [a["id"] for a in found] == sorted((a["id"] for a in found), reverse=True)
        return [a for a in found if a["server"] == host.name]

    whole = of("")
    assert [(a["service"], a["message"], a["state_info"]) for a in whole] == [
        ("c", "of a new one", None),
        ("a", 'State changed: "WARN" -> "OK"', "2"),
        ("b", "of b", ""),
        (None, "of the server", None),
        ("a", 'State changed: "(?)" -> "WARN"', "1"),
    ]
    assert of(f"server/{server_id}") == whole
    for name, id_ in ids.items():
        assert of(f"service/{id_}") == [a for a in whole if a["service"] == name]
    for alert in whole:
        assert set(alert) >= {
            "id", "server", "server_id", "service", "service_id", "ctime", "channel", "event",
            "message", "state_info",
        }  # fmt: skip
        assert alert["server_id"] == server_id
        assert alert["service_id"] == ids.get(alert["service"])
        assert TIME.fullmatch(alert["ctime"])


def rows(database: sqlite3.Connection) -> dict[str, int]:
    tables = ("servers", "services", "states", "alerts", "outbox")
    return {t: database.execute(f"select count(*) from {t}").fetchone()[0] for t in tables}


def test_deleting_takes_all_that_belongs_to_it(host: Host, aged: sqlite3.Connection) -> None:
    before = rows(aged)
    host.report(a_service("a", "FAIL"), a_service("b", "FAIL"))
    host.alert("x")
    host.alert("y", "a")
    server_id, services = host.status()["id"], host.services()
    path = f"/ui/api/item/service/{services['a']['id']}"
    reply = host.client.request("DELETE", path)
    assert (reply.status, reply.json) == (200, {"ok": 1})
    assert list(host.services()) == ["b"]
    assert [a["service"] for a in host.alerts()] == ["b", None]
    assert host.client.request("DELETE", path).status == 404
    path = f"/ui/api/item/server/{server_id}"
    assert host.client.request("DELETE", path).json == {"ok": 1}
    assert not host.is_known()
    assert rows(aged) == before
    for gone in (path, f"/ui/api/item/service/{services['b']['id']}"):
        assert host.client.request("DELETE", gone).status == 404


def test_a_deleted_name_is_free_for_another_key(host: Host) -> None:
    host.report(a_service("s", "FAIL"))
    first_id = host.status()["id"]
    host.client.request("DELETE", f"/ui/api/item/server/{first_id}")
    other = Host(host.client, host.name, "another key")
    other.report(a_service("s", "WARN"))
    assert host.ping().status == 403
    assert other.status()["id"] != first_id
    assert [a["message"] for a in other.alerts()] == ['State changed: "(?)" -> "WARN"']
    id_ = other.services()["s"]["id"]
    other.client.request("DELETE", f"/ui/api/item/service/{id_}")
    other.report(a_service("s", "FAIL"))
    assert [s["state"] for s in other.history("s")] == ["FAIL"]


@pytest.mark.parametrize("id_", ["999999", "9223372036854775807", "9223372036854775808", "9" * 30])
def test_an_id_that_there_is_not(client: Client, id_: str) -> None:
    for path in (
        f"status/server/{id_}",
        f"status/service/{id_}",
        f"status/service/{id_}/states",
        f"status/alerts/server/{id_}",
        f"status/alerts/service/{id_}",
    ):
        reply = client.request("GET", f"/ui/api/{path}")
        assert reply.status == 404, path
        assert reply.error
    for kind in ("server", "service"):
        assert client.request("DELETE", f"/ui/api/item/{kind}/{id_}").status == 404
