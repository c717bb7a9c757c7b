"""The commands of overcli that have to do with the agent and with jobs: init, run, check-config.

Here are their arguments, and what each of them prints. Like all of overcli but `monitor` and
`check-config` they need the standard library alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping

from overc import cli_init, cli_run
from overc.cli_alerts import Said
from overc.cli_arguments import grace, period_s
from overc.client import ServerUrl
from overc.config import ConfigError, Mistake

FAILED = 1

_RUN_EPILOG = """\
The job's output passes through, its exit status is that of overcli (128 and N after signal N), and
it runs whether or not the server is there. Exit status 0 is reported as OK, any other as FAIL, with
the time it took and the end of the output. A job that runs longer than a second is reported as
running at its start, in the state in which it ended last: when it does not end within --within, it
is late. A report that can't be sent is kept, and sent by a later overcli run of this machine.
Without -s and -i: --config, OVERC_CONFIG or /etc/overc/agent.ini says where to report.
"""


_INSTALL = "pip install 'overc[agent]' or, for a server's file, 'overc[server]'"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands' own arguments to the parser of overcli."""
    init = commands.add_parser(
        "init",
        help="write the first configuration of an agent, with checks for this machine",
        allow_abbrev=False,
    )
    init.add_argument("url", metavar="URL", type=_url, help="the server, as for -s")
    init.add_argument(
        "--config", metavar="FILE", help=f"where to write it [default: {cli_init.DEFAULT_FILE}]"
    )
    init.add_argument("--name", help="the name to report under [default: this machine's]")
    init.add_argument(
        "--force", action="store_true", help="write over a file; its key is kept where it fits"
    )
    init.add_argument("--json", action="store_true", help="say what was done as JSON")

    run = commands.add_parser(
        "run",
        help="run a job, such as one of cron, and report how it went",
        epilog=_RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --service NAME --period SPAN [--grace SPAN] [OPTION...] -- COMMAND ...",
        allow_abbrev=False,
    )
    run.add_argument("--service", metavar="NAME", required=True, help="the service that it is")
    run.add_argument(
        "--period",
        metavar="SPAN",
        type=period_s,
        required=True,
        help="how often it runs: the next end is reported within 5m, 12h, 1d",
    )
    run.add_argument(
        "--grace", metavar="SPAN", type=grace, help="how much later it may end: 10m, 2h, 20%%"
    )
    run.add_argument(
        "--within",
        metavar="SPAN",
        type=period_s,
        help="how long it may run [default: the grace or, without one, the period]",
    )
    run.add_argument(
        "--no-start", action="store_true", help="report the end only, for what calendars expect"
    )
    run.add_argument("--config", metavar="FILE", help="the agent's INI file: where to report")
    run.add_argument("--json", action="store_true", help="say at the end, on standard error, how")
    run.add_argument("argv", metavar="COMMAND", nargs="+", help="with its arguments, after a --")

    check = commands.add_parser(
        "check-config",
        help="find every mistake in the configuration of an agent or a server",
        allow_abbrev=False,
    )
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    check.add_argument(
        "files", metavar="FILE", nargs="+", help="an INI file, or the agent's folder of them"
    )


def run(
    args: argparse.Namespace, environ: Mapping[str, str], complain: Callable[[str], None]
) -> Said:
    """Run one of the commands. Raises ConfigError."""
    if args.command == "run":
        return Said("", cli_run.run(args, environ, complain))
    if args.command == "init":
        return _init(args, complain)
    return _check(args, environ)


COMMANDS = frozenset(("init", "run", "check-config"))


def _init(args: argparse.Namespace, complain: Callable[[str], None]) -> Said:
    if args.server is not None:
        raise ConfigError([Mistake("init", "the URL stands behind it, without -s: init URL")])
    url = args.url[1]
    made = cli_init.init(args, url)
    if made.refusal:
        complain(f"overcli: {made.refusal}")
        complain(f"overcli: {made.path} is kept; overcli init --force tries again")
    answer = json.dumps(cli_init.as_json(made, url), indent=2) + "\n"
    return Said(answer if args.json else cli_init.said(made, url), FAILED if made.refusal else 0)


def _check(args: argparse.Namespace, environ: Mapping[str, str]) -> Said:
    from overc import cli_check

    try:
        found = cli_check.check(args.files, environ)
    except ModuleNotFoundError as e:
        missing = (e.name or "").partition(".")[0]
        if missing == "overc":
            raise
        raise ConfigError(
            [Mistake("check-config", f"needs the module {missing}: {_INSTALL}")]
        ) from None
    answer = cli_check.as_json(found) if args.json else cli_check.text(found)
    return Said(answer, FAILED if any(one.mistakes for one in found) else 0)


def _url(text: str) -> tuple[str, ServerUrl]:
    """Return the URL as it goes into the file, and read."""
    try:
        return text, cli_init.check_url(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None
