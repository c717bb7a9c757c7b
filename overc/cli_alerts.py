"""The commands of overcli that ask about alerts, and that keep them back.

Like all of overcli but `monitor` they need the standard library alone.
"""

from __future__ import annotations

import argparse
import getpass
import json
import socket
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import NamedTuple

from overc.client import Client, ClientError, Json, Operator, ServiceName, printable
from overc.config import parse_duration
from overc.wording import moment, span

FAILED = 1

SPAN_MAX_S = 366 * 86400
"""The server takes no longer silence."""


class Said(NamedTuple):
    """What a command prints, and the exit status that goes with it."""

    text: str
    status: int = 0


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands' own arguments to the parser of overcli."""
    ack = _add(commands, "ack", "take a problem on: no more reminders, until it is over")
    _service_argument(ack)
    ack.add_argument("reason", metavar="REASON", type=_reason, help="any text; all see it")
    _author_option(ack)

    unack = _add(commands, "unack", "take back an ack")
    _service_argument(unack)

    silence = _add(commands, "silence", "keep alerts back for a time")
    names = "names with wildcards, such as 'web*, !web9' [default: all]"
    silence.add_argument("--servers", metavar="NAMES", default="*", help=names)
    silence.add_argument("--services", metavar="NAMES", default="*", help=names)
    time_help = "this machine's time: '2026-12-01 06:00', or 06:00, the next one that comes"
    silence.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        type=_time,
        help=f"when it begins, {time_help} [default: now]",
    )
    ends = silence.add_mutually_exclusive_group(required=True)
    ends.add_argument(
        "--for", dest="for_s", metavar="SPAN", type=_span_s, help="for how long: 90s, 2h, 1d"
    )
    ends.add_argument("--until", metavar="TIME", type=_time, help=time_help)
    silence.add_argument("reason", metavar="REASON", type=_reason, help="any text; all see it")
    _author_option(silence)

    _add(commands, "silences", "show what is kept back, will be, and was lately")

    unsilence = _add(commands, "unsilence", "end a silence now")
    unsilence.add_argument("id", metavar="ID", type=_id, help="its number, as silences shows it")

    snooze = _add(commands, "snooze", "keep this host's own alerts back for a time")
    snooze.add_argument("--services", metavar="NAMES", help="only of these; wildcards as above")
    snooze.add_argument("--end", action="store_true", help="end all that was begun")
    snooze.add_argument(
        "for_s", metavar="SPAN", nargs="?", type=_span_s, help="for how long: 90s, 20m, 2h"
    )
    snooze.add_argument("reason", metavar="REASON", nargs="?", type=_reason, help="any text")

    explain = _add(commands, "explain", "say why a service is as it is, and who was told")
    _service_argument(explain)

    test = _add(commands, "alert-test", "send a test through the alert channels; say how it went")
    test.add_argument("channel", metavar="CHANNEL", nargs="?", help="only through [alert:CHANNEL]")

    status = _add(commands, "status", "list the services, what is wrong first")
    status.add_argument("--problems", action="store_true", help="only what is wrong")


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error for what argparse can't tell."""
    if args.command == "snooze" and args.end == (args.for_s is not None):
        parser.error("snooze: give SPAN and REASON, such as 20m 'new disk', or --end alone")
    if args.command == "snooze" and not args.end and args.reason is None:
        parser.error("snooze: give a REASON too, such as 'new disk'")


def report(client: Client, args: argparse.Namespace) -> Said:
    """Run `snooze`, the one command that a host does for itself. Raises ClientError."""
    if args.end:
        reply = client.end_snooze()
        return _said(args, reply, f"ended {_count(reply.get('ended'), 'silence')}\n")
    reply = client.snooze(args.for_s, args.reason, args.services)
    return _said(args, reply, f"silence {reply.get('id')} until {_when(reply.get('ends'))}\n")


def ask(operator: Operator, args: argparse.Namespace) -> Said:
    """Run one of the other commands. Raises ClientError."""
    try:
        return _COMMANDS[args.command](operator, args)
    except (AttributeError, KeyError, TypeError, ValueError):
        # Only what reads the reply can raise these.
        raise ClientError(
            f"{operator.url} answers, but not as an OverC server of this version does"
        ) from None


def _ack(operator: Operator, args: argparse.Namespace) -> Said:
    return _said(args, operator.acknowledge(args.service, _author(args), args.reason))


def _unack(operator: Operator, args: argparse.Namespace) -> Said:
    return _said(args, operator.unacknowledge(args.service))


def _silence(operator: Operator, args: argparse.Namespace) -> Said:
    span: Json = {"for": args.for_s} if args.until is None else {"until": args.until}
    if args.start is not None:
        span["from"] = args.start
    reply = operator.silence(args.servers, args.services, span, _author(args), args.reason)
    starts = "" if args.start is None else f" from {_when(reply['starts'])}"
    return _said(args, reply, f"silence {reply['id']}{starts} until {_when(reply['ends'])}\n")


def _unsilence(operator: Operator, args: argparse.Namespace) -> Said:
    return _said(args, operator.unsilence(args.id))


def _silences(operator: Operator, args: argparse.Namespace) -> Said:
    reply = operator.silences()
    lines = [line for one in reply["silences"] for line in _silence_lines(one)]
    # An open window is a silence by itself.
    lines += [_maintenance_line(one) for one in reply["maintenance"] if not one["running_until"]]
    return _said(args, reply, _text(lines or ["Nothing is silenced."]))


def _explain(operator: Operator, args: argparse.Namespace) -> Said:
    offset = datetime.now().astimezone().utcoffset()
    offset_min = 0 if offset is None else round(offset.total_seconds() / 60)
    reply = operator.explain(args.service, offset_min)
    return _said(args, reply, _text(reply["text"]))


def _alert_test(operator: Operator, args: argparse.Namespace) -> Said:
    reply = operator.test_alerts(args.channel)
    results = reply["results"]
    lines = []
    for one in results:
        outcome = "sent" if one["delivered"] else "failed"
        words = f": {_one_line(one['words'])}" if one["words"].strip() else ""
        lines.append(f"{one['plugin']}: {outcome} in {one['took_s']:.1f} s{words}")
    if not results:
        lines = ["No alert channel is configured: add an [alert:NAME] section."]
    good = bool(results) and all(one["delivered"] for one in results)
    return _said(args, reply, _text(lines))._replace(status=0 if good else FAILED)


def _status(operator: Operator, args: argparse.Namespace) -> Said:
    reply = operator.status()
    found = [
        (_rank(service), server["name"], service)
        for server in reply["servers"]
        for service in server["services"]
    ]
    if args.problems:
        found = [one for one in found if one[0] < _GOOD]
        for server in reply["servers"]:
            server["services"] = [one for one in server["services"] if _rank(one) < _GOOD]
        reply["servers"] = [server for server in reply["servers"] if server["services"]]
    # By name below the rank, as they come.
    found.sort(key=lambda one: one[0])
    lines = [_status_line(server, service) for _, server, service in found]
    none = "Nothing is wrong." if args.problems else "Nobody has reported yet."
    return _said(args, reply, _text(lines or [none]))


_COMMANDS: dict[str, Callable[[Operator, argparse.Namespace], Said]] = {
    "ack": _ack,
    "unack": _unack,
    "silence": _silence,
    "silences": _silences,
    "unsilence": _unsilence,
    "explain": _explain,
    "alert-test": _alert_test,
    "status": _status,
}

FOR_PEOPLE = frozenset(_COMMANDS)
"""The commands that speak the dashboard's API and need no name and no key."""

_RANKS = {"FAIL": 1, "UNK": 2, "WARN": 3}
_GOOD = 4


def _rank(service: Json) -> int:
    state = service["state"]
    if state is None:
        return _GOOD
    return 0 if state["timed_out"] else _RANKS.get(state["state"], _GOOD)


def _status_line(server: str, service: Json) -> str:
    name, state = f"{server}/{service['name']}", service["state"]
    if state is None:
        return f"-    {name}"
    word = "LATE" if state["timed_out"] else state["state"]
    # What was measured is for programs.
    info = _one_line(state["info"].partition("|")[0])
    return f"{word:<4} {name}  {state['seen_ago']} ago  {info}".rstrip()


def _silence_lines(silence: Json) -> list[str]:
    starts, ends = _when(silence["starts"]), _when(silence["ends"])
    said = {"running": f"until {ends}", "coming": f"from {starts} until {ends}"}
    about = f"{said.get(silence['status'], f'ended {ends}')}, by {silence['author']}"
    lines = [f"{silence['id']}: {_scope(silence)} {about}: {_one_line(silence['reason'])}"]
    kept = silence["alerts"]
    lines += [f"    kept back: {_alert_words(alert)}" for alert in kept]
    if silence["n_alerts"] > len(kept):
        lines.append(f"    and {silence['n_alerts'] - len(kept)} more")
    return lines


def _maintenance_line(window: Json) -> str:
    return f"maintenance {window['name']}: {_scope(window)}, not now"


def _scope(silence: Json) -> str:
    servers, services = silence["servers"], silence["services"]
    if servers == services == "*":
        return "everything"
    if services == "*":
        return f"all of {servers}"
    return f"{services} of {'all servers' if servers == '*' else servers}"


def _alert_words(alert: Json) -> str:
    who = "/".join(filter(None, (alert["server"] or "OverC", alert["service"])))
    return f"{_when(alert['ctime'])} {who}: {_one_line(alert['message'])}"


def _when(utc: object) -> str:
    """Return a time of the API by this machine's clock."""
    try:
        at = datetime.strptime(str(utc)[:19], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return "?"
    return moment(at.replace(tzinfo=timezone.utc).timestamp(), time.time())


def _said(args: argparse.Namespace, reply: Json, text: str = "") -> Said:
    return Said(json.dumps(reply, indent=2) + "\n" if args.json else text)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)


def _one_line(text: str, limit: int = 200) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else words[:limit] + "..."


def _count(number: object, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=what, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="print the server's reply as JSON")
    return parser


def _service_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "service",
        metavar="SERVER/SERVICE",
        type=_service,
        help="the service by names, up to the first slash the server's; or its id",
    )


def _author_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--author", metavar="NAME", help="who says so [default: you, by login]")


def _author(args: argparse.Namespace) -> str:
    if args.author:
        return str(args.author)
    try:
        login = getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A user id without a name.
        login = "somebody"
    return f"{login}@{socket.gethostname()}"


def _service(text: str) -> ServiceName:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return ServiceName(int(text))
    server, slash, service = text.partition("/")
    if not (server and slash and service):
        raise argparse.ArgumentTypeError(
            f"expected SERVER/SERVICE such as web1/backup, or an id, got {text!r}"
        )
    return ServiceName(None, server, service)


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"expected a number such as 3, got {text!r}")
    return int(text)


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why, in a few words")
    return text


def _span_s(text: str) -> float:
    try:
        span_s = parse_duration(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None
    if not 0 < span_s <= SPAN_MAX_S:
        raise argparse.ArgumentTypeError(
            f"expected more than 0 seconds and at most {span(SPAN_MAX_S)}, got {text!r}"
        )
    return span_s


def _time(text: str) -> float:
    """Return the epoch seconds of a time by this machine's clock."""
    return parse_time(text, datetime.now())


def parse_time(text: str, now: datetime) -> float:
    """Read `2026-12-01 06:00`, or `06:00`, the next one after `now`, a local time.

    Raises argparse.ArgumentTypeError with a sentence.
    """
    for form in ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            when = datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        break
    else:
        try:
            when = datetime.strptime(text.strip(), "%H:%M")
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"expected a time such as '2026-12-01 06:00' or 06:00, got {text!r}"
            ) from None
        when = datetime.combine(now.date(), when.time())
        if when <= now:
            when = datetime.combine(datetime.fromordinal(now.toordinal() + 1).date(), when.time())
    if when <= now:
        raise argparse.ArgumentTypeError(f"{text!r} is over already")
    return when.timestamp()
