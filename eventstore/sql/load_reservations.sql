select r.product_id, r.reservation_id, r.saga_id, r.quantity, r.held, r.state, r.expires_at
from unnest($1::uuid[], $2::uuid[]) as k (product_id, reservation_id)
join reservation r on r.product_id = k.product_id and r.reservation_id = k.reservation_id
