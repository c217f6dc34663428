-- +goose Up

-- What happened. A row with a version is an event of its product's stream, one without is a fact that left the stream as it was.
-- (shard, pos) is dense and in commit order, so a reader needs only the last position it saw. "at" never runs back in a shard.
create table log (
    shard      smallint    not null check (shard between 0 and 31),
    pos        bigint      not null check (pos > 0),
    product_id uuid        not null,
    version    bigint      check (version > 0),
    type       text        not null,
    command_id uuid        not null,
    data       json        not null,
    at         timestamptz not null,
    primary key (shard, pos)
);
create unique index log_stream on log (product_id, version) where version is not null;
create index log_product on log (product_id, pos) where version is null;
create index log_facts on log (shard, type, at) where version is null; -- what may be pruned one day

-- The snapshot of each stream: what a decision starts from, and the guard of its version.
create table product_head (
    product_id          uuid     primary key,
    version             bigint   not null check (version > 0),
    status              smallint not null,
    stock_total         bigint   not null,
    reserved            bigint   not null,
    low_stock_threshold bigint   not null,
    variants            integer  not null check (variants between 0 and 100),
    constraint product_head_not_oversold check (0 <= reserved and reserved <= stock_total)
) with (fillfactor = 60);

-- Every reservation there ever was: an id is spent for ever.
create table reservation (
    product_id     uuid   not null,
    reservation_id uuid   not null,
    saga_id        text   not null,
    quantity       bigint not null check (quantity >= 0),
    held           bigint not null,
    state          text   not null check (state in ('ACTIVE', 'RELEASED', 'EXPIRED', 'CANCELLED')),
    expires_at     timestamptz,
    primary key (product_id, reservation_id),
    constraint reservation_held check (0 <= held and held <= quantity and (held > 0) = (state = 'ACTIVE'))
) with (fillfactor = 80);
create index reservation_expiring on reservation (expires_at) where state = 'ACTIVE' and expires_at is not null;

-- The commands that were decided, and where their outcome stands in the log.
create table inbox (
    command_id  uuid        primary key,
    fingerprint bigint      not null,
    shard       smallint    not null,
    pos         bigint      not null,
    at          timestamptz not null
);
create index inbox_age on inbox (at);

-- The variants: their ids and SKUs are unique across products, and each one's inventory record is made from here.
create table variant (
    variant_id          uuid        primary key,
    product_id          uuid        not null,
    sku                 text        not null constraint variant_sku unique,
    initial_quantity    bigint      not null,
    low_stock_threshold bigint      not null,
    unconfirmed         boolean     not null, -- under the rollback policy, until its record is made
    correlation_id      text        not null, -- of the request that added it
    record              text        not null default 'PENDING' check (record in ('PENDING', 'STOPPED', 'CREATED')),
    attempts            integer     not null default 0,
    last_error          text        not null default '',
    created_at          timestamptz not null default clock_timestamp(),
    due_at              timestamptz not null default clock_timestamp()
);
create index variant_due on variant (due_at) where record = 'PENDING';
create index variant_product on variant (product_id);
create index variant_stopped on variant (created_at) where record = 'STOPPED';
create index variant_unconfirmed on variant (created_at) where unconfirmed;

-- Who does what: one owner a role and shard, by the database's clock. The epoch grows with each new owner and fences the old one.
create table lease (
    role       text        not null,
    shard      smallint    not null,
    owner      text        not null default '',
    epoch      bigint      not null default 0,
    expires_at timestamptz not null default '-infinity',
    pos        bigint      not null default 0, -- the checkpoint of roles that keep theirs here
    primary key (role, shard)
) with (fillfactor = 50);

create table instance (
    id         text        primary key,
    expires_at timestamptz not null
);

-- Dead letters that were dealt with, by their place in the dead-letter topic.
create table dead_letter (
    topic       text        not null,
    partition   integer     not null,
    record_offset bigint    not null,
    replayed_at timestamptz not null default clock_timestamp(),
    primary key (topic, partition, record_offset)
);

-- A statement that must change n rows says so: any other count means that somebody else was faster.
-- +goose StatementBegin
create function expect_rows(changed bigint, expected bigint) returns void language plpgsql as $$
begin
    if changed <> expected then
        raise exception 'version conflict: % of % rows changed', changed, expected using errcode = '40001';
    end if;
end $$;
-- +goose StatementEnd
