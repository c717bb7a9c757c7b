-- Version 1. Times `..._at` are epoch seconds, UTC; spans `..._s` are seconds.

-- The hosts. They register themselves with their first report.
create table servers (
    id integer primary key autoincrement,
    name text not null unique,        -- what the host calls itself; never changes
    title text not null,              -- what people call it; starts as the name
    key_derivation text not null,     -- see overc/daemon/keys.py
    ip text not null,                 -- the peer of the newest report
    registered_at real not null
);

-- What the hosts report about, each with its present state.
create table services (
    id integer primary key autoincrement,
    server_id integer not null references servers (id) on delete cascade,
    name text not null,
    title text not null,
    period_s integer,                 -- null: never promised anything, can't be late
    deadline_at real,                 -- on the steady clock; null: nothing is awaited
    timed_out integer not null default 0,
    state text,                       -- null: never reported
    state_id integer,                 -- its newest row in states
    since_at real,                    -- when it came to be in this state
    unique (server_id, name)
);
-- The watchdog's question; its cost does not grow with the number of services.
create index services_by_deadline on services (deadline_at) where deadline_at is not null;

-- The history: one row for each state that was reported.
create table states (
    id integer primary key autoincrement,
    service_id integer not null references services (id) on delete cascade,
    received_at real not null,        -- by the server's wall clock
    state text not null,
    info text not null
);
create index states_by_service on states (service_id, received_at);

-- What people should hear of.
create table alerts (
    id integer primary key autoincrement,
    server_id integer references servers (id) on delete cascade,    -- null: OverC's own
    service_id integer references services (id) on delete cascade,  -- null: the server's
    state_id integer,                 -- the state that the service was in
    raised_at real not null,
    channel text not null,
    event text not null,
    severity text not null,
    message text not null
);
create index alerts_by_time on alerts (raised_at);
create index alerts_by_server on alerts (server_id, raised_at);
create index alerts_by_service on alerts (service_id, raised_at);
create index alerts_by_state on alerts (state_id);

-- One row for each alert and plugin, written in the alert's own transaction: what is to be sent
-- can't be forgotten by a crash.
create table outbox (
    id integer primary key autoincrement,
    alert_id integer not null references alerts (id) on delete cascade,
    plugin text not null,             -- the name in [alert:name]
    status text not null default 'pending',  -- pending, sent, failed
    tried_at real,
    outcome text                      -- the plugin's last words
);
create index outbox_pending on outbox (plugin, id) where status = 'pending';
create index outbox_by_alert on outbox (alert_id);
