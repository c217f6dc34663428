package projection

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
)

// Ensure that damaged documents of a product are folded anew by the projector, which goes on with all products, and that an audit finds and heals
// them, and a rebuild of the product.
func TestDamagedDocuments(t *testing.T) {
	bad, good := testID(0xaa, 0), testID(0xaa, 1)
	for name, harm := range map[string]struct {
		in, id string
		fields bson.D
		finds  string
	}{
		"a tail of nonsense":   {"products_1", bad.String(), bson.D{{Key: "tail", Value: []byte("nonsense")}}, "document"},
		"no tail":              {"products_1", bad.String(), bson.D{{Key: "tail", Value: nil}}, "document"},
		"an hour cut short":    {"products_1", bad.String(), bson.D{{Key: "hour", Value: bson.Binary{Data: []byte{0x80}}}}, "document"},
		"a position in words":  {"products_1", bad.String(), bson.D{{Key: "pos", Value: "first"}, {Key: "rev", Value: bson.A{}}}, "document"},
		"a day cut short":      {"days_1", dayID(bad.String(), newMemoryLog().clock.Unix()/86400), bson.D{{Key: "hours.22", Value: bson.Binary{Data: []byte{0x80}}}}, "days"},
		"a block of two kinds": {"movements_1", movementID(bad.String(), 1), bson.D{{Key: "counts", Value: "many"}}, "movements"},
	} {
		for way, mend := range map[string]func(t *testing.T, s *Store, l *memoryLog){
			"projector": func(t *testing.T, s *Store, l *memoryLog) {
				if harm.in != "products_1" {
					t.Skip("it doesn't read them")
				}
				for i := range 20 {
					l.do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: fmt.Sprint(i)})
				}
				l.do(good, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
			},
			"audit": func(t *testing.T, s *Store, l *memoryLog) {
				if found := places(differences(t, s, l, AuditOptions{Heal: true})); !slices.Contains(found, harm.finds) {
					t.Errorf("found %v", found)
				}
			},
			"rebuild": func(t *testing.T, s *Store, l *memoryLog) {
				if err := Rebuild(t.Context(), s, l, quiet, RebuildOptions{Product: bad}, nil); err != nil {
					t.Fatal(err)
				}
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				s := open(t)
				l := stocked(t, 3)
				fillBlocks(l, bad)
				if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
					t.Fatal(err)
				}
				if r, err := s.db.Collection(harm.in).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: harm.id}}, set(harm.fields)); err != nil || r.MatchedCount != 1 {
					t.Fatal(r, err)
				}
				mend(t, s, l)
				if err := drain(t.Context(), project(t, s, l, &leases{epoch: 2})); err != nil {
					t.Fatal(err)
				}
				compare(t, s, l)
				if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
					t.Errorf("differences: %+v", found)
				}
			})
		}
	}
}

// Ensure that a row that can't be read is in no document when it is met in a product that is being folded anew.
func TestDamagedProductWithPoison(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	bad := testID(0xaa, 0)
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection("products_1").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: bad.String()}}, set(bson.D{{Key: "version", Value: int64(3)}})); err != nil {
		t.Fatal(err)
	}
	row := l.do(bad, time.Second, product.AdjustStock{Delta: 5, Reason: "delivery"})[0]
	kept := &l.shards[row.Shard][row.Pos-1]
	right := kept.Data
	kept.Data = []byte(`{"delta":"five"}`)
	for range 3 {
		l.do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	}
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 2})); err != nil {
		t.Fatal(err)
	}
	if got, _, err := NewReader(s, nil).Product(t.Context(), bad); err != nil || got.Version != row.Version-1 {
		t.Errorf("the parked product is %+v, %v", got, err)
	}
	kept.Data = right
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 3})); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}
