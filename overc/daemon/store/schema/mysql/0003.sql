-- Version 3: what is kept when the history is pruned, as on SQLite. See overc/daemon/rollups.py.

-- How long each service was in each state. The rest of an hour or a day is unknown. All keys begin
-- with the time: what is written now lies together, and so does what is old.
create table {prefix}state_hours (
    starts_at bigint not null,
    service_id bigint not null,       -- no foreign key: its index would cost more than the table
    ok_ms int not null,
    warn_ms int not null,
    fail_ms int not null,
    unk_ms int not null,
    primary key (starts_at, service_id)
) engine=InnoDB default charset=utf8mb4 collate={collation};
create table {prefix}state_days (
    starts_at bigint not null,
    service_id bigint not null,
    ok_ms int not null,
    warn_ms int not null,
    fail_ms int not null,
    unk_ms int not null,
    primary key (starts_at, service_id)
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- What each service measures: one row for each label and unit.
create table {prefix}perf_series (
    id bigint not null auto_increment primary key,
    service_id bigint not null,
    label varchar(255) not null,
    uom varchar(32) not null,
    used_at bigint not null,          -- the day of the newest value
    unique key by_label (service_id, label, uom),
    foreign key (service_id) references {prefix}services (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- What was measured.
create table {prefix}perf_hours (
    starts_at bigint not null,
    series_id bigint not null,        -- no foreign key, as above
    n bigint not null,                -- so many values, the average is total / n
    total double not null,
    low double not null,
    high double not null,
    primary key (starts_at, series_id)
) engine=InnoDB default charset=utf8mb4 collate={collation};
create table {prefix}perf_days (
    starts_at bigint not null,
    series_id bigint not null,
    n bigint not null,
    total double not null,
    low double not null,
    high double not null,
    primary key (starts_at, series_id)
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- For each service the gaps in what is known of it, so that a backlog finds its place.
create table {prefix}timelines (
    service_id bigint not null primary key,
    points text not null,
    foreign key (service_id) references {prefix}services (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- How far the work has come.
create table {prefix}rollup_progress (
    name varchar(32) not null primary key,
    up_to bigint not null,            -- states: the last id; others: the day that is summed up next
    position bigint not null          -- in that day, the last service or series that is done
) engine=InnoDB default charset=utf8mb4 collate={collation};
insert ignore into {prefix}rollup_progress (name, up_to, position)
    values ('states', 0, 0), ('state_days', 0, 0), ('perf_days', 0, 0);
