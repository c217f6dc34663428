insert into variant (variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::text[], $8::text[])
