select record_offset, replayed_at from dead_letter where topic = $1 and partition = $2
