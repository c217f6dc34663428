select k.product_id from unnest($1::uuid[]) as k (product_id)
where not exists (select from log where log.product_id = k.product_id and version is not null)
  and not exists (select from log where log.product_id = k.product_id and version is null)
