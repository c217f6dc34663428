select s.shard::smallint, coalesce((select max(pos) from log where log.shard = s.shard), 0) from generate_series(0, 31) as s (shard)
