insert into variant (variant_id, product_id, sku, sku_key, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent)
select variant_id, product_id, sku, nullif(sku_key, ''), initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[], $9::text[])
    as u (variant_id, product_id, sku, sku_key, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent)
