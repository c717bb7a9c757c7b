-- Version 5: keys that were refused, so that people can accept them; and new titles. As on SQLite.

-- Reports whose key is not the one that their name is registered with. See
-- overc/daemon/rejections.py: there are never many rows.
create table {prefix}rejected_keys (
    id bigint not null auto_increment primary key,
    server_id bigint not null,
    key_derivation varchar(255) not null,  -- as in servers, with the salt of the server's own key
    ip varchar(64) not null,          -- the peer of the newest one
    first_at double not null,
    last_at double not null,
    tries bigint not null,
    dismissed tinyint not null default 0,  -- somebody has seen it and wants no more of it
    unique key by_key (server_id, key_derivation),
    foreign key (server_id) references {prefix}servers (id) on delete cascade
) engine=InnoDB default charset=utf8mb4 collate={collation};

-- One row for each new title of a service. Nothing else would tell the other nodes of it.
create table {prefix}renames (
    id bigint not null auto_increment primary key,
    service_id bigint not null
) engine=InnoDB default charset=utf8mb4 collate={collation};
