update variant set record = 'CREATED', unconfirmed = false, last_error = '' where variant_id = any($1::uuid[])
