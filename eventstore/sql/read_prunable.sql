-- Whatever a command that is still known points at stays, and an hour longer, as does what a resend names, as long as the resend is read within
-- that hour. So a shard whose readers are further behind is left alone.
select log.shard, log.pos, log.product_id, 0::bigint, log.type, log.command_id, log.data, log.at
from (select shard, min(pos) as pos from unnest($3::smallint[], $4::bigint[]) as c (shard, pos) group by shard) c
cross join lateral (select max(pos) as pos from log where log.shard = c.shard) last
cross join lateral (
    select * from log
    where log.shard = c.shard and log.pos <= c.pos and log.pos < last.pos and version is null and type = any($2::text[])
      and at < statement_timestamp() - $1::interval - interval '1 hour'
      and not exists (select from inbox where inbox.command_id = log.command_id and inbox.shard = log.shard and inbox.pos = log.pos)
    limit $5
) log
where not exists (select from log unread where unread.shard = c.shard and unread.pos = c.pos + 1 and unread.at < statement_timestamp() - interval '1 hour')
limit $5
