select command_id, fingerprint, shard, pos, at from inbox where command_id = any($1::uuid[])
