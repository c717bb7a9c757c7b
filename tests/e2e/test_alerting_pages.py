"""The pages of a real server: where alerts went, what fails, and the forms."""

from __future__ import annotations

import pathlib
import re
from urllib.parse import urlencode

from support.alert_plugins import Recorder
from support.daemon import eventually, running
from support.http_client import Client, Host, Json, a_service, basic

LOST = "[alert:broken]\ncommand=sh -c 'echo \"no <b>route</b>\"; exit 3'\nretry-for=1s\n"


def read(client: Client, path: str) -> str:
    """Return the text of a page below its head, with the banners."""
    reply = client.request("GET", path)
    assert reply.status == 200, reply
    below = reply.text.partition("</header>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", below))


def submit(client: Client, path: str, **fields: str) -> None:
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": f"http://127.0.0.1:{client.port}",
    }
    reply = client.request("POST", path, urlencode(fields), headers)
    assert reply.status == 303, reply.text


def test_what_became_of_alerts(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    with running(tmp_path, "ui-auth=ann:pw", sections=recorder.section + LOST) as daemon:
        client = Client(daemon.client.port, basic("ann", "pw"))
        Host(daemon.client, "web1").report(a_service("disk", "FAIL", "90 %"))

        def deliveries() -> dict[str, Json]:
            [alert] = client.get("/ui/api/status/alerts/service/1")["alerts"]
            return {one["plugin"]: one for one in alert["deliveries"]}

        eventually(lambda: deliveries()["kept"]["status"] == "sent", "one is sent")
        eventually(lambda: deliveries()["broken"]["status"] == "undelivered", "one is given up")
        assert "no <b>route</b>" in deliveries()["broken"]["outcome"]
        for path in ("alerts", "server/1", "service/1"):
            words = read(client, f"/ui/{path}")
            assert "kept sent 20" in words
            assert "exit status 3: no &lt;b&gt;route&lt;/b&gt;" in words
            assert "broken undelivered 20" in words
        for path in ("", "services", "alerts", "silences", "server/1", "service/1"):
            assert "Alert plugin broken has been failing for" in read(client, f"/ui/{path}")

        submit(client, "/ui/service/1/ack", reason="new disk", author="")
        assert "acknowledged by ann" in read(client, "/ui/")
        submit(client, "/ui/service/1/silence", reason="swap", **{"for": "2h"})
        assert re.search(r"silenced until 20[-\d]+ [:\d]+", read(client, "/ui/services"))
        words = read(client, "/ui/silences")
        assert "silence 1: 1 service on 1 server" in words
        submit(client, "/ui/silences/1/end")
        assert "Nothing is silenced." in read(client, "/ui/silences")
        assert "silenced until" not in read(client, "/ui/services")
        submit(client, "/ui/service/1/unack")
        assert "acknowledged by" not in read(client, "/ui/")
