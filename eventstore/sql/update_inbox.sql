-- One that was forgotten meanwhile is decided anew.
with changed as (
    update inbox set at = greatest(at, u.age_from)
    from unnest($1::uuid[], $2::timestamptz[]) as u (command_id, age_from)
    where inbox.command_id = u.command_id
    returning 1
)
select expect_rows((select count(*) from changed), cardinality($1))
