delete from inbox where ctid = any(array(
    select ctid from inbox where at < statement_timestamp() - $1::interval order by at limit $2
))
