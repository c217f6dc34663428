insert into log (shard, pos, product_id, version, type, command_id, data, at)
select shard, pos, product_id, nullif(version, 0), type, command_id, data::json, at
from unnest($1::smallint[], $2::bigint[], $3::uuid[], $4::bigint[], $5::text[], $6::uuid[], $7::text[], $8::timestamptz[])
    as u (shard, pos, product_id, version, type, command_id, data, at)
