select record_offset from dead_letter where topic = $1 and partition = $2
