with gone as (delete from instance where id = $1)
update lease set owner = '', expires_at = '-infinity' where owner = $1
