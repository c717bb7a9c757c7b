-- Version 4: what the judge keeps of a service, and alerts that are routed, tried again, silenced,
-- as on SQLite. All statements may be run again: see overc/daemon/store/mysql_migrations.py.

alter table {prefix}services
    add column grace_s double not null default 0,  -- in force since the last report
    add column due_at double,         -- by the wall clock, where a calendar says when
    add column memory mediumtext      -- JSON, see overc/daemon/judge.py, null: nothing
;

-- What an alert was about when it was raised. phase: problem, recovery or note. topic: what a
-- recovery ends, state or late, empty for notes.
alter table {prefix}alerts
    add column phase varchar(16) not null default 'note',
    add column topic varchar(16) not null default '',
    add column previous_state varchar(4),
    add column since_at double        -- since when the problem lasts, or lasted
;
update {prefix}alerts
    set phase = case when event in ('OK', 'online') then 'recovery' else 'problem' end,
        topic = case channel when 'plugin' then 'late' else 'state' end
    where channel in ('service:state', 'plugin');

-- One row for each alert and plugin. status: pending, sent, undelivered (given up), cancelled
-- (over before it was due), silenced. Rows of the versions before are sent or failed.
alter table {prefix}outbox
    add column server_id bigint,
    add column service_id bigint,
    add column due_at double not null default 0,  -- not to be tried before
    add column tries int not null default 0,
    add column reminder tinyint not null default 0,
    add column silence_id bigint,     -- what silenced it
    add column expires_at double,     -- given up then, null: it has not failed yet
    add column message_id bigint,     -- the id of the message in which it failed
    add column claimed_until double,  -- so long other nodes must leave it alone
    add column claimed_by varchar(255)  -- the node that sends it
;
-- Updates of many rows are written as inserts that meet their own ids.
alter table {prefix}outbox
    alter column alert_id set default 0,
    alter column plugin set default '';
-- The queue in which its order is kept: of its service, else of its server, else of OverC.
alter table {prefix}outbox
    add column lane bigint generated always as (coalesce(service_id, -server_id, 0)) stored;
alter table {prefix}outbox add key by_service (service_id, plugin, status);
alter table {prefix}outbox add key by_outcome (status, tried_at);
alter table {prefix}outbox add key by_silence (silence_id);
-- What is not due may hold up the rows behind it.
alter table {prefix}outbox add key by_lane (plugin, status, lane, due_at);
update {prefix}outbox join {prefix}alerts on {prefix}alerts.id = {prefix}outbox.alert_id
    set {prefix}outbox.server_id = {prefix}alerts.server_id,
        {prefix}outbox.service_id = {prefix}alerts.service_id
    where {prefix}outbox.status = 'pending' and {prefix}outbox.server_id is null;

-- Each attempt to send: a message may carry several rows of the outbox.
create table {prefix}attempts (
    id bigint not null auto_increment primary key,
    outbox_id bigint not null,
    tried_at double not null,
    took_s double not null,
    delivered tinyint not null,
    words text not null,              -- the plugin's last words, or why it failed
    key by_outbox (outbox_id),
    foreign key (outbox_id) references {prefix}outbox (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- The alert plugins that fail now, and were reported.
create table {prefix}failing_plugins (
    plugin varchar(255) not null primary key,
    since_at double not null,
    by_notice tinyint not null        -- it began with a notice about another plugin
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- The problems that channels were told of, or are to be told of: a recovery goes there.
create table {prefix}standing (
    plugin varchar(255) not null,
    service_id bigint not null,
    topic varchar(16) not null,
    alert_id bigint not null,
    told_at double,                   -- null: it still waits in the outbox
    remind_at double,                 -- null: never
    primary key (service_id, topic, plugin),
    key by_reminder (remind_at),
    key by_alert (alert_id),
    foreign key (service_id) references {prefix}services (id) on delete cascade,
    foreign key (alert_id) references {prefix}alerts (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- What is a problem now: the plugins that got its alert will get its recovery.
insert ignore into {prefix}standing (plugin, service_id, topic, alert_id, told_at)
    select {prefix}outbox.plugin, services.id, topics.topic, {prefix}alerts.id,
        {prefix}outbox.tried_at
    from {prefix}services services
    join (select 'state' as topic union all select 'late') topics
    join {prefix}alerts on {prefix}alerts.id = (select max(newest.id) from {prefix}alerts newest
        where newest.service_id = services.id and newest.topic = topics.topic)
    join {prefix}outbox on {prefix}outbox.alert_id = {prefix}alerts.id
        and {prefix}outbox.status in ('pending', 'sent')
    where {prefix}alerts.phase = 'problem'
        and case topics.topic when 'late' then timed_out = 1 else services.state <> 'OK' end;

-- Alerts of these services are kept back. servers and services: patterns, separated by commas.
create table {prefix}silences (
    id bigint not null auto_increment primary key,
    servers text not null,
    services text not null,
    author text not null,
    reason text not null,
    created_at double not null,
    starts_at double not null,
    ends_at double not null,
    warned_at double,                 -- when it was said that it ends soon
    closed_at double,                 -- when what it kept back was summed up
    key by_end (closed_at, ends_at)
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- Problems that somebody takes care of. Gone with the recovery.
create table {prefix}acks (
    service_id bigint not null primary key,
    author text not null,
    reason text not null,
    acked_at double not null,
    foreign key (service_id) references {prefix}services (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};
