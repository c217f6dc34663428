-- statement_timestamp(), unlike clock_timestamp(), can end the scan of the index.
select product_id, reservation_id from reservation
where state = 'ACTIVE' and expires_at is not null and expires_at <= statement_timestamp() order by expires_at limit $1
