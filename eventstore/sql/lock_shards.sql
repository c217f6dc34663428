-- $1 shards, ascending: so that two writers of the same shards never wait for each other in a circle. Held to the end of the transaction.
select pg_advisory_xact_lock(7301, shard) from unnest($1::int[]) as shard
