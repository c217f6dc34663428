delete from inbox where ctid = any(array(
    select ctid from inbox where at < clock_timestamp() - $1::interval limit $2
))
