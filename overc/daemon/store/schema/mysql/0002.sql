-- Version 2, the first one for MariaDB and MySQL: all tables, as they are on SQLite.
-- Times `..._at` are epoch seconds, UTC; spans `..._s` are seconds. {collation} compares names as
-- SQLite does, exactly: with case, accents and trailing spaces. {prefix} is explained in
-- overc/daemon/store/mysql_migrations.py.

-- The hosts. They register themselves with their first report.
create table {prefix}servers (
    id bigint not null auto_increment primary key,
    name varchar(255) not null,       -- what the host calls itself; never changes
    title varchar(255) not null,      -- what people call it; starts as the name
    key_derivation varchar(255) not null,  -- see overc/daemon/keys.py
    ip varchar(64) not null,          -- the peer of the newest report
    registered_at double not null,
    unique key by_name (name)
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- What the hosts report about, each with its present state. The defaults of the first columns are
-- there for updates of many rows, which are written as inserts that meet their own ids.
create table {prefix}services (
    id bigint not null auto_increment primary key,
    server_id bigint not null default 0,
    name varchar(255) not null default '',
    title varchar(255) not null default '',
    period_s bigint,                  -- null: never promised anything, can't be late
    deadline_at double,               -- on the steady clock, null: nothing is awaited
    timed_out tinyint not null default 0,
    state varchar(4),                 -- null: never reported
    state_id bigint,                  -- its newest row in states
    since_at double,                  -- when it came to be in this state
    seen_at double,                   -- of the present state
    last_state_id bigint,             -- where the chain of its states begins
    unique key by_name (server_id, name),
    key by_deadline (deadline_at),    -- the watchdog's question
    foreign key (server_id) references {prefix}servers (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- The history: one row for each state that was reported.
create table {prefix}states (
    id bigint not null auto_increment primary key,
    service_id bigint not null,
    previous_id bigint,               -- the state stored before, it may be gone already
    received_at double not null,      -- by the server's wall clock
    seen_at double not null,          -- when the host saw it, never later than received_at
    state varchar(4) not null,
    info mediumtext not null,
    key by_service (service_id, received_at)
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- What people should hear of.
create table {prefix}alerts (
    id bigint not null auto_increment primary key,
    server_id bigint,                 -- null: OverC's own
    service_id bigint,                -- null: the server's
    state_id bigint,                  -- the state that the service was in
    raised_at double not null,
    channel varchar(64) not null,
    event varchar(64) not null,
    severity varchar(4) not null,
    message mediumtext not null,
    key by_time (raised_at),
    key by_server (server_id, raised_at),
    key by_service (service_id, raised_at),
    key by_state (state_id),
    foreign key (server_id) references {prefix}servers (id) on delete cascade,
    foreign key (service_id) references {prefix}services (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- One row for each alert and plugin, written in the alert's own transaction: what is to be sent
-- can't be forgotten by a crash.
create table {prefix}outbox (
    id bigint not null auto_increment primary key,
    alert_id bigint not null,
    plugin varchar(255) not null,     -- the name in [alert:name]
    status varchar(16) not null default 'pending',  -- pending, sent, failed
    tried_at double,
    outcome text,                     -- the plugin's last words
    key by_status (plugin, status, id),
    key by_alert (alert_id),
    foreign key (alert_id) references {prefix}alerts (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- Which reports of a spool were stored: ranges of their numbers, such as 1-57,60.
create table {prefix}spools (
    server_id bigint not null,
    spool varchar(64) not null,
    seqs mediumtext not null,
    used_at double not null,          -- by the wall clock: long unused ones can be forgotten
    primary key (server_id, spool),
    foreign key (server_id) references {prefix}servers (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};
