update variant
set attempts = attempts + 1, due_at = clock_timestamp() + $2::interval, last_error = $4,
    record = case when $3 then 'STOPPED' else record end
where variant_id = $1 and record = 'PENDING'
