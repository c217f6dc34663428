select variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent, record, attempts, created_at
from variant where product_id = $1 order by variant_id
