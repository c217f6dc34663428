-- At the start of an instance; what long-lost ones left of themselves is cleared away.
with lost as (delete from instance where expires_at < clock_timestamp() - interval '1 day')
insert into lease (role, shard) select role, shard from unnest($1::text[], $2::int[]) as r (role, shards), generate_series(0, shards - 1) as shard
on conflict do nothing
