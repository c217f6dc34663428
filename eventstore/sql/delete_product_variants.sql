delete from variant where product_id = any($1::uuid[])
