insert into product_head (product_id, version, status, stock_total, reserved, low_stock_threshold, variants)
select * from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[])
