insert into inbox (command_id, fingerprint, shard, pos, at)
select *, statement_timestamp() from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[])
