select pending.n, stopped.n, coalesce(clock_timestamp() - pending.oldest, interval '0')
from (select count(*) n, min(created_at) oldest from variant where record = 'PENDING') pending,
     (select count(*) n from variant where record = 'STOPPED') stopped
