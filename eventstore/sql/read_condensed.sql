-- What earlier facts of these products and hours were condensed to.
select l.shard, l.pos, l.product_id, 0::bigint, l.type, l.command_id, l.data, l.at
from unnest($2::smallint[], $3::uuid[], $4::timestamptz[]) as g (shard, product_id, hour)
join log l on l.shard = g.shard and l.version is null and l.type = $1 and l.at >= g.hour and l.at < g.hour + interval '1 hour'
    and l.product_id = g.product_id
