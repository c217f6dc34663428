select command_id, fingerprint, shard, pos from inbox where command_id = any($1::uuid[])
