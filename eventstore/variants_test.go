package eventstore

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// addVariants adds variants of a new product whose SKUs are these.
func addVariants(t *testing.T, s *Store, skus ...string) (productID uuid.UUID, ids []uuid.UUID) {
	productID = uuid.New()
	s.write(t, func(_ *Snapshot, c *Changes) {
		for _, sku := range skus {
			id := uuid.New()
			ids = append(ids, id)
			c.AddVariant(Variant{VariantID: id, ProductID: productID, SKU: sku, SKUKey: sku, InitialQuantity: 3, LowStockThreshold: 1, Unconfirmed: strings.HasPrefix(sku, "un"), CorrelationID: "c", Traceparent: "t"})
		}
	}, productID)
	return productID, ids
}

func skus(variants []Variant) map[string]Variant {
	bySKU := map[string]Variant{}
	for _, v := range variants {
		bySKU[v.SKU] = v
	}
	return bySKU
}

func due(t *testing.T, s *Store, limit int, lease time.Duration) map[string]Variant {
	t.Helper()
	return skus(must[[]Variant](t)(s.DueVariants(t.Context(), limit, lease)))
}

func backlog(t *testing.T, s *Store) Backlog {
	t.Helper()
	return must[Backlog](t)(s.VariantBacklog(t.Context()))
}

func postpone(t *testing.T, s *Store, id uuid.UUID, delay time.Duration, stop bool, why string) {
	t.Helper()
	if err := s.PostponeVariant(t.Context(), id, delay, stop, why); err != nil {
		t.Fatal(err)
	}
}

func TestDueVariants(t *testing.T) {
	s := open(t)
	if b := backlog(t, s); b != (Backlog{}) {
		t.Errorf("the backlog of nothing is %+v", b)
	}
	productID, ids := addVariants(t, s, "a", "b", "c")
	s.exec(t, "update variant set due_at = due_at - interval '1 minute' where sku <> 'c'")
	first := due(t, s, 2, time.Hour)
	if a := first["a"]; len(first) != 2 || a.VariantID != ids[0] || a.ProductID != productID || a.InitialQuantity != 3 || a.LowStockThreshold != 1 ||
		a.Record != RecordPending || a.Attempts != 0 || a.CorrelationID != "c" || a.Traceparent != "t" || time.Since(a.CreatedAt).Abs() > time.Minute {
		t.Errorf("the two longest due are %+v", first)
	}
	if next := due(t, s, 10, time.Hour); len(next) != 1 || next["c"].SKU != "c" {
		t.Errorf("another gets %+v", next)
	}
	if none := due(t, s, 10, time.Hour); len(none) != 0 {
		t.Errorf("while they are leased another gets %+v", none)
	}
	if b := backlog(t, s); b.Pending != 3 || b.Stopped != 0 || time.Since(b.Oldest).Abs() > time.Minute || time.Until(b.Next) < 50*time.Minute {
		t.Errorf("the backlog is %+v", b)
	}
	for _, id := range []uuid.UUID{ids[2], uuid.New()} {
		if err := s.GiveBackVariant(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if back := due(t, s, 10, time.Hour); len(back) != 1 || back["c"].Attempts != 0 {
		t.Errorf("given back, another gets %+v", back)
	}
	s.exec(t, "update variant set due_at = now() - interval '1 second' where sku = 'b'") // its lease ran out
	if again := due(t, s, 10, time.Hour); len(again) != 1 || again["b"].SKU != "b" {
		t.Errorf("after a crash another gets %+v", again)
	}
}

// Two that ask at once never get the same variant.
func TestDueVariantsAreHandedOutOnce(t *testing.T) {
	s := open(t)
	_, ids := addVariants(t, s, "x", "y", "z", "w", "v", "u", "t", "s")
	got := make(chan map[string]Variant)
	for range 4 {
		go func() {
			mine := map[string]Variant{}
			for range 4 {
				variants, err := s.DueVariants(t.Context(), 1, time.Hour)
				if err != nil {
					t.Error(err)
				}
				for _, v := range variants {
					mine[v.SKU] = v
				}
			}
			got <- mine
		}()
	}
	handed, total := map[string]bool{}, 0
	for range 4 {
		for sku := range <-got {
			handed[sku] = true
			total++
		}
	}
	if len(handed) != len(ids) || total != len(ids) {
		t.Errorf("%d variants were handed out %d times, there are %d", len(handed), total, len(ids))
	}
}

func TestPostponeAndRestart(t *testing.T) {
	s := open(t)
	_, ids := addVariants(t, s, "a", "b", "c")
	postpone(t, s, ids[0], time.Hour, false, "timeout")
	postpone(t, s, ids[1], 0, true, strings.Repeat("bad gateway ", 1000))
	postpone(t, s, uuid.New(), 0, true, "not there")
	if got := due(t, s, 10, 0); len(got) != 1 || got["c"].SKU != "c" {
		t.Errorf("due are %+v, want c alone: a is postponed, b stopped", got)
	}
	if b := backlog(t, s); b.Pending != 2 || b.Stopped != 1 {
		t.Errorf("the backlog is %+v", b)
	}
	if why := one[string](t, s, "select string_agg(left(last_error, 11), ',' order by sku) from variant"); why != "timeout,bad gateway," {
		t.Errorf("the errors are %q", why)
	}
	if n := one[int](t, s, "select max(length(last_error)) from variant"); n != 1000 {
		t.Errorf("the longest error has %d characters", n)
	}
	postpone(t, s, ids[1], 0, false, "again") // a late answer about a stopped one
	if n := must[int64](t)(s.RestartVariants(t.Context())); n != 1 {
		t.Errorf("%d were restarted, want 1", n)
	}
	if b := due(t, s, 10, time.Hour)["b"]; b.Record != RecordPending || b.Attempts != 0 {
		t.Errorf("restarted it is %+v", b)
	}
	s.write(t, func(_ *Snapshot, c *Changes) { c.ConfirmVariant(ids[0]) }, uuid.New())
	postpone(t, s, ids[0], 0, true, "late")
	byID := skus(must[[]Variant](t)(s.VariantsByID(t.Context(), append(ids, uuid.New()))))
	if len(byID) != 3 || byID["a"].Record != RecordCreated || byID["a"].Attempts != 1 {
		t.Errorf("the variants are %+v", byID)
	}
	if none := must[[]Variant](t)(s.VariantsByID(t.Context(), nil)); len(none) != 0 {
		t.Errorf("no ids give %+v", none)
	}
}

func TestUnconfirmed(t *testing.T) {
	s := open(t)
	_, old := addVariants(t, s, "un1", "un2", "confirmed", "un3")
	s.exec(t, "update variant set created_at = created_at - interval '1 minute'")
	addVariants(t, s, "un young")
	s.write(t, func(_ *Snapshot, c *Changes) { c.ConfirmVariant(old[3]) }, uuid.New())
	s.exec(t, "update variant set record = 'STOPPED' where sku = 'un2'")
	got := skus(must[[]Variant](t)(s.Unconfirmed(t.Context(), 30*time.Second, 10)))
	if len(got) != 2 || !got["un1"].Unconfirmed || got["un2"].Record != RecordStopped {
		t.Errorf("unconfirmed are %+v, want un1 and un2", got)
	}
	if got := must[[]Variant](t)(s.Unconfirmed(t.Context(), 30*time.Second, 1)); len(got) != 1 {
		t.Errorf("one of them is %+v", got)
	}
}

func TestADiscardedVariantGivesItsSKUBack(t *testing.T) {
	s := open(t)
	productID, ids := addVariants(t, s, "a")
	s.write(t, func(_ *Snapshot, c *Changes) {
		c.DiscardVariant(ids[0])
		c.AddVariant(Variant{VariantID: ids[0], ProductID: productID, SKU: "a", InitialQuantity: 9})
	}, productID)
	if got := must[[]Variant](t)(s.ProductVariants(t.Context(), productID)); len(got) != 1 || got[0].InitialQuantity != 9 {
		t.Errorf("the product has %+v", got)
	}
}
