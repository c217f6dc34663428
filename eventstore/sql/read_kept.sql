-- The products after $1 that have a head or reservations. A product's reservations may be millions: the primary key is read from one product to
-- the next, not row by row.
with recursive reserved (product_id) as (
    (select product_id from reservation where product_id > $1 order by product_id limit 1)
    union all
    select (select r.product_id from reservation r where r.product_id > reserved.product_id order by r.product_id limit 1)
    from reserved where reserved.product_id is not null
)
select product_id
from (
    (select product_id from product_head where product_id > $1 order by product_id limit $2)
    union
    (select product_id from reserved where product_id is not null limit $2)
) kept
order by product_id limit $2
