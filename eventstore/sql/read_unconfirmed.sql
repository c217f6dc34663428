select variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent, record, attempts, created_at
from variant where unconfirmed and record <> 'CREATED' and created_at < statement_timestamp() - $1::interval order by created_at limit $2
