select shard, pos, product_id, version, type, command_id, data, at
from log where product_id = $1 and version is not null and version > $2 order by version limit $3
