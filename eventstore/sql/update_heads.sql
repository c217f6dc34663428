with changed as (
    update product_head h
    set version = u.version, status = u.status, stock_total = u.stock_total, reserved = u.reserved,
        low_stock_threshold = u.low_stock_threshold, variants = u.variants
    from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[], $8::bigint[])
        as u (product_id, version, status, stock_total, reserved, low_stock_threshold, variants, expected)
    where h.product_id = u.product_id and h.version = u.expected
    returning 1
)
select expect_rows((select count(*) from changed), cardinality($1))
