-- Fenced: only the epoch that holds the lease moves its position, and never back. Rows are locked in the order in which a beat
-- locks them.
with due as (
    select l.shard, u.pos
    from unnest($2::smallint[], $3::bigint[], $4::bigint[]) as u (shard, epoch, pos)
    join lease l on l.role = $1 and l.shard = u.shard and l.epoch = u.epoch and l.pos < u.pos
    order by l.shard for update of l
)
update lease l set pos = due.pos from due where l.role = $1 and l.shard = due.shard
returning l.shard
