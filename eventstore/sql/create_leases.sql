insert into lease (role, shard) select role, shard from unnest($1::text[], $2::int[]) as r (role, shards), generate_series(0, shards - 1) as shard
on conflict do nothing
