-- The clock, for each of $1 shards in which nobody decides a batch: what was stamped before it is committed, and what comes later is stamped later,
-- because writers stamp under the lock.
select s.shard, clock_timestamp() from unnest($1::smallint[]) as s (shard) where pg_try_advisory_xact_lock_shared(7301, s.shard)
