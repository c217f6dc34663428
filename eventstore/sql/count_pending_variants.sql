select pending.n, stopped.n, pending.oldest, pending.next
from (select count(*) n, min(created_at) oldest, min(due_at) next from variant where record = 'PENDING') pending,
     (select count(*) n from variant where record = 'STOPPED') stopped
