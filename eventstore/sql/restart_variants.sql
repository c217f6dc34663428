update variant set record = 'PENDING', attempts = 0, due_at = clock_timestamp() where record = 'STOPPED'
