-- Version 7: what time each process has that counts deadlines in this database: Note [Clocks of
-- several nodes] in overc/daemon/node_clocks.py.

create table {prefix}clocks (
    process varchar(36) not null primary key,
    node varchar(255) not null,       -- as people know it
    steady_at double not null         -- on its steady clock, when it last told
) engine=InnoDB default charset=utf8mb4 collate={collation};
