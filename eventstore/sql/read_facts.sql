select shard, pos, product_id, 0::bigint, type, command_id, data, at
from log where product_id = $1 and version is null and pos > $2 order by pos limit $3
