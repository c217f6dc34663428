-- $1 ids, $2 SKUs as they are written, $3 SKUs as they look
select variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent, record, attempts, created_at
from variant where variant_id = any($1::uuid[])
union
select variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent, record, attempts, created_at
from variant where sku = any($2::text[])
union
select variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent, record, attempts, created_at
from variant where sku_key = any($3::text[])
