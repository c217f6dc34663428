insert into reservation (product_id, reservation_id, saga_id, quantity, held, state, expires_at)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::timestamptz[])
