"""What the server's tests share: a clock, stores over real SQLite files, commands that obey."""

from __future__ import annotations

import functools
import json
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.server import Site
from zope.interface import implementer

from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Route
from overc.daemon.expectations import Expectations, Rule
from overc.daemon.intake import Intake
from overc.daemon.recording import Recorded, Recorder, Submission, Times
from overc.daemon.store import sqlite
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import StorageError
from overc.model import AlertReport, Report, ServerIdentity, ServiceReport, Spooled, State
from overc.process import Outcome

P = ParamSpec("P")
T = TypeVar("T")

WALL_AT = 1_772_359_200.0  # 2026-03-01 10:00:00
STEADY_AT = WALL_AT - 5000.0
PEER_IP = "192.0.2.1"
PEER = IPv4Address("TCP", "192.0.2.7", 40000)


@dataclass
class FakeClock:
    """The two clocks, set by hand."""

    wall_at: float = WALL_AT
    steady_at: float = STEADY_AT

    def wall(self) -> float:
        return self.wall_at

    def steady(self) -> float:
        return self.steady_at

    def advance(self, span_s: float) -> None:
        self.wall_at += span_s
        self.steady_at += span_s

    def times(self) -> Times:
        return Times(self.wall_at, self.steady_at)


def a_state(
    name: str = "disk",
    state: State = State.OK,
    info: str = "fine",
    period_s: int = 60,
    seen_at: float | None = None,
) -> ServiceReport:
    return ServiceReport(name, state, info, period_s, seen_at)


def a_report(
    *services: ServiceReport,
    name: str = "web1",
    key: str = "secret",
    ip: str = PEER_IP,
    alerts: Sequence[AlertReport] = (),
    spooled: tuple[str, int] | None = None,
) -> Report:
    place = None if spooled is None else Spooled(*spooled)
    return Report(ServerIdentity(name, key), ip, services, tuple(alerts), place)


def result_of(awaitable: Awaitable[T]) -> T:
    """Return what came of something that must have ended by now; raise what it raised."""
    ended: list[Any] = []
    _as_deferred(awaitable).addBoth(ended.append)
    assert ended, "has not ended"
    if isinstance(ended[0], Failure):
        ended[0].raiseException()
    result: T = ended[0]
    return result


def _as_deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    if isinstance(awaitable, Deferred):
        return awaitable
    return Deferred.fromCoroutine(awaitable)  # type: ignore[arg-type]


def a_database(folder: Path) -> str:
    path = folder / "overc.db"
    path.write_bytes(_empty_database())
    return str(path)


@functools.cache
def _empty_database() -> bytes:
    """Made once: each step of the schema is synced to the disk, and there are many tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overc.db"
        sqlite.prepare(str(path))
        return path.read_bytes()


@contextmanager
def connected(path: str, **more: Any) -> Iterator[sqlite3.Connection]:
    """Open a database for a moment. Nothing is synced: no test here cuts the power."""
    with closing(sqlite3.connect(path, **more)) as connection:
        connection.execute("pragma synchronous = off")
        yield connection


def rows(path: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connected(path) as connection:
        return connection.execute(sql, values).fetchall()


def change(path: str, sql: str, *values: Any) -> None:
    with connected(path) as connection, connection:
        connection.execute("pragma foreign_keys = on")
        connection.execute(sql, values)


def in_transaction(
    path: str, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kw: P.kwargs
) -> T:
    """Run a function in one transaction; nothing is stored when it raises."""
    with connected(path, isolation_level=None) as connection:
        connection.execute("pragma foreign_keys = on")
        connection.execute("begin immediate")
        result = interaction(Transaction(connection.cursor()), *args, **kw)
        connection.commit()
        return result


def in_snapshot(
    path: str, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kw: P.kwargs
) -> T:
    """Run a function that only reads, beside whoever writes."""
    with connected(path, isolation_level=None) as connection:
        connection.execute("pragma query_only = on")
        connection.execute("begin")
        return interaction(Transaction(connection.cursor()), *args, **kw)


def record(path: str, recorder: Recorder, clock: FakeClock, *reports: Report) -> Recorded:
    """Record reports whose keys all fit, in one transaction."""
    submissions = [Submission(one, "key") for one in reports]
    return in_transaction(path, recorder.record, submissions, clock.times())


def a_recorder(*plugins: str, rules: Sequence[Rule] = ()) -> Recorder:
    """A recorder whose alerts all go to these plugins at once."""
    return Recorder(Raiser([Route(plugin) for plugin in plugins]), Expectations(rules))


class SteppedStore:
    """A store over a real file that runs on the test's own thread, at once or when told to.

    While `held`, each call waits in `waiting` for `step()`. `fault` may raise, or return an
    awaitable to wait for, by a call's description.
    """

    may_be_away = False

    def __init__(self, path: str) -> None:
        self.path = path
        self.held = False
        self.waiting: list[Deferred[None]] = []
        self.calls: list[str] = []
        self.arguments: list[tuple[Any, ...]] = []
        self.fault: Callable[[str], Awaitable[None] | None] = lambda description: None

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self.held:
            turn: Deferred[None] = Deferred()
            self.waiting.append(turn)
            await turn
        await self._begin(description, args)
        with _as_storage_error(description):
            return in_transaction(self.path, interaction, *args, **kwargs)

    async def read(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        await self._begin(description, args)
        with _as_storage_error(description):
            return in_snapshot(self.path, interaction, *args, **kwargs)

    async def open(self) -> None:
        sqlite.prepare(self.path)

    def close(self) -> None:
        pass

    def step(self) -> None:
        """Let the oldest write that waits run."""
        self.waiting.pop(0).callback(None)

    async def _begin(self, description: str, args: tuple[Any, ...]) -> None:
        self.calls.append(description)
        self.arguments.append(args)
        waited = self.fault(description)
        if waited is not None:
            await waited


class SerialStore(SteppedStore):
    """Its transactions begin in order, each when the one before has ended, as in a writer's thread.

    While `held`, each one waits in `waiting`, once its function has run, for the `step()` that ends
    it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.turns: list[Deferred[None]] = []
        """The first one's transaction has begun, the others stand ready."""

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if not self.held:
            return await super().write(description, interaction, *args, **kwargs)
        turn: Deferred[None] = Deferred()
        self.turns.append(turn)
        if len(self.turns) == 1:
            turn.callback(None)
        await turn
        try:
            await self._begin(description, args)
            with (
                _as_storage_error(description),
                connected(self.path, isolation_level=None) as connection,
            ):
                connection.execute("pragma foreign_keys = on")
                connection.execute("begin immediate")
                result = interaction(Transaction(connection.cursor()), *args, **kwargs)
                end: Deferred[None] = Deferred()
                self.waiting.append(end)
                await end
                connection.commit()
                return result
        finally:
            self.turns.pop(0)
            if self.turns:
                self.turns[0].callback(None)

    def step(self, error: Exception | None = None) -> None:
        """Let the transaction that has begun end, or fail."""
        end = self.waiting.pop(0)
        if error is None:
            end.callback(None)
        else:
            end.errback(error)


@contextmanager
def _as_storage_error(description: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as e:
        raise StorageError(f"Unable to {description}: {e}") from e


def said(info: str, **more: Any) -> Report:
    return a_report(a_state("disk", info=info), **more)


class SteppedReactor(Clock):
    """Has no threads: what another one would call in the reactor's is called at once."""

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)


class IntakeDesk:
    """An intake over a stepped store; `submit` gives back what the sender waits for."""

    def __init__(self, path: str, queue_max: int, store: SteppedStore | None = None) -> None:
        self.store: Any = store or SerialStore(path)
        self.clock = FakeClock()
        self.nudges = 0
        self.failures = 0
        self.commits = 0
        self.reactor = SteppedReactor()
        self.recorder = a_recorder("mail")
        self.intake = Intake(
            self.reactor,
            self.store,
            self.clock,
            self.recorder,
            self._nudge,
            self._store_failed,
            queue_max,
            stored=self._count_commit,
        )
        self.intake.startService()

    def _count_commit(self) -> None:
        self.commits += 1

    def _nudge(self) -> None:
        self.nudges += 1

    def _store_failed(self) -> None:
        self.failures += 1

    def delete_server(self, id_: int) -> None:
        assert in_transaction(self.store.path, self.recorder.delete_server, id_) == "web1"
        self.intake.forget("web1")

    def submit(self, *reports: Report) -> list[Deferred[None]]:
        return [self.intake.submit(one) for one in reports]

    def batches(self) -> list[int]:
        calls = zip(self.store.calls, self.store.arguments, strict=True)
        return [len(arguments[0].reports) for call, arguments in calls if call == "store a report"]

    def infos(self) -> list[str]:
        return [info for (info,) in rows(self.store.path, "select info from states order by id")]


@dataclass
class Run:
    """A command that ends when the test says so."""

    argv: Sequence[str]
    folder: str
    env: Mapping[str, str]
    stdin: bytes
    timeout_s: float
    ended: Deferred[Outcome] = field(default_factory=Deferred)

    def end(self, exit_code: int = 0, output: bytes = b"") -> None:
        self.ended.callback(Outcome(output=output, exit_code=exit_code))

    def end_as(self, outcome: Outcome) -> None:
        self.ended.callback(outcome)


class FakeRunner:
    """Stands in for the runner: keeps what was run, by the program's name."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.running = False
        self.under_way: list[Run] = []
        self.most_at_once: dict[str, int] = {}

    def startService(self) -> None:
        self.running = True

    def stopService(self) -> Deferred[None]:
        self.running = False
        for run in list(self.under_way):
            run.end_as(Outcome(signal=15))
        return succeed(None)

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float,
    ) -> Outcome:
        assert self.running
        run = Run(argv, folder, env, stdin, timeout_s)
        self.runs.append(run)
        self.under_way.append(run)
        same = sum(one.argv == argv for one in self.under_way)
        self.most_at_once[argv[0]] = max(self.most_at_once.get(argv[0], 0), same)
        try:
            return await run.ended
        finally:
            self.under_way.remove(run)

    def of(self, program: str) -> list[Run]:
        return [run for run in self.runs if run.argv[0] == program]


@dataclass(frozen=True)
class Reply:
    """An answer as it stood on the wire; header names in lower case."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of a refusal, which has to be all that it says."""
        assert self.headers["content-type"] == "application/json"
        [(name, sentence)] = self.json.items()
        assert (name, type(sentence)) == ("error", str)
        return str(sentence)


class Wire(StringTransport):
    """A client's connection to a site, without a socket."""

    def __init__(self, site: Site, peer: IAddress = PEER) -> None:
        super().__init__(peerAddress=peer)
        self.aborted = False
        self._channel: Any = site.buildProtocol(peer)
        self._channel.makeConnection(self)

    def send(self, data: bytes) -> None:
        self._channel.dataReceived(data)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str | bytes] = {}
    ) -> Reply:
        """Send a whole request and return its answer, which has to have come at once."""
        self.clear()
        lines = {"Host": "mon.example.com", "Content-Length": str(len(body)), **headers}
        head = [f"{method} {path} HTTP/1.1".encode()]
        for name, value in lines.items():
            head.append(
                f"{name}: ".encode() + (value if isinstance(value, bytes) else value.encode())
            )
        self.send(b"\r\n".join(head) + b"\r\n\r\n" + body)
        [reply] = self.replies(bodiless=method == "HEAD")
        return reply

    def replies(self, *, bodiless: bool = False) -> list[Reply]:
        """Return all that was answered, each answer whole."""
        found, data = [], self.value()
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
            length = 0 if bodiless else int(headers.get("content-length", "0"))
            assert len(data) >= length
            found.append(Reply(int(status.split(" ")[1]), headers, data[:length]))
            data = data[length:]
        return found

    def hang_up(self) -> None:
        self._channel.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        self.aborted = True


@implementer(ILogObserver)
class Logged(list[str]):
    """Our own log, one string for each event: its level and its text."""

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("overc."):
            self.append(f"{event['log_level'].name}: {formatEvent(event)}")


@contextmanager
def our_log() -> Iterator[Logged]:
    lines = Logged()
    globalLogPublisher.addObserver(lines)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(lines)
