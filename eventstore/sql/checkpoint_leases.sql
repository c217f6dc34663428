-- Fenced: only the epoch that holds the lease moves its position, and never back.
update lease l set pos = u.pos
from unnest($2::smallint[], $3::bigint[], $4::bigint[]) as u (shard, epoch, pos)
where l.role = $1 and l.shard = u.shard and l.epoch = u.epoch and l.pos < u.pos
returning l.shard
