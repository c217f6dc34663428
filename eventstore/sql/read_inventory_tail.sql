-- What the Inventory Service said after each cursor. The type is spelled out, as in the index that holds only these rows.
select l.shard, l.pos, l.product_id, coalesce(l.version, 0), l.type, l.command_id, l.data, l.at
from unnest($1::smallint[], $2::bigint[]) with ordinality as c (shard, pos, turn)
cross join lateral (select * from log where log.shard = c.shard and log.pos > c.pos and type = 'InventoryChanged' order by log.pos limit $3) l
