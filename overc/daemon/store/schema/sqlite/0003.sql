-- Version 3: what is kept when the history is pruned. See overc/daemon/rollups.py.
--
-- All keys begin with the time: what is written now lies together, and so does what is old.

-- How long each service was in each state. The rest of an hour or a day is unknown.
create table state_hours (
    starts_at integer not null,       -- epoch seconds, UTC
    service_id integer not null,      -- no foreign key: without an index it would cost a scan
    ok_ms integer not null,
    warn_ms integer not null,
    fail_ms integer not null,
    unk_ms integer not null,
    primary key (starts_at, service_id)
) without rowid;
create table state_days (
    starts_at integer not null,
    service_id integer not null,
    ok_ms integer not null,
    warn_ms integer not null,
    fail_ms integer not null,
    unk_ms integer not null,
    primary key (starts_at, service_id)
) without rowid;

-- What each service measures: one row for each label and unit.
create table perf_series (
    id integer primary key autoincrement,
    service_id integer not null references services (id) on delete cascade,
    label text not null,
    uom text not null,
    used_at integer not null,         -- the day of the newest value
    unique (service_id, label, uom)
);

-- What was measured.
create table perf_hours (
    starts_at integer not null,
    series_id integer not null,       -- no foreign key, as above
    n integer not null,               -- so many values, the average is total / n
    total real not null,
    low real not null,
    high real not null,
    primary key (starts_at, series_id)
) without rowid;
create table perf_days (
    starts_at integer not null,
    series_id integer not null,
    n integer not null,
    total real not null,
    low real not null,
    high real not null,
    primary key (starts_at, series_id)
) without rowid;

-- For each service the gaps in what is known of it, so that a backlog finds its place.
create table timelines (
    service_id integer primary key references services (id) on delete cascade,
    points text not null
);

-- How far the work has come.
create table rollup_progress (
    name text not null primary key,
    up_to integer not null,           -- states: the last id; others: the day that is summed up next
    position integer not null         -- in that day, the last service or series that is done
) without rowid;
insert into rollup_progress (name, up_to, position)
    values ('states', 0, 0), ('state_days', 0, 0), ('perf_days', 0, 0);
