-- +goose Up

-- What the Inventory Service said, for those who are told of nothing else.
create index log_inventory on log (shard, pos) where type = 'InventoryChanged';
