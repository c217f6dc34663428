select coalesce(max(pos), 0) from log where shard = $1
