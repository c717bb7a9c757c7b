"""docs/ALERTS.md names what plugins really get."""

from __future__ import annotations

import json
import re
from pathlib import Path

from message_doubles import RAISED_AT, late, recovered, several, single

from overc.daemon.alerting.message_formats import ALERTS_MOST, TEXT_CHARS, environment, render_json
from overc.daemon.alerting.messages import Kind, render_text

PAGE = (Path(__file__).parent.parent / "docs/ALERTS.md").read_text(encoding="utf-8")
VARIABLES, JSON_PART = PAGE.split("### Variables")[1].split("### JSON")
MESSAGE_FIELDS, ALERT_FIELDS = JSON_PART.split("## Webhooks")[0].split("Of each alert:")
MESSAGE = single(recovered())


def named(part: str) -> set[str]:
    """Return what stands in backquotes in the first column of a table."""
    rows = re.findall(r"^\| (`.*?) \|", part, flags=re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_variables() -> None:
    assert named(VARIABLES) == set(environment(MESSAGE, RAISED_AT, None))


def test_the_fields() -> None:
    whole = json.loads(render_json(MESSAGE, RAISED_AT, None))
    assert named(MESSAGE_FIELDS) == set(whole)
    assert named(ALERT_FIELDS) == set(whole["alerts"][0])


def test_the_kinds() -> None:
    [row] = [line for line in VARIABLES.splitlines() if "OVERC_KIND" in line]
    assert set(re.findall(r"`([a-z]+)`", row)) == {str(kind) for kind in Kind}


def test_the_limits() -> None:
    assert f"the alerts, {ALERTS_MOST} at most" in PAGE
    assert f"cut at {TEXT_CHARS:,} characters" in PAGE


def test_the_text_of_several() -> None:
    silent = several(
        Kind.SILENT,
        late("backup", server="web1"),
        late("disk", server="web1", state="FAIL"),
        since_at=RAISED_AT - 7500,
    )
    example = "".join(f"    {line}\n" for line in render_text(silent, RAISED_AT).splitlines())
    assert example in PAGE
