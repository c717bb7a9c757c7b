from __future__ import annotations

from agent.conftest import Logged, logged  # noqa: F401
from twisted.internet.task import Clock

from overc.sd_notify import Notifier
from overc.supervision import Supervision


class Said(Notifier):
    def __init__(self, watchdog_s: float | None) -> None:
        super().__init__({})
        self.watchdog_s = watchdog_s
        self.lines: list[str] = []

    def _send(self, *lines: str) -> None:
        self.lines += lines


def test_it_says_so_while_the_work_is_done_and_no_longer(
    logged: Logged,  # noqa: F811
) -> None:
    clock, said = Clock(), Said(30.0)
    well = True
    supervision = Supervision(clock, said, lambda: well)
    supervision.startService()
    supervision.ready("fine")
    clock.pump([10.0] * 2)
    assert said.lines == ["WATCHDOG=1", "READY=1", "STATUS=fine", "WATCHDOG=1", "WATCHDOG=1"]
    well = False
    clock.pump([10.0] * 5)
    assert len(said.lines) == 5
    assert logged == ["the work is not being done: systemd may restart this service"]
    well = True
    clock.advance(10)
    assert said.lines[5:] == ["WATCHDOG=1"]
    supervision.stopService()
    assert said.lines[6:] == ["STOPPING=1"]
    assert clock.getDelayedCalls() == []


def test_who_cannot_tell_is_not_alive(logged: Logged) -> None:  # noqa: F811
    clock, said = Clock(), Said(30.0)
    Supervision(clock, said, lambda: bool(1 / 0)).startService()
    clock.advance(10)
    assert said.lines == []
    assert "nobody can tell whether the work is being done" in logged


def test_without_a_watchdog_there_is_no_timer() -> None:
    clock, said = Clock(), Said(None)
    supervision = Supervision(clock, said, lambda: True)
    supervision.startService()
    assert clock.getDelayedCalls() == []
    supervision.reloading()
    supervision.stopService()
    assert said.lines[0] == "RELOADING=1"
    assert said.lines[-1] == "STOPPING=1"
