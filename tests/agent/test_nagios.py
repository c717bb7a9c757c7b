from __future__ import annotations

import pytest

from overc.agent.nagios import clean, read
from overc.model import State
from overc.process import Outcome


@pytest.mark.parametrize(
    "outcome, state, info",
    [
        (Outcome(b"up 32h\n", exit_code=0), "OK", "up 32h"),
        (Outcome(b"a bit\n\n \t\r\n", exit_code=1), "WARN", "a bit"),
        (Outcome(b"  two\nlines | load=1\n", exit_code=2), "FAIL", "  two\nlines | load=1"),
        (Outcome(b"who knows", exit_code=3), "UNK", "who knows"),
        (Outcome(b"odd", exit_code=255), "UNK", "odd"),
        (Outcome(b"", exit_code=0), "OK", ""),
        (Outcome(b"", exit_code=4), "UNK", ""),
        (
            Outcome(b"sh: foo: not found\n", exit_code=127),
            "UNK",
            "exit status 127: the command, or one that it calls, was not found\nsh: foo: not found",
        ),
        (
            Outcome(b"", exit_code=126),
            "UNK",
            "exit status 126: the command, or one that it calls, can't be executed",
        ),
        (Outcome(b"so far\n", signal=15, timed_out=True), "UNK", "timed out after 10 s\nso far"),
        (Outcome(b"fine\n", exit_code=0, timed_out=True), "UNK", "timed out after 10 s\nfine"),
        (Outcome(b"", signal=9), "UNK", "killed by SIGKILL"),
        (Outcome(b"x", signal=11), "UNK", "killed by SIGSEGV\nx"),
        (Outcome(b"", signal=200), "UNK", "killed by signal 200"),
        (Outcome(error="./x: no such file in /etc"), "UNK", "./x: no such file in /etc"),
        (Outcome(error="\udcff\0: not found"), "UNK", ": not found"),
        (
            Outcome(b"yyy", signal=9, flooded=True, truncated=True),
            "UNK",
            "killed: it printed without an end\nyyy\n(output cut after 3 bytes)",
        ),
        (
            Outcome(b"long \n", exit_code=0, truncated=True),
            "OK",
            "long\n(output cut after 6 bytes)",
        ),
        (
            Outcome("aé".encode()[:2], exit_code=0, truncated=True),  # cut inside a character
            "OK",
            "a\n(output cut after 2 bytes)",
        ),
        (Outcome(b"a\xffb\xed\xa0\x80", exit_code=0), "OK", "a\ufffdb\ufffd\ufffd\ufffd"),
        (Outcome(b"a\0b\0", exit_code=0), "OK", "ab"),
        (Outcome("日本 ✓".encode(), exit_code=0), "OK", "日本 ✓"),
    ],
)
def test_reading(outcome: Outcome, state: str, info: str) -> None:
    reading = read(outcome, 10.0)
    assert (reading.state, reading.info) == (State(state), info)


@pytest.mark.parametrize(
    "outcome, own_word",
    [
        (Outcome(exit_code=0), True),
        (Outcome(exit_code=77), True),
        (Outcome(exit_code=0, truncated=True), True),
        (Outcome(exit_code=126), False),
        (Outcome(exit_code=127), False),
        (Outcome(exit_code=0, timed_out=True), False),
        (Outcome(signal=9), False),
        (Outcome(signal=9, flooded=True), False),
        (Outcome(error="not started"), False),
    ],
)
def test_whose_word_it_is(outcome: Outcome, own_word: bool) -> None:
    assert read(outcome, 10.0).own_word is own_word


def test_the_time_limit_is_written_as_people_do() -> None:
    assert read(Outcome(signal=9, timed_out=True), 2.5).info == "timed out after 2.5 s"


def test_clean_text_can_be_encoded() -> None:
    assert clean("a\0\ud800b\udfff é").encode() == "ab é".encode()
