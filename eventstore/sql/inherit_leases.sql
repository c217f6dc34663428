-- $1 this process, $2 how the owners begin that have its fixed id.
with gone as (delete from instance where id <> $1 and starts_with(id, $2))
update lease set owner = '', expires_at = '-infinity' where owner <> $1 and starts_with(owner, $2)
