-- Version 5: keys that were refused, so that people can accept them; and new titles.

-- Reports whose key is not the one that their name is registered with. See
-- overc/daemon/rejections.py: there are never many rows.
create table rejected_keys (
    id integer primary key autoincrement,
    server_id integer not null references servers (id) on delete cascade,
    key_derivation text not null,     -- as in servers, with the salt of the server's own key
    ip text not null,                 -- the peer of the newest one
    first_at real not null,
    last_at real not null,
    tries integer not null,
    dismissed integer not null default 0,  -- somebody has seen it and wants no more of it
    unique (server_id, key_derivation)
);

-- One row for each new title of a service. Nothing else would tell the other nodes of it.
create table renames (
    id integer primary key autoincrement,
    service_id integer not null
);
