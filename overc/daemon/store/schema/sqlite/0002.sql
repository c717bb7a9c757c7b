-- Version 2: histories as chains, and reports that an agent kept and sends later.
--
-- An index of the history by service would be written to at a random place for each state, which
-- limits a large history more than everything else. Instead each state names the one that was
-- stored before it for the same service. Ids grow with time: what is old is a range of them.
create table new_states (
    id integer primary key autoincrement,
    service_id integer not null,      -- no foreign key: without an index it would cost a scan
    previous_id integer,              -- the state stored before; it may be gone already
    received_at real not null,        -- by the server's wall clock
    seen_at real not null,            -- when the host saw it, never later than received_at
    state text not null,
    info text not null
);
insert into new_states (id, service_id, previous_id, received_at, seen_at, state, info)
    select id, service_id, lag(id) over (partition by service_id order by id),
        received_at, received_at, state, info
    from states order by id;
drop table states;
alter table new_states rename to states;

alter table services add column seen_at real;           -- of the present state
alter table services add column last_state_id integer;  -- where the chain of its states begins
update services set last_state_id = state_id,
    seen_at = (select seen_at from states where states.id = services.state_id);

-- Which reports of a spool were stored: ranges of their numbers, such as 1-57,60.
create table spools (
    server_id integer not null references servers (id) on delete cascade,
    spool text not null,
    seqs text not null,
    used_at real not null,            -- by the wall clock: long unused ones can be forgotten
    primary key (server_id, spool)
) without rowid;
