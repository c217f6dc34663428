update variant set due_at = clock_timestamp() where variant_id = $1 and record = 'PENDING'
