from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overc.daemon.alerting.grouping import ROWS_MAX, message, plan
from overc.daemon.alerting.messages import Kind, Message
from overc.daemon.store.deliveries import Due, Liveness
from overc.model import Notice

NOW_AT = 1000.0
MANY = 50


def late(id_: int, service: int, server: int = 1, **more: object) -> Due:
    return a_row(id_, service, server, "problem", "late", **more)


def back(id_: int, service: int, server: int = 1, **more: object) -> Due:
    return a_row(id_, service, server, "recovery", "late", **more)


def bad(id_: int, service: int, server: int = 1, **more: object) -> Due:
    return a_row(id_, service, server, "problem", "state", **more)


def note(id_: int, service: int | None = None, server: int | None = None, **more: object) -> Due:
    return a_row(id_, service, server, "note", "", **more)


def a_row(
    id_: int, service: int | None, server: int | None, phase: str, topic: str, **more: object
) -> Due:
    lane = service or -(server or 0)
    row = Due(id_, 100 + id_, lane, server, service, phase, topic, False, 0, None, None, None)
    return row._replace(**more)  # type: ignore[arg-type]


ALL_LATE = {1: Liveness(2, 0, 77.0), 2: Liveness(2, 0, 88.0)}
SOME_LATE = {1: Liveness(2, 1, 77.0)}
ALL_BACK = {1: Liveness(0, 2, 990.0)}


@pytest.mark.parametrize(
    "rows, hosts, expected",
    [
        ([], {}, []),
        # Each for itself.
        ([note(1), note(2)], {}, [(Kind.SINGLE, [1]), (Kind.SINGLE, [2])]),
        ([bad(1, 11), bad(2, 12)], {}, [(Kind.SINGLE, [1]), (Kind.SINGLE, [2])]),
        ([late(1, 11)], ALL_LATE, [(Kind.SINGLE, [1])]),
        ([late(1, 11), late(2, 21, server=2)], {}, [(Kind.SINGLE, [1]), (Kind.SINGLE, [2])]),
        # Services of one server that fall late together.
        ([late(1, 11), late(2, 12)], ALL_LATE, [(Kind.SILENT, [1, 2])]),
        ([late(1, 11), late(2, 12)], SOME_LATE, [(Kind.LATE, [1, 2])]),
        ([late(1, 11), late(2, 12)], {}, [(Kind.LATE, [1, 2])]),
        (
            [late(1, 11), late(2, 21, server=2), late(3, 12), late(4, 22, server=2)],
            ALL_LATE,
            [(Kind.SILENT, [1, 3]), (Kind.SILENT, [2, 4])],
        ),
        ([late(1, 11), note(2), late(3, 12)], {}, [(Kind.LATE, [1, 3]), (Kind.SINGLE, [2])]),
        # Coming back.
        ([back(1, 11), back(2, 12)], ALL_BACK, [(Kind.RETURNED, [1, 2])]),
        ([back(1, 11), back(2, 12)], {1: Liveness(0, 3, 1.0)}, [(Kind.BACK, [1, 2])]),
        ([back(1, 11), back(2, 12)], {1: Liveness(1, 2, 1.0)}, [(Kind.BACK, [1, 2])]),
        ([back(1, 11)], {1: Liveness(0, 1, 1.0)}, [(Kind.SINGLE, [1])]),
        ([late(1, 11), back(2, 12)], ALL_BACK, [(Kind.SINGLE, [1]), (Kind.SINGLE, [2])]),
        # No row overtakes an earlier one of its service.
        (
            [bad(1, 12), late(2, 11), late(3, 12)],
            {},
            [(Kind.SINGLE, [1]), (Kind.LATE, [2, 3])],
        ),
        (
            [late(1, 11), bad(2, 12), late(3, 12)],
            {},
            [(Kind.SINGLE, [1]), (Kind.SINGLE, [2]), (Kind.SINGLE, [3])],
        ),
        (
            [late(1, 11), back(2, 11), late(3, 12), back(4, 12)],
            {},
            [(Kind.LATE, [1, 3]), (Kind.BACK, [2, 4])],
        ),
        ([late(1, 11), late(2, 11), late(3, 12)], {}, [(Kind.LATE, [1, 3]), (Kind.SINGLE, [2])]),
        ([late(1, 11), back(2, 11), late(3, 11)], {}, [(Kind.SINGLE, [n]) for n in (1, 2, 3)]),
        # Reminders are no news.
        (
            [late(1, 11, reminder=True), late(2, 12), late(3, 13, reminder=True)],
            {},
            [(Kind.LATE, [1, 3]), (Kind.SINGLE, [2])],
        ),
        # What failed is tried again as it was.
        (
            [late(1, 11, tries=1, message_id=101), late(2, 12)],
            {},
            [(Kind.SINGLE, [1]), (Kind.SINGLE, [2])],
        ),
        (
            [
                late(1, 11, tries=1, message_id=101),
                late(2, 12, tries=1, message_id=101),
                late(3, 13),
                late(4, 14),
            ],
            {},
            [(Kind.LATE, [1, 2]), (Kind.LATE, [3, 4])],
        ),
        (
            [note(1, 11, tries=2, message_id=101), bad(4, 21, server=2, tries=2, message_id=101)],
            {},
            [(Kind.DIGEST, [1, 4])],
        ),
        # One that would overtake what has come due before it goes alone.
        (
            [bad(1, 12), late(2, 11, tries=1, message_id=102), late(3, 12)],
            {},
            [(Kind.SINGLE, [1]), (Kind.SINGLE, [2]), (Kind.SINGLE, [3])],
        ),
        (
            [
                late(2, 11, tries=1, message_id=102),
                bad(3, 12),
                late(4, 12, tries=1, message_id=102),
            ],
            {},
            [(Kind.SINGLE, [2]), (Kind.SINGLE, [3]), (Kind.SINGLE, [4])],
        ),
    ],
)
def test_what_travels_together(
    rows: Sequence[Due],
    hosts: Mapping[int, Liveness],
    expected: Sequence[tuple[Kind, list[int]]],
) -> None:
    found = plan(rows, hosts, MANY, NOW_AT)
    assert [(parcel.kind, parcel.ids) for parcel in found] == list(expected)


def test_the_last_sign_of_life_of_a_silent_server() -> None:
    [parcel] = plan([late(1, 11), late(2, 12)], ALL_LATE, MANY, NOW_AT)
    assert parcel.last_sign_at == 77.0
    [parcel] = plan([late(1, 11), late(2, 12)], SOME_LATE, MANY, NOW_AT)
    assert parcel.last_sign_at is None


@pytest.mark.parametrize(
    "rows, in_flight, expected",
    [
        ([note(1, 11), note(2, 11), note(3, 12)], [1], [3]),
        ([note(1, 11), note(2, 11), note(3, 12)], [2], [1, 3]),
        ([late(1, 11), late(2, 12), back(3, 11)], [1, 2], []),
        ([note(1, 11, claimed_until=NOW_AT + 1), note(2, 11), note(3, 12)], [], [3]),
        ([note(1, 11, claimed_until=NOW_AT), note(2, 11)], [], [1, 2]),
    ],
)
def test_what_is_being_sent_holds_up_its_lane(
    rows: Sequence[Due], in_flight: Collection[int], expected: list[int]
) -> None:
    found = plan(rows, {}, MANY, NOW_AT, in_flight)
    assert [id_ for parcel in found for id_ in parcel.ids] == expected


def test_a_storm_is_gathered_by_server() -> None:
    rows = [bad(n, 100 + n, server=1 + n % 2) for n in range(1, 5)]
    assert len(plan(rows, {}, 4, NOW_AT)) == 4
    [digest] = plan(rows, {}, 3, NOW_AT)
    assert digest.kind is Kind.DIGEST
    # The first one stays the first: the message goes by its id.
    assert digest.ids == [1, 3, 2, 4]


def test_messages_count_for_a_storm_and_not_rows() -> None:
    rows = [late(n, 100 + n) for n in range(1, 9)]
    [parcel] = plan(rows, {}, 3, NOW_AT)
    assert parcel.kind is Kind.LATE


def test_what_is_beyond_the_horizon_counts_for_a_storm() -> None:
    rows = [late(1, 11), late(2, 21, server=2)]
    assert len(plan(rows, {}, 3, NOW_AT, servers=3)) == 2
    [digest] = plan(rows, {}, 3, NOW_AT, servers=4)
    assert digest.kind is Kind.DIGEST


def test_a_storm_takes_nothing_that_was_tried_already() -> None:
    tried = [bad(1, 11, tries=1, message_id=101), bad(3, 12, tries=4, message_id=103)]
    rows = sorted([*tried, *(bad(n, 20 + n) for n in (2, 4, 5))])
    assert len(plan(rows, {}, 3, NOW_AT)) == 5
    found = plan(rows, {}, 2, NOW_AT)
    assert [(parcel.kind, parcel.ids) for parcel in found] == [
        (Kind.SINGLE, [1]),
        (Kind.DIGEST, [2, 4, 5]),
        (Kind.SINGLE, [3]),
    ]


def test_a_message_has_a_bound() -> None:
    rows = [bad(n, 1000 + n) for n in range(1, 2 * ROWS_MAX + 2)]
    found = plan(rows, {}, 0, NOW_AT)
    assert [len(parcel.rows) for parcel in found] == [ROWS_MAX, ROWS_MAX, 1]


SERVICES = {11: 1, 12: 1, 13: 1, 21: 2, 22: 2, None: 1}


@st.composite
def outboxes(draw: st.DrawFn) -> list[Due]:
    rows = []
    for id_ in range(1, draw(st.integers(0, 25)) + 1):
        service = draw(st.sampled_from(list(SERVICES)))
        phase, topic = draw(
            st.sampled_from(
                [("problem", "late"), ("recovery", "late"), ("problem", "state"), ("note", "")]
            )
        )
        row = a_row(id_, service, SERVICES[service], phase, topic)
        if draw(st.integers(0, 3)) == 0:
            row = row._replace(tries=1, message_id=draw(st.integers(101, 104)))
        rows.append(row)
    return rows


@settings(deadline=None)
@given(outboxes(), st.integers(0, 10), st.sets(st.integers(1, 25), max_size=3))
def test_each_row_goes_once_and_none_overtakes_another_one(
    rows: list[Due], digest_over: int, in_flight: set[int]
) -> None:
    found = plan(rows, ALL_LATE, digest_over, NOW_AT, in_flight)
    sent = [row for parcel in found for row in parcel.rows]
    assert len({row.id for row in sent}) == len(sent)
    for lane in {row.lane for row in rows}:
        ids = [row.id for row in rows if row.lane == lane]
        until = min((n for n, id_ in enumerate(ids) if id_ in in_flight), default=len(ids))
        assert [row.id for row in sent if row.lane == lane] == ids[:until]
    for parcel in found:
        assert len({row.message_id for row in parcel.rows}) == 1
        assert parcel.message_id == min(row.alert_id for row in parcel.rows)


def a_notice(row: Due) -> Notice:
    return Notice(
        row.alert_id, "api", "alert", "FAIL", f"number {row.id}", 900.0 + row.id,
        row.phase, row.topic, "Web", row.server_id, "Disk", row.service_id, "web1", "disk",
        "OK", "fine", None, 800.0 + row.id, row.reminder,
    )  # fmt: skip


def test_one_notice_is_a_message() -> None:
    row = note(1, 11, 1)
    [parcel] = plan([row], {}, MANY, NOW_AT)
    found = message(parcel, {row.id: a_notice(row)})
    assert found == Message(Kind.SINGLE, (a_notice(row),))
    assert found.alert_id == parcel.message_id == 101


@pytest.mark.parametrize(
    "kind, rows, since_at",
    [
        (Kind.SILENT, [late(1, 11), late(2, 12)], 77.0),
        (Kind.LATE, [late(1, 11), late(2, 12), late(3, 13)], None),
        # The silence began when the last one had reported.
        (Kind.RETURNED, [back(1, 11), back(2, 12)], 802.0),
        (Kind.BACK, [back(1, 11), back(2, 12), back(3, 13)], None),
    ],
)
def test_since_when_a_server_was_silent(
    kind: Kind, rows: list[Due], since_at: float | None
) -> None:
    hosts = {1: Liveness(2, int(len(rows) > 2), 77.0)}
    if kind in (Kind.RETURNED, Kind.BACK):
        hosts = {1: Liveness(0, 2, 999.0)}
    [parcel] = plan(rows, hosts, MANY, NOW_AT)
    found = message(parcel, {row.id: a_notice(row) for row in rows})
    assert (found.kind, found.since_at) == (kind, since_at)
    assert [notice.alert_id for notice in found.notices] == [row.alert_id for row in rows]


def test_what_is_gone_is_left_out() -> None:
    rows = [late(1, 11), late(2, 12), late(3, 13)]
    [parcel] = plan(rows, ALL_LATE, MANY, NOW_AT)
    two = message(parcel, {row.id: a_notice(row) for row in rows[1:]})
    assert (two.kind, two.alert_id) == (Kind.SILENT, 102)
    one = message(parcel, {rows[1].id: a_notice(rows[1])})
    assert (one.kind, one.alert_id, one.since_at) == (Kind.SINGLE, 102, None)


def test_what_a_silence_kept_back_travels_together() -> None:
    kept = [
        late(1, 11)._replace(silence_id=7),
        a_row(2, 12, 2, "problem", "state")._replace(silence_id=7),
    ]
    rows = [*kept, late(3, 13), late(4, 14)._replace(silence_id=8)]
    parcels = plan(rows, ALL_LATE, MANY, NOW_AT)
    assert [(one.kind, one.rows) for one in parcels] == [
        (Kind.SUMMARY, tuple(kept)),
        (Kind.SINGLE, (rows[2],)),
        (Kind.SUMMARY, (rows[3],)),
    ]
    alone = message(parcels[2], {rows[3].id: a_notice(rows[3])})
    assert (alone.kind, len(alone.notices)) == (Kind.SUMMARY, 1)


def test_a_summary_is_no_part_of_a_digest() -> None:
    rows = [late(1, 11)._replace(silence_id=7), note(2), note(3), note(4)]
    parcels = plan(rows, {}, 1, NOW_AT)
    assert [one.kind for one in parcels] == [Kind.SUMMARY, Kind.DIGEST]


def test_a_summary_is_tried_again_as_one() -> None:
    rows = [late(id_, 10 + id_)._replace(silence_id=7, message_id=101, tries=1) for id_ in (1, 2)]
    [parcel] = plan(rows, ALL_LATE, MANY, NOW_AT)
    assert (parcel.kind, len(parcel.rows)) == (Kind.SUMMARY, 2)
