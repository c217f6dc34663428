-- One beat of an instance, in one statement: it says it is alive, keeps what is its own up to its fair share, gives back the rest,
-- and takes what is free, again up to its fair share. $1 instance, $2 time to live, $3 roles, $4 how many shards each role has.
-- Its own rows it waits for, since a checkpoint may be moving them just now; of the free ones it skips those that another takes.
with alive as (
    insert into instance (id, expires_at) values ($1, clock_timestamp() + $2::interval)
    on conflict (id) do update set expires_at = excluded.expires_at
),
share as (
    select role, shards, ceil(shards::numeric / (1 + (select count(*) from instance where id <> $1 and expires_at > clock_timestamp()))) as fair
    from unnest($3::text[], $4::int[]) as r (role, shards)
),
own as (
    select l.role, l.shard, share.fair, l.expires_at > clock_timestamp() as mine
    from lease l join share on share.role = l.role and l.shard < share.shards
    where l.owner = $1
    order by l.role, l.shard for update of l
),
free as (
    select l.role, l.shard, share.fair, false as mine
    from lease l join share on share.role = l.role and l.shard < share.shards
    where l.owner <> $1 and l.expires_at <= clock_timestamp()
    for update of l skip locked
),
wanted as (
    select role, shard, mine, row_number() over (partition by role order by mine desc, hashtext($1 || shard)) as n, fair
    from (select * from own union all select * from free) candidates
)
update lease l
set owner      = case when n <= fair then $1 else '' end,
    epoch      = case when n <= fair and not mine then epoch + 1 else epoch end,
    expires_at = case when n <= fair then clock_timestamp() + $2::interval else '-infinity' end
from wanted w
where l.role = w.role and l.shard = w.shard and (n <= fair or mine)
returning l.role, l.shard, l.epoch, l.pos, n <= fair
