with changed as (
    update reservation r
    set saga_id = u.saga_id, held = u.held, state = u.state, expires_at = u.expires_at
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
        as u (product_id, reservation_id, saga_id, held, state, expires_at)
    where r.product_id = u.product_id and r.reservation_id = u.reservation_id
    returning 1
)
select expect_rows((select count(*) from changed), cardinality($1))
