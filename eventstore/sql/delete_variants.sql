delete from variant where variant_id = any($1::uuid[])
