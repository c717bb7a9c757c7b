"""overcli: report from the command line, ask about alerts, wrap jobs, set up and run the agent.

All but `monitor` and `check-config` need the standard library alone, so nothing of the agent or the
server is imported before it is asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from overc import __version__, cli_agent, cli_alerts, terminal
from overc.cli_arguments import period_s
from overc.client import Client, ClientError, Operator, ServerUrl, ServiceState, parse_url
from overc.config import ConfigError
from overc.model import AlertReport, ServerIdentity

if TYPE_CHECKING:
    from overc.agent.settings import AgentSettings

FAILED = 1
INTERRUPTED = 130

_EPILOG = """\
environment: OVERC_SERVER stands in for -s, OVERC_MY_NAME and OVERC_MY_KEY for -i; unlike the
command line, they are not shown to every user of the machine.
ping, service-status, alert and snooze are for hosts: they need -i, and the URL has the user and the
password of api-auth. run takes them from the agent's INI file, too. ack, unack, silence, silences,
unsilence, explain, alert-test and status are for people: they need no -i, and the URL has those of
ui-auth.
exit status: 0 done, 1 failed, 2 wrong usage; run: the job's.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C.

    `argv` is without the program's name; None stands for the arguments of this process.
    """
    parser = _parser()
    try:
        args = parser.parse_args(argv)
        if args.command == "monitor":
            return _monitor(parser, args)
        if args.command == "backup":
            return _back_up(args)
        cli_alerts.check(parser, args)
        if args.command in cli_agent.COMMANDS:
            said = cli_agent.run(args, os.environ, _complain)
        elif args.command in cli_alerts.FOR_PEOPLE:
            said = cli_alerts.ask(_operator(parser, args, os.environ), args)
        elif args.command == "snooze":
            said = cli_alerts.report(_client(parser, args, os.environ), args)
        else:
            return _report(_client(parser, args, os.environ), args)
        return _print(said.text) or said.status
    except SystemExit as e:
        # argparse has printed the usage, the help or the version.
        return e.code if e.code and isinstance(e.code, int) else _print("")
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ClientError, ConfigError) as e:
        for line in str(e).splitlines():
            _complain(f"overcli: {line}")
        return FAILED


def _report(client: Client, args: argparse.Namespace) -> int:
    if args.command == "ping":
        client.ping()
        return _print(f"pong from {client.url}\n")
    if args.command == "service-status":
        client.set_service_status(args.period, [ServiceState(args.name, args.state, args.info)])
    else:
        client.set_alerts([AlertReport(args.message, args.service)])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="overcli",
        description="Report to an OverC server, and ask it about alerts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"overcli {__version__}")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show what is sent and what is answered"
    )
    parser.add_argument(
        "-s", "--server", metavar="URL", help="the server, http[s]://[USER:PASSWORD@]HOST:PORT/"
    )
    parser.add_argument(
        "-i",
        "--server-id",
        metavar="NAME:KEY",
        type=_identity,
        help="the name to report under, and the key that goes with it",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    commands.add_parser("ping", help="check the connection and the key")

    status = commands.add_parser("service-status", help="report the state of one service")
    status.add_argument(
        "period",
        metavar="PERIOD",
        type=period_s,
        help="the next report comes within this time: 60, 5m, 1h30m",
    )
    status.add_argument("name", metavar="NAME", help="the service")
    status.add_argument("state", metavar="STATE", help="OK, WARN, FAIL or UNK")
    status.add_argument("info", metavar="INFO", nargs="?", default="", help="any text")

    alert = commands.add_parser("alert", help="send a message to everybody concerned")
    alert.add_argument("--service", metavar="NAME", help="the service that it is about")
    alert.add_argument("message", metavar="MESSAGE")

    cli_alerts.add_commands(commands)
    cli_agent.add_commands(commands)

    monitor = commands.add_parser("monitor", help="run the agent in the foreground")
    monitor.add_argument(
        "--once", action="store_true", help="run each plugin now, show what it says, send nothing"
    )
    monitor.add_argument("--json", action="store_true", help="with --once: show it as JSON")
    monitor.add_argument("config", metavar="CONFIG.ini", help="or a folder of such files")

    backup = commands.add_parser(
        "backup", help="copy the server's SQLite database while the server runs"
    )
    backup.add_argument("database", metavar="DATABASE.db")
    backup.add_argument("copy", metavar="COPY.db", help="a file that does not exist yet")
    return parser


def _identity(text: str) -> ServerIdentity:
    name, colon, key = text.partition(":")
    if not colon or not name:
        # What was typed may be a key: it is not repeated.
        raise argparse.ArgumentTypeError("expected NAME:KEY, such as web1.example.com:s3cret")
    return ServerIdentity(name, key)


def _client(
    parser: argparse.ArgumentParser, args: argparse.Namespace, environ: Mapping[str, str]
) -> Client:
    url = _url(parser, args, environ)
    identity = args.server_id
    if identity is None:
        name, key = environ.get("OVERC_MY_NAME"), environ.get("OVERC_MY_KEY")
        if not name or key is None:
            parser.error(
                "say who reports: -i NAME:KEY, or OVERC_MY_NAME and OVERC_MY_KEY in the environment"
            )
        identity = ServerIdentity(name, key)
    return Client(url, identity, trace=_complain if args.verbose else None)


def _operator(
    parser: argparse.ArgumentParser, args: argparse.Namespace, environ: Mapping[str, str]
) -> Operator:
    return Operator(_url(parser, args, environ), trace=_complain if args.verbose else None)


def _url(
    parser: argparse.ArgumentParser, args: argparse.Namespace, environ: Mapping[str, str]
) -> ServerUrl:
    text, origin = args.server, "-s"
    if text is None:
        text, origin = environ.get("OVERC_SERVER"), "OVERC_SERVER"
    if not text:
        parser.error("say where the server is: -s URL, or OVERC_SERVER in the environment")
    try:
        return parse_url(text)
    except ValueError as e:
        parser.error(f"{origin}: {e}")


def _monitor(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if args.json and not args.once:
        parser.error("monitor: --json goes with --once")
    try:
        from overc.agent.settings import load
        from overc.agent_tap import run_in_foreground
    except ModuleNotFoundError as e:
        missing = (e.name or "").partition(".")[0]
        if missing == "overc":
            raise
        _complain(f"overcli: monitor needs the module {missing}: pip install 'overc[agent]'")
        return FAILED
    identity = args.server_id
    overrides = {
        "server": args.server,
        "my-name": identity.name if identity else None,
        "my-key": identity.key if identity else None,
    }
    settings = load(args.config, os.environ, overrides)
    if args.once:
        return _once(settings, args)
    return run_in_foreground(settings, verbose=args.verbose)


def _once(settings: AgentSettings, args: argparse.Namespace) -> int:
    from overc import cli_once

    ran = cli_once.run_once(settings, os.environ)
    if ran is None:
        return INTERRUPTED
    on = terminal.screen(sys.stdout, os.environ)
    return _print(cli_once.as_json(ran) if args.json else cli_once.table(ran, on)) or (
        cli_once.status(ran)
    )


def _back_up(args: argparse.Namespace) -> int:
    # Here, since all other commands work with a Python that was built without SQLite.
    from overc.backup import BackupError, back_up

    try:
        back_up(args.database, args.copy)
    except BackupError as e:
        _complain(f"overcli: {e}")
        return FAILED
    return 0


def _print(text: str) -> int:
    """Write to standard output and return the exit status that follows from it."""
    if sys.stdout is None:
        return 0
    # A terminal may lack the letters of a name.
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except OSError as e:
        _complain(f"overcli: can't write to standard output: {e.strerror}")
        # The interpreter would try once more at exit, and print a traceback then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    return 0


def _complain(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
