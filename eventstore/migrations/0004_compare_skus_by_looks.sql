-- +goose Up

-- What a SKU looks like: NFKC without what is invisible and without spaces at its ends, as product.SKUKey makes it of new ones.
-- A key belongs to one variant. Where variants that are there already look the same, the oldest has the key; the others keep
-- their SKUs without one, and those may not be used again as they are written. Only a database in UTF-8 can normalize.
alter table variant add column sku_key text constraint variant_sku_key unique;

with looks as (
    select variant_id, created_at, case when getdatabaseencoding() = 'UTF8' then
        regexp_replace(
            normalize(regexp_replace(sku, '[\u0001-\u0008\u000E-\u001F\u007F-\u0084\u0086-\u009F' ||
                '\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB' ||
                '\U00013430-\U0001343F\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]', '', 'g'), NFKC),
            '^[\u0009-\u000D\u0020\u0085\u1680\u2028\u2029\u2800]+|[\u0009-\u000D\u0020\u0085\u1680\u2028\u2029\u2800]+$', '', 'g')
        else sku end as key
    from variant
), first as (
    select distinct on (key) variant_id, key from looks where length(key) between 1 and 100 order by key, created_at, variant_id
)
update variant set sku_key = first.key from first where variant.variant_id = first.variant_id;
