"""`overcli run`: wrap a job that starts by itself, and report how it went.

Note [Start reports]
~~~~~~~~~~~~~~~~~~~~
While a job runs, a report says so: it promises the end within `--within`, by default the grace (or
the period, without one), so that a job that hangs is late then, not only after a whole period. A
report carries a state, and that it has begun is none. So it repeats the state in which the last run
ended, which is kept on this machine: nothing is well or ill because a job begins. A job that never
ran here is OK until its end. Where the state can't be kept there is no start report. Nor is there
one for a job that ends within START_AFTER_S.

Note [Job first]
~~~~~~~~~~~~~~~~
The job runs, whatever becomes of the reports. They are sent by one thread, one after the other, so
that the start never comes after the end. Only the end is waited for, for END_DEADLINE_S at most. It
is on the disk before it is sent, with a name of its own, so that it is stored once; what could not
be sent goes along with a later report of this host's jobs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from overc.agent.delivery_settings import Server, TlsSettings, read_delivery
from overc.cli_arguments import grace_s
from overc.client import Client, ClientError, ServerUrl, ServiceState, parse_url
from overc.config import Config, ConfigError, Mistake
from overc.job_files import JobFiles, Last, Waiting, state_folder
from overc.model import ServerIdentity, Spooled, State
from overc.wording import span
from overc.wrapped import Ended, Wrapped

NOWHERE = (
    "say where the server is and who reports: --config agent.ini, or -s URL and -i NAME:KEY, or"
    " OVERC_SERVER, OVERC_MY_NAME and OVERC_MY_KEY in the environment"
)
DEFAULT_CONFIG = "/etc/overc/agent.ini"

START_AFTER_S = 1.0
TRY_S = 5.0
"""How long one attempt may take."""

END_DEADLINE_S = 10.0
END_DEADLINE = 0.1
"""How long the end is waited for: a part of the period, but no longer than the above."""

AGAIN_S = 1.0
"""Between two attempts."""

NEVER = frozenset((400, 413, 415))
"""The statuses of replies to what the server will not take another time, either."""

HEADLINE_MOST = 200
"""Characters of the last line that stand in the first one."""

_OPTIONS = frozenset(("", "server", "my-name", "my-key", "ca-file", "insecure"))

Complain = Callable[[str], None]


class Account(NamedTuple):
    """Where to report, and as whom."""

    servers: tuple[ServerUrl, ...]
    identity: ServerIdentity
    tls: ssl.SSLContext | None


def run(args: argparse.Namespace, environ: Mapping[str, str], complain: Complain) -> int:
    """Run a job, report it, and return its exit status."""
    job = Wrapped(args.argv)
    reports: Reports | None = None
    trouble = ""
    try:
        account = read_account(args, environ)
        files = JobFiles(state_folder(environ), account.identity.name)
        reports = Reports(args, account, files, complain if args.verbose else None)
    except (ConfigError, OSError, ValueError) as e:
        trouble = str(e).partition("\n")[0]
    job.start()
    if reports is not None:
        reports.begin()
    ended = job.wait()
    if not ended.started:
        complain(f"overcli: {ended.reason}")
    if reports is not None:
        trouble = reports.end(ended)
    if trouble:
        complain(f"overcli: {args.service}: not reported: {trouble}")
    if args.json:
        complain(json.dumps(_as_json(args.service, ended, trouble)))
    return ended.status


class Reports:
    """Sends the reports of one run: see Note [Job first]."""

    def __init__(
        self,
        args: argparse.Namespace,
        account: Account,
        files: JobFiles,
        trace: Complain | None,
    ) -> None:
        self._args = args
        self._account = account
        self._files = files
        self._trace = trace
        self._ended = threading.Event()
        self._done = threading.Event()
        self._deadline_s = max(1.0, min(END_DEADLINE_S, END_DEADLINE * args.period))
        self._end: Waiting | None = None
        self._kept = False
        self._trouble = ""
        self._no_start = ""

    def begin(self) -> None:
        """Begin to report; the job has begun."""
        threading.Thread(target=self._serve, daemon=True).start()

    def end(self, ended: Ended) -> str:
        """Report the end. Return what went wrong, empty if nothing did."""
        args, seen_at = self._args, time.time()
        state, said = _state(ended), headline(ended)
        report = Waiting(
            "",
            str(uuid.uuid4()),
            args.service,
            state,
            info(ended),
            args.period,
            args.grace,
            seen_at,
        )
        try:
            self._files.remember(args.service, Last(state, said))
            self._end = self._files.keep(report)
            self._kept = True
        except OSError as e:
            # It is sent all the same. The next run says OK at its start, at worst.
            self._end = report
            self._no_start = self._no_start or _no_room(self._files, e)
        self._ended.set()
        try:
            in_time = self._done.wait(self._deadline_s)
            trouble = self._trouble if in_time else f"no answer within {self._deadline_s:g} s"
        except KeyboardInterrupt:
            trouble = "interrupted"
        if not trouble:
            return self._no_start
        return trouble + ("; the next overcli run sends it" if self._kept else "")

    def _serve(self) -> None:
        if not self._args.no_start and not self._ended.wait(START_AFTER_S):
            try:
                self._report_start()
                self._send_waiting()
            except ClientError as e:
                self._say(f"start not reported: {e}")
            except OSError as e:
                self._no_start = _no_room(self._files, e)
            except Exception as e:
                # Whatever it is, the end is reported.
                self._no_start = f"start: {type(e).__name__}: {e}"
        self._ended.wait()
        try:
            self._report_end()
        except Exception as e:
            # Nobody else would hear of it.
            self._trouble = f"{type(e).__name__}: {e}"
        self._done.set()

    def _report_start(self) -> None:
        args = self._args
        last = self._files.last(args.service)
        if last is None:
            last = Last(State.OK.word, "")
            # So that a folder that can't be written to is known before anything is said.
            self._files.remember(args.service, last)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        before = f"last: {last.said}" if last.said else "for the first time here"
        service = ServiceState(args.service, last.state, f"running since {since}, {before}", 0)
        self._try(lambda client: client.set_service_status(promise_s(args), [service]))

    def _report_end(self) -> None:
        assert self._end is not None
        gives_up_at = time.monotonic() + self._deadline_s - 2 * AGAIN_S
        while True:
            try:
                self._send(self._end, None)
                break
            except ClientError as e:
                may_change = e.status in (None, 503)
                if not may_change or time.monotonic() > gives_up_at:
                    self._kept = self._kept and e.status not in NEVER
                    self._trouble = str(e)
                    return
            time.sleep(AGAIN_S)
        with contextlib.suppress(ClientError):
            self._send_waiting()

    def _send_waiting(self) -> None:
        for report in self._files.waiting():
            self._send(report, report.seen_at)

    def _send(self, report: Waiting, seen_at: float | None) -> None:
        # What is told at once has no time: by a clock that is slow, the end would lie before the
        # start, and be filed as old.
        service = ServiceState(report.service, report.state, report.info, report.grace, seen_at)
        spooled = Spooled(report.spool, 1)
        try:
            self._try(lambda client: client.set_service_status(report.period_s, [service], spooled))
        except ClientError as e:
            if e.status in NEVER:
                self._files.sent(report)
            raise
        self._files.sent(report)

    def _try(self, call: Callable[[Client], None]) -> None:
        """Tell the first server that answers. Raises ClientError."""
        *others, last = self._account.servers
        for url in others:
            try:
                return call(self._client(url))
            except ClientError as e:
                if e.status is not None and e.status != 503:
                    raise
                self._say(str(e))
        return call(self._client(last))

    def _client(self, url: ServerUrl) -> Client:
        account = self._account
        return Client(url, account.identity, deadline_s=TRY_S, trace=self._trace, tls=account.tls)

    def _say(self, line: str) -> None:
        if self._trace is not None:
            self._trace(line)


def promise_s(args: argparse.Namespace) -> int:
    """Return within how many seconds of its start the job has to end."""
    if args.within is not None:
        return int(args.within)
    promised = 0.0 if args.grace is None else grace_s(args.grace, args.period)
    return math.ceil(promised) or int(args.period)


def headline(ended: Ended) -> str:
    """Return how it went, in one line, with the last thing that it said."""
    how = ended.reason or "done"
    if ended.started:
        how += f" {'after' if ended.reason else 'in'} {span(ended.duration_s)}"
    last = ended.tail.rpartition("\n")[2].strip()
    if len(last) > HEADLINE_MOST:
        last = last[:HEADLINE_MOST] + "..."
    # What stands behind a bar would be read as measured values.
    return (f"{how}: {last}" if last else how).replace("|", "¦")


def info(ended: Ended) -> str:
    """Return what is reported of a run: a headline, its duration as perfdata, and the tail."""
    first = headline(ended)
    if ended.started:
        first += f" | 'duration'={ended.duration_s:.3f}s;;;0"
    tail = ended.tail.replace("|", "¦")
    short = "\n" not in tail and len(tail) <= HEADLINE_MOST
    return first if short else f"{first}\n{tail}"


def read_account(args: argparse.Namespace, environ: Mapping[str, str]) -> Account:
    """Return what the command line, the environment and the INI file say, in this order.

    Raises ConfigError, for what is wrong in those options that matter here.
    """
    identity: ServerIdentity | None = args.server_id
    overrides = {
        "server": args.server,
        "my-name": identity.name if identity else None,
        "my-key": identity.key if identity else None,
    }
    config = Config(_config_path(args, environ))
    main = config.section("overc", environ, overrides)
    name, key = main.require("my-name", str, ""), main.require("my-key", str, "")
    delivery = read_delivery(main, config.folder, name, environ)
    mistakes = _mistakes(config)
    if mistakes and config.path is None:
        raise ConfigError([Mistake("no server is known", NOWHERE)])
    if mistakes:
        raise ConfigError(mistakes)
    try:
        servers = tuple(map(_url, delivery.servers))
    except ValueError as e:
        raise ConfigError([Mistake(main.where, str(e), "overc", "server")]) from None
    return Account(servers, ServerIdentity(name, key), _context(delivery.tls))


def _config_path(args: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    """Return the INI file that is meant; None where nothing is needed of it, or it is not there."""
    named: str | None = args.config or environ.get("OVERC_CONFIG")
    known = args.server or environ.get("OVERC_SERVER")
    known = known and (args.server_id or {"OVERC_MY_NAME", "OVERC_MY_KEY"} <= environ.keys())
    if known and not args.config:
        return None
    path = named or (DEFAULT_CONFIG if os.path.exists(DEFAULT_CONFIG) else None)
    if path is None or not os.path.isdir(path):
        return path
    # The agent may have a folder of files, one of which says where to report.
    names = sorted(name for name in os.listdir(path) if name.endswith(".ini"))
    files = [os.path.join(path, name) for name in names]
    return next((file for file in files if Config(file).has("overc")), path)


def _mistakes(config: Config) -> list[Mistake]:
    """Return the mistakes that matter; options and sections of the agent are unknown here."""
    try:
        config.finish()
    except ConfigError as e:
        wrong = [m for m in e.mistakes if m.section in ("", "overc") and m.option in _OPTIONS]
        # First what has no section: the rest may follow from it.
        return sorted(wrong, key=lambda m: m.section)
    return []


def _url(server: Server) -> ServerUrl:
    url = parse_url(server.url)
    if server.credentials is None:
        return url
    return replace(url, credentials=":".join(server.credentials).encode("utf-8", "replace"))


def _context(tls: TlsSettings) -> ssl.SSLContext | None:
    if tls.ca_pem is not None:
        return ssl.create_default_context(cadata=tls.ca_pem.decode("ascii", "replace"))
    if tls.verify:
        return None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _state(ended: Ended) -> str:
    return State.FAIL.word if ended.status else State.OK.word


def _no_room(files: JobFiles, error: OSError) -> str:
    return (
        f"start: the last state can't be kept in {files.folder}: {error.strerror};"
        " set STATE_DIRECTORY to a folder that is yours, or give --no-start"
    )


def _as_json(service: str, ended: Ended, trouble: str) -> dict[str, Any]:
    return {
        "service": service,
        "state": _state(ended),
        "exit_status": ended.status,
        "duration_s": round(ended.duration_s, 3),
        "reported": not trouble,
        "trouble": trouble,
    }
