update variant
set attempts = attempts + 1, due_at = clock_timestamp() + $2::interval, last_error = left($4, 1000),
    record = case when $3 then 'STOPPED' else record end
where variant_id = $1 and record not in ('STOPPED', 'CREATED') -- pending, in words that don't make the planner take the index of all that are
