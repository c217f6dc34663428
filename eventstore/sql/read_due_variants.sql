update variant set due_at = clock_timestamp() + $2::interval
where variant_id in (
    select variant_id from variant where record = 'PENDING' and due_at <= statement_timestamp() order by due_at limit $1 for update skip locked
)
returning variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, traceparent, record, attempts, created_at
