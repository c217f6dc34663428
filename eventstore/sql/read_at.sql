select l.shard, l.pos, l.product_id, coalesce(l.version, 0), l.type, l.command_id, l.data, l.at
from unnest($1::smallint[], $2::bigint[]) as k (shard, pos) join log l on l.shard = k.shard and l.pos = k.pos
