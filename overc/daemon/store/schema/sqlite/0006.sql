-- Version 6: what every report changes of a service, in a table of its own. Its rows are small and
-- lie close together, so a batch of reports changes few pages of the file. When to look at a
-- service is no longer moved with every report: Note [Looks] in overc/daemon/store/records.py.

create table latest (
    service_id integer primary key references services (id) on delete cascade,
    state_id integer,                 -- the present state, in states
    last_state_id integer,            -- where the chain of its states begins
    seen_at real,                     -- of the present state
    deadline_at real,                 -- on the steady clock; null: nothing is awaited
    lasts_s real not null default 0   -- how long after a report that is: period and grace
);
insert into latest (service_id, state_id, last_state_id, seen_at, deadline_at, lasts_s)
    select id, state_id, last_state_id, seen_at, deadline_at, coalesce(period_s, 0) + grace_s
    from services;

-- On the steady clock, never later than the deadline; null: nothing is awaited.
alter table services rename column deadline_at to look_at;

-- SQLite before 3.35 can't drop a column.
update services set state_id = null, last_state_id = null, seen_at = null;
alter table services rename column state_id to unused_state_id;
alter table services rename column last_state_id to unused_last_state_id;
alter table services rename column seen_at to unused_seen_at;
