-- Version 6: what every report changes of a service, in a table of its own, as on SQLite. When to
-- look at a service is no longer moved with every report: Note [Looks] in
-- overc/daemon/store/records.py. The copy comes first and the columns go last, so that all
-- statements may be run again.

create table {prefix}latest (
    service_id bigint not null primary key,
    state_id bigint,                  -- the present state, in states
    last_state_id bigint,             -- where the chain of its states begins
    seen_at double,                   -- of the present state
    deadline_at double,               -- on the steady clock, null: nothing is awaited
    lasts_s double not null default 0, -- how long after a report that is: period and grace
    foreign key (service_id) references {prefix}services (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

insert ignore into {prefix}latest
    (service_id, state_id, last_state_id, seen_at, deadline_at, lasts_s)
    select id, state_id, last_state_id, seen_at, deadline_at, coalesce(period_s, 0) + grace_s
    from {prefix}services;

-- On the steady clock, never later than the deadline, null: nothing is awaited.
alter table {prefix}services
    change column deadline_at look_at double,
    drop column state_id, drop column last_state_id, drop column seen_at;
