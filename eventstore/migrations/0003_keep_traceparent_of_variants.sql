-- +goose Up

-- Of the request that added the variant: the creation of its inventory record is a part of that trace.
alter table variant add column traceparent text not null default '';
