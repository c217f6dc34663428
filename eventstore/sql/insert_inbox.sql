insert into inbox (command_id, fingerprint, shard, pos, at)
select command_id, fingerprint, shard, pos, greatest(statement_timestamp(), age_from)
from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::timestamptz[]) as u (command_id, fingerprint, shard, pos, age_from)
