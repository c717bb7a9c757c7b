-- Version 4: what the judge keeps of a service, and alerts that are routed, tried again, silenced.

alter table services add column grace_s real not null default 0;  -- in force since the last report
alter table services add column due_at real;   -- by the wall clock, where a calendar says when
alter table services add column memory text;   -- JSON, see overc/daemon/judge.py; null: nothing

-- What an alert was about when it was raised. phase: problem, recovery or note. topic: what a
-- recovery ends, `state` or `late`; empty for notes.
alter table alerts add column phase text not null default 'note';
alter table alerts add column topic text not null default '';
alter table alerts add column previous_state text;
alter table alerts add column since_at real;   -- since when the problem lasts, or lasted
update alerts set phase = case when event in ('OK', 'online') then 'recovery' else 'problem' end,
    topic = case channel when 'plugin' then 'late' else 'state' end
    where channel in ('service:state', 'plugin');

-- One row for each alert and plugin. status: pending, sent, undelivered (given up), cancelled
-- (over before it was due), silenced. Rows of the versions before are sent or `failed`.
alter table outbox add column server_id integer;
alter table outbox add column service_id integer;
alter table outbox add column due_at real not null default 0;      -- not to be tried before
alter table outbox add column tries integer not null default 0;
alter table outbox add column reminder integer not null default 0;
alter table outbox add column silence_id integer;                  -- what silenced it
alter table outbox add column expires_at real;    -- given up then; null: it has not failed yet
alter table outbox add column message_id integer; -- the id of the message in which it failed
alter table outbox add column claimed_until real; -- so long other nodes must leave it alone
alter table outbox add column claimed_by text;    -- the node that sends it
-- The queue in which its order is kept: of its service, else of its server, else of OverC.
alter table outbox add column lane integer
    generated always as (coalesce(service_id, -server_id, 0)) virtual;
update outbox set server_id = (select server_id from alerts where alerts.id = alert_id),
    service_id = (select service_id from alerts where alerts.id = alert_id)
    where status = 'pending';
create index outbox_by_service on outbox (service_id, plugin) where status = 'pending';
create index outbox_undelivered on outbox (tried_at) where status = 'undelivered';
create index outbox_by_silence on outbox (silence_id) where silence_id is not null;
-- What is not due may hold up the rows behind it.
create index outbox_by_lane on outbox (plugin, lane, due_at) where status = 'pending';

-- Each attempt to send: a message may carry several rows of the outbox.
create table attempts (
    id integer primary key autoincrement,
    outbox_id integer not null references outbox (id) on delete cascade,
    tried_at real not null,
    took_s real not null,
    delivered integer not null,
    words text not null               -- the plugin's last words, or why it failed
);
create index attempts_by_outbox on attempts (outbox_id);

-- The alert plugins that fail now, and were reported.
create table failing_plugins (
    plugin text not null primary key,
    since_at real not null,
    by_notice integer not null        -- it began with a notice about another plugin
) without rowid;

-- The problems that channels were told of, or are to be told of: a recovery goes there.
create table standing (
    plugin text not null,
    service_id integer not null references services (id) on delete cascade,
    topic text not null,
    alert_id integer not null references alerts (id) on delete cascade,
    told_at real,                     -- null: it still waits in the outbox
    remind_at real,                   -- null: never
    primary key (service_id, topic, plugin)
) without rowid;
create index standing_by_alert on standing (alert_id);
create index standing_by_reminder on standing (remind_at) where remind_at is not null;
-- What is a problem now: the plugins that got its alert will get its recovery.
insert into standing (plugin, service_id, topic, alert_id, told_at)
    select outbox.plugin, services.id, topics.topic, alerts.id, outbox.tried_at
    from services join (select 'state' as topic union all select 'late') as topics
    join alerts on alerts.id = (select max(id) from alerts newest
        where newest.service_id = services.id and newest.topic = topics.topic)
    join outbox on outbox.alert_id = alerts.id and outbox.status in ('pending', 'sent')
    where alerts.phase = 'problem'
        and case topics.topic when 'late' then timed_out = 1 else state <> 'OK' end;

-- Alerts of these services are kept back. servers and services: patterns, separated by commas.
create table silences (
    id integer primary key autoincrement,
    servers text not null,
    services text not null,
    author text not null,
    reason text not null,
    created_at real not null,
    starts_at real not null,
    ends_at real not null,
    warned_at real,                   -- when it was said that it ends soon
    closed_at real                    -- when what it kept back was summed up
);
create index silences_by_end on silences (ends_at) where closed_at is null;

-- Problems that somebody takes care of. Gone with the recovery.
create table acks (
    service_id integer primary key references services (id) on delete cascade,
    author text not null,
    reason text not null,
    acked_at real not null
);
