-- Run after the locks, as a statement of its own: its snapshot must be younger than the wait.
select s.shard, coalesce(last.pos, 0), greatest(clock_timestamp(), last.at)
from unnest($1::smallint[]) as s (shard)
left join lateral (select pos, at from log where log.shard = s.shard order by pos desc limit 1) last on true
