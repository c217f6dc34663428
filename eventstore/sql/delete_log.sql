delete from log l using unnest($1::smallint[], $2::bigint[]) as d (shard, pos) where l.shard = d.shard and l.pos = d.pos
