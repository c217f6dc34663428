select product_id, version, status, stock_total, reserved, low_stock_threshold, variants
from product_head where product_id = any($1::uuid[])
