update variant set due_at = clock_timestamp() where variant_id = $1 and record not in ('STOPPED', 'CREATED') -- pending, in words that don't make the planner take the index of all that are
