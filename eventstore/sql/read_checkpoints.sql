select shard, pos from lease where role = $1 order by shard
