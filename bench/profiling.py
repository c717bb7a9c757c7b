"""Where a running server spends its time: py-spy's samples, summed up by function."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SAMPLES_PER_S = 100
TOP = 30
END_LIMIT_S = 60

IDLE = "Condition.wait (threading.py)"
"""Where a pool's thread waits for work; py-spy takes it for busy."""

_FRAME = re.compile(
    r"twistd\)$|\(twisted/(application|scripts|_threads|python/(log|context|threadpool|util))"
    r"|\(threading\.py\)$|ReactorBase\.(run|mainLoop) "
)
"""What is on every stack, and tells nothing."""

_LINE_NUMBER = re.compile(r":\d+\)")
_THREAD = re.compile(r"^thread \([0-9A-Fa-fx]+\)(?:: )?")


class ProfileError(Exception):
    """py-spy is missing or did not work."""


@contextlib.contextmanager
def profiled(pid: int, duration_s: int, folder: Path, gil: bool) -> Iterator[list[str]]:
    """Sample a process while the body runs; the list holds lines to print afterwards.

    `gil`: count only the thread that holds Python's lock, which shows who keeps others waiting.
    """
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if spy is None:
        raise ProfileError("py-spy is missing: install it beside Python, pip install py-spy")
    samples, lines = folder / "samples.txt", list[str]()
    command = [
        spy, "record", "--pid", str(pid),
        "--duration", str(duration_s), "--rate", str(SAMPLES_PER_S),
        "--threads", "--nonblocking", "--format", "raw", "--output", str(samples),
        *(["--gil"] if gil else []),
    ]  # fmt: skip
    recorder = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield lines
        _, errors = recorder.communicate(timeout=END_LIMIT_S)
    finally:
        recorder.kill()
        recorder.wait()
    if not samples.exists():
        raise ProfileError(f"py-spy recorded nothing: {errors.decode(errors='replace')[-300:]}")
    lines += summary(samples.read_text(errors="replace"), duration_s * SAMPLES_PER_S)


def summary(samples: str, looks: int) -> list[str]:
    """Sum up collapsed stacks, `frame;frame;... count`, for each thread.

    `looks`: how often the process was looked at; fewer samples mean that it waited.
    """
    own: dict[str, Counter[str]] = {}
    whole: dict[str, Counter[str]] = {}
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = (_LINE_NUMBER.sub(")", frame) for frame in stack.split(";"))
        if not frames or frames[-1] == IDLE:
            continue
        thread = _THREAD.sub("", thread) or "MainThread"
        own.setdefault(thread, Counter())[frames[-1]] += int(count)
        # Once for each sample, also where a function calls itself.
        telling = dict.fromkeys(frame for frame in frames if not _FRAME.search(frame))
        whole.setdefault(thread, Counter()).update(dict.fromkeys(telling, int(count)))
    total = sum(counts.total() for counts in own.values())
    lines = [f"{total} samples in {looks} looks; below, percent of the samples"]
    for thread, counts in sorted(own.items(), key=lambda item: -item[1].total()):
        if counts.total() * 100 < total:
            continue
        lines.append(f"{thread}: {100 * counts.total() / total:.0f} %")
        lines.append("   own %  function")
        lines += _top(counts, total)
        lines.append("   all %  function, with what it calls")
        lines += _top(whole[thread], total)
    return lines


def _top(counts: Counter[str], total: int) -> list[str]:
    return [
        f"  {100 * count / total:6.1f}  {frame}"
        for frame, count in counts.most_common(TOP)
        if count * 200 >= total
    ]
