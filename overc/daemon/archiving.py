"""One small batch of roll-ups at a time, as functions that run in transactions.

Each batch is found on a snapshot, beside the writer, and then stored. What it is stored upon is
compared first: of two nodes that found the same batch, one stores it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from overc.daemon import rollups
from overc.daemon.expectations import Expectations
from overc.daemon.rollups import DAY_S, HOUR_S, Durations, Hold, S, StateRow, ValueKey, Values
from overc.daemon.store import archive
from overc.daemon.store.archive import (
    PERF_BUCKETS,
    STATE_BUCKETS,
    Buckets,
    Key,
    Progress,
    Promise,
    Series,
    Sums,
)
from overc.daemon.store.engine import Transaction

STATES_MAX = 256
"""States that are folded at a time."""

BUCKETS_MAX = 1000
"""With so many hours to write, no further states are folded at that time."""

SIZE_MAX = 512 * 1024
"""About as many bytes of infos are read at a time."""

DAY_ROWS_MAX = 200
"""Services, or series, of which a day is summed up at a time."""

DAY_WAIT_S = HOUR_S
"""A day is summed up when it is over for so long. What comes later is added to the sum."""

SERIES_MAX = 256
"""For each service. Further labels, such as those that hold a number of a process, are left out."""

SeriesName = tuple[int, str, str]
"""Service, label, unit."""


class FoldedBatch(NamedTuple):
    """States, folded, with the rows that come of them."""

    progress: Mapping[str, Progress]
    up_to_id: int
    timelines: Mapping[int, str]
    state_hours: Mapping[Key, Durations]
    state_days: Mapping[Key, Durations]
    perf_hours: Mapping[Key, Values]
    perf_days: Mapping[Key, Values]
    used: Mapping[int, Sequence[int]]
    """For each day the series that got a value that is the first one in it."""
    new_series: Mapping[SeriesName, Mapping[int, Values]]
    """The hours of each."""


def find_states(tx: Transaction, expectations: Expectations, newest_id: int) -> FoldedBatch | None:
    """Fold the states that come next, up to one; None: there are none."""
    progress = archive.read_progress(tx)
    up_to_id = progress["states"].up_to
    sizes = archive.state_sizes(tx, up_to_id, newest_id, STATES_MAX)
    if not sizes:
        return None
    to_id = _within(SIZE_MAX, ((id_, size) for id_, _, size in sizes))
    states = [StateRow(*row) for row in archive.states_after(tx, up_to_id, to_id)]
    service_ids = sorted({one.service_id for one in states})
    kept = archive.timelines(tx, service_ids)
    folded = rollups.fold(
        states,
        {
            id_: hold_of(promise, expectations)
            for id_, promise in archive.promises(tx, service_ids).items()
        },
        {id_: rollups.parse_timeline(points) for id_, points in kept.items()},
        up_to_id,
        BUCKETS_MAX,
    )
    series = archive.series(tx, service_ids)
    measured, new = _by_series(folded.values, series)
    late = _late(progress[STATE_BUCKETS.days], folded.durations)
    late_measured = _late(progress[PERF_BUCKETS.days], measured)
    return FoldedBatch(
        progress,
        folded.up_to_id,
        {id_: rollups.show_timeline(line) for id_, line in folded.timelines.items()},
        _joined_durations(tx, STATE_BUCKETS.hours, folded.durations),
        _joined_durations(tx, STATE_BUCKETS.days, late),
        _joined_values(tx, PERF_BUCKETS.hours, measured),
        _joined_values(tx, PERF_BUCKETS.days, late_measured),
        _used(measured, series),
        new,
    )


def hold_of(promise: Promise, expectations: Expectations) -> Hold:
    """Return for how long states of a service hold, as it is now expected of the service."""
    calendar = expectations.of(promise.server, promise.name).calendar
    return Hold(promise.period_s, promise.grace_s, calendar)


def store_states(tx: Transaction, batch: FoldedBatch) -> bool:
    """Write what was folded; False, and nothing written, when the snapshot does not hold any more.

    Services that were deleted meanwhile are passed over.
    """
    if not archive.same_progress(tx, batch.progress):
        return False
    left = archive.promises(tx, sorted(batch.timelines))
    archive.save_timelines(tx, {id_: t for id_, t in batch.timelines.items() if id_ in left})
    names = [name for name in batch.new_series if name[0] in left]
    rows = [(*name, rollups.day_of(max(batch.new_series[name]))) for name in names]
    new_hours = {
        (starts_at, id_): values
        for id_, name in zip(archive.add_series(tx, rows), names, strict=True)
        for starts_at, values in batch.new_series[name].items()
    }
    new_days = _late(batch.progress[PERF_BUCKETS.days], new_hours)
    for used_at, ids in batch.used.items():
        archive.use_series(tx, ids, used_at)
    archive.save_buckets(tx, STATE_BUCKETS, STATE_BUCKETS.hours, batch.state_hours)
    archive.save_buckets(tx, STATE_BUCKETS, STATE_BUCKETS.days, batch.state_days)
    archive.save_buckets(tx, PERF_BUCKETS, PERF_BUCKETS.hours, {**batch.perf_hours, **new_hours})
    archive.save_buckets(tx, PERF_BUCKETS, PERF_BUCKETS.days, {**batch.perf_days, **new_days})
    archive.set_progress(tx, "states", Progress(batch.up_to_id, 0))
    return True


def _by_series(
    values: Mapping[ValueKey, Values], known: Sequence[Series]
) -> tuple[dict[Key, Values], dict[SeriesName, dict[int, Values]]]:
    """Divide values into those of known series and those of new ones, as many as there may be."""
    ids = {(one.service_id, one.label, one.uom): one.id for one in known}
    counts = Counter(one.service_id for one in known)
    measured: dict[Key, Values] = {}
    new: dict[SeriesName, dict[int, Values]] = {}
    for key, one in values.items():
        name = (key.service_id, key.label, key.uom)
        if name in ids:
            measured[key.starts_at, ids[name]] = one
        elif name in new:
            new[name][key.starts_at] = one
        elif counts[key.service_id] < SERIES_MAX:
            counts[key.service_id] += 1
            new[name] = {key.starts_at: one}
    return measured, new


def _used(measured: Iterable[Key], known: Sequence[Series]) -> dict[int, list[int]]:
    used_at = {one.id: one.used_at for one in known}
    days: dict[int, int] = {}
    for starts_at, id_ in measured:
        days[id_] = max(days.get(id_, 0), rollups.day_of(starts_at))
    found: dict[int, list[int]] = {}
    for id_, day in days.items():
        if day > used_at[id_]:
            found.setdefault(day, []).append(id_)
    return found


def _late(days: Progress, sums: Mapping[Key, S]) -> dict[Key, S]:
    """Return by day what belongs to days that are summed up already."""
    parts: list[tuple[Key, S]] = []
    for (starts_at, id_), one in sums.items():
        day = rollups.day_of(starts_at), id_
        if day <= days:
            parts.append((day, one))
    return rollups.total(parts)


def _joined_durations(
    tx: Transaction, table: str, sums: Mapping[Key, Durations]
) -> dict[Key, Durations]:
    """Return whole buckets: what there is, and what comes to it."""
    known = archive.buckets(tx, STATE_BUCKETS, table, sums)
    joined = {}
    for key, one in sums.items():
        whole = one.plus(Durations(*known[key])) if key in known else one
        # Less than nothing is left where time is taken back from a bucket that was pruned.
        whole = Durations(*(max(0, part) for part in whole))
        if key in known or any(whole):
            joined[key] = whole
    return joined


def _joined_values(tx: Transaction, table: str, sums: Mapping[Key, Values]) -> dict[Key, Values]:
    known = archive.buckets(tx, PERF_BUCKETS, table, sums)
    return {
        key: one.plus(Values(*known[key])) if key in known else one for key, one in sums.items()
    }


class SummedDay(NamedTuple):
    """A part of a day, summed up of its hours, and how far the work has come with it."""

    progress: Mapping[str, Progress]
    sums: Mapping[Key, Sums]
    reached: Progress


def find_day(tx: Transaction, kind: Buckets, now_at: float) -> SummedDay | None:
    """Sum up some of the day that comes next; None while it is not over."""
    progress = archive.read_progress(tx)
    day_at, position = progress[kind.days]
    if now_at < day_at + DAY_S + DAY_WAIT_S:
        return None
    starts = range(day_at, day_at + DAY_S, HOUR_S)
    hours = archive.hours_of_day(tx, kind, starts, position, DAY_ROWS_MAX)
    ids = sorted({id_ for id_, _ in hours})[:DAY_ROWS_MAX]
    if not ids:
        # Nothing is left of it. Days without any hours are passed over.
        start_at = archive.first_start(tx, kind.hours, day_at + DAY_S)
        today_at = rollups.day_of(int(now_at))
        next_at = today_at if start_at is None else min(rollups.day_of(start_at), today_at)
        return SummedDay(progress, {}, Progress(next_at, 0))
    rows = [((day_at, id_), sums) for id_, sums in hours if id_ <= ids[-1]]
    days: Mapping[Key, Sums]
    if kind is STATE_BUCKETS:
        days = rollups.total((key, Durations(*sums)) for key, sums in rows)
    else:
        days = rollups.total((key, Values(*sums)) for key, sums in rows)
    return SummedDay(progress, days, Progress(day_at, ids[-1]))


def store_day(tx: Transaction, kind: Buckets, day: SummedDay) -> bool:
    """Write a part of a day; False, and nothing written, when the snapshot does not hold."""
    if not archive.same_progress(tx, day.progress):
        return False
    archive.save_buckets(tx, kind, kind.days, day.sums)
    archive.set_progress(tx, kind.days, day.reached)
    return True


def find_old_states(tx: Transaction, after_id: int, before_at: float) -> tuple[int, int] | None:
    """Return which range of the history is too old: behind which id, up to which; None: no more.

    Ids grow with time, so what stands before an old state is old. What is not rolled up yet stays.
    """
    up_to_id = archive.read_progress(tx)["states"].up_to
    rows = archive.state_sizes(tx, after_id, up_to_id, STATES_MAX)
    old = [place for place, (_, received_at, _) in enumerate(rows, 1) if received_at < before_at]
    if not old:
        return None
    return after_id, _within(SIZE_MAX, ((id_, size) for id_, _, size in rows[: old[-1]]))


def _within(size_max: int, rows: Iterable[tuple[int, int]]) -> int:
    """Return the last id with which the sizes do not exceed a sum; the first one in any case."""
    last_id, sum_ = 0, 0
    for id_, size in rows:
        sum_ += size
        if last_id and sum_ > size_max:
            break
        last_id = id_
    return last_id
