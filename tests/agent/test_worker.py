from __future__ import annotations

import threading

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, DeferredList

from overc.agent.worker import Here, Thread, Worker


@pytest.fixture(params=["here", "thread"])
def worker(request: pytest.FixtureRequest) -> Worker:
    return Here() if request.param == "here" else Thread(reactor, "test")


@pytest_twisted.ensureDeferred
async def test_one_after_the_other(worker: Worker) -> None:
    done: list[int] = []
    answers = [worker.call(lambda n=n: done.append(n)) for n in range(100)]  # type: ignore[misc]
    await DeferredList(answers)
    assert done == list(range(100))
    assert await worker.call(lambda: 7) == 7
    worker.stop()


@pytest_twisted.ensureDeferred
async def test_an_error_is_the_answer(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0)
    assert await worker.call(lambda: "goes on") == "goes on"
    worker.stop()


@pytest_twisted.ensureDeferred
async def test_who_gives_up_is_not_waited_for() -> None:
    worker = Thread(reactor, "test")
    gate = threading.Event()
    held = worker.call(gate.wait)
    held.cancel()
    with pytest.raises(CancelledError):
        await held
    gate.set()
    assert await worker.call(lambda: "goes on") == "goes on"
    worker.stop()


@pytest_twisted.ensureDeferred
async def test_a_stop_comes_after_what_was_asked_for() -> None:
    worker = Thread(reactor, "test")
    answer = worker.call(threading.current_thread)
    worker.stop()
    thread = await answer
    thread.join(10)
    assert not thread.is_alive()
    assert thread.daemon
