select product_id, reservation_id, saga_id, quantity, held, state, expires_at
from reservation where product_id = $1 and reservation_id > $2 order by reservation_id limit $3
