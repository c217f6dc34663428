-- The rows after each cursor, shard by shard: the primary key read forward from where each reader stands.
select l.shard, l.pos, l.product_id, coalesce(l.version, 0), l.type, l.command_id, l.data, l.at
from unnest($1::smallint[], $2::bigint[]) with ordinality as c (shard, pos, turn)
cross join lateral (select * from log where log.shard = c.shard and log.pos > c.pos order by log.pos limit $3) l
limit $3
