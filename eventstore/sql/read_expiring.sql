select product_id, reservation_id from reservation
where state = 'ACTIVE' and expires_at is not null and expires_at <= clock_timestamp() order by expires_at limit $1
