-- $1 this process, $2 how the owners begin that have its fixed id. What was there when this one began was deleted then.
select exists (select from instance where id <> $1 and starts_with(id, $2) and expires_at > clock_timestamp())
