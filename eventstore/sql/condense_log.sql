update log l set type = $1, data = c.data::json
from unnest($2::smallint[], $3::bigint[], $4::text[]) as c (shard, pos, data)
where l.shard = c.shard and l.pos = c.pos
