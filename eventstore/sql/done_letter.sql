insert into dead_letter (topic, partition, record_offset) values ($1, $2, $3) on conflict do nothing
