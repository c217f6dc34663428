-- Offsets begin anew where a topic is made anew: the latest note is the one that counts.
insert into dead_letter (topic, partition, record_offset) values ($1, $2, $3)
on conflict (topic, partition, record_offset) do update set replayed_at = excluded.replayed_at
