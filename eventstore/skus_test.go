package eventstore

import (
	"io/fs"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"product-service/dev/stack"
	"product-service/product"
)

// openAt returns a store over a database whose schema is of an earlier version.
func openAt(t *testing.T, version int64) *Store {
	s := connect(t, stack.Postgres(t, nil))
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	provider := must[*goose.Provider](t)(goose.NewProvider(goose.DialectPostgres, db, migrations))
	must[[]*goose.MigrationResult](t)(provider.UpTo(t.Context(), version))
	return s
}

func (s *Store) insertOldVariant(t *testing.T, sku string, minutes int) (id uuid.UUID) {
	id = uuid.New()
	s.exec(t, `insert into variant (variant_id, product_id, sku, initial_quantity, low_stock_threshold, unconfirmed, correlation_id, created_at)
		values ($1, $2, $3, 0, 0, false, '', now() + $4 * interval '1 minute')`, id, uuid.New(), sku, minutes)
	return id
}

func TestAnUpgradeGivesStoredSKUsTheKeysOfNewOnes(t *testing.T) {
	s := openAt(t, 3)
	want := map[string]string{}
	for _, sku := range []string{
		"plain", " spaces\t", "\u2003\u00a0wide\u3000", "in side", "zero\u200bwidth", "\ufeffmark", "soft\u00adhyphen", "\u202aleft\u202c", "E\u0301-1", "Ｆull１", "ﬁne",
		"line\nbreak", "line\r\n", "bell\x07", "\u0085next\u2028", "❤\ufe0f", "👩\u200d🔬", "🏴\U000e0067\U000e007f", "चाय", "น้ำ", "\u3164한", "\u1112\u1161\u11abq", "e\u034f\u0301x", "\u00a8x",
		"\u061cعربي", "\u1160x", "\u180bm", "\u17b4k", "\u2065y", "\ufff9z", "\U0001bca0a", "\U0001d173b", "\uffa0c", "\u2800d",
	} {
		s.insertOldVariant(t, sku, 0)
		want[sku] = product.SKUKey(sku)
	}
	must[int64](t)(s.Migrate(t.Context()))
	for sku, key := range want {
		if got := one[string](t, s, "select sku_key from variant where sku = $1", sku); got != key {
			t.Errorf("%q has the key %q, want %q as a new one has", sku, got, key)
		}
	}
}

func TestAnUpgradeKeepsSKUsThatLookTheSame(t *testing.T) {
	s := openAt(t, 3)
	second, first, third := s.insertOldVariant(t, "X ", 2), s.insertOldVariant(t, "X", 1), s.insertOldVariant(t, "X\u200b", 3)
	empty, long := s.insertOldVariant(t, "\u200b", 0), s.insertOldVariant(t, "\ufdfa\ufdfa\ufdfa\ufdfa\ufdfa\ufdfa", 0)
	must[int64](t)(s.Migrate(t.Context()))
	if owner := one[uuid.UUID](t, s, "select variant_id from variant where sku_key = 'X'"); owner != first {
		t.Errorf("%s has the key, want the oldest, %s", owner, first)
	}
	if n := one[int](t, s, "select count(*) from variant where sku_key is null"); n != 4 {
		t.Errorf("%d variants have no key, want 4", n)
	}
	all := must[[]Variant](t)(s.VariantsByID(t.Context(), []uuid.UUID{first, second, third, empty, long}))
	if bySKU := skus(all); len(bySKU) != 5 || bySKU["X "].VariantID != second || bySKU["X\u200b"].VariantID != third {
		t.Errorf("after the upgrade there are %+v", all)
	}
	load := func(k Keys) int {
		n := 0
		if err := s.Transact(t.Context(), k, func(snapshot *Snapshot, _ *Changes) error { n = len(snapshot.Variants); return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := load(Keys{SKUKeys: []string{"X"}}); n != 1 {
		t.Errorf("by its looks %d variants are found, want the one with the key", n)
	}
	if n := load(Keys{SKUs: []string{"X\u200b"}}); n != 1 {
		t.Errorf("as it is written %d variants are found, want the one without a key", n)
	}
}
