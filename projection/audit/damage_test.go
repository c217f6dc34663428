package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Ensure that damaged documents of a product are folded anew by the projector, which goes on with
// all products, and that an audit finds and heals them, and a rebuild of the product.
func TestDamagedDocuments(t *testing.T) {
	bad, good := projectiontest.ID(0xaa, 0), projectiontest.ID(0xaa, 1)
	for name, harm := range map[string]struct {
		in, id string
		fields bson.D
		finds  string
	}{
		"a tail of nonsense":   {"products_1", bad.String(), bson.D{{Key: "tail", Value: []byte("nonsense")}}, "document"},
		"no tail":              {"products_1", bad.String(), bson.D{{Key: "tail", Value: nil}}, "document"},
		"an hour cut short":    {"products_1", bad.String(), bson.D{{Key: "hour", Value: bson.Binary{Data: []byte{0x80}}}}, "document"},
		"a position in words":  {"products_1", bad.String(), bson.D{{Key: "pos", Value: "first"}, {Key: "rev", Value: bson.A{}}}, "document"},
		"a day cut short":      {"days_1", view.DayID(bad.String(), projectiontest.NewLog().Clock.Unix()/86400), bson.D{{Key: "hours.22", Value: bson.Binary{Data: []byte{0x80}}}}, "days"},
		"a block of two kinds": {"movements_1", view.MovementID(bad.String(), 1), bson.D{{Key: "counts", Value: "many"}}, "movements"},
	} {
		for way, mend := range map[string]func(t *testing.T, s *store.Store, l *projectiontest.Log){
			"projector": func(t *testing.T, s *store.Store, l *projectiontest.Log) {
				if harm.in != "products_1" {
					t.Skip("it doesn't read them")
				}
				for i := range 20 {
					l.Do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: fmt.Sprint(i)})
				}
				l.Do(good, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
			},
			"audit": func(t *testing.T, s *store.Store, l *projectiontest.Log) {
				if found := places(differences(t, s, l, Options{Heal: true})); !slices.Contains(found, harm.finds) {
					t.Errorf("found %v", found)
				}
			},
			"rebuild": func(t *testing.T, s *store.Store, l *projectiontest.Log) {
				if err := projection.Rebuild(t.Context(), s, l, projectiontest.Quiet, projection.RebuildOptions{Product: bad}, nil); err != nil {
					t.Fatal(err)
				}
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				s := projectiontest.Open(t)
				l := projectiontest.Stocked(t, 3)
				projectiontest.FillBlocks(l, bad)
				if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
					t.Fatal(err)
				}
				if r, err := s.Database().Collection(harm.in).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: harm.id}}, store.Set(harm.fields)); err != nil || r.MatchedCount != 1 {
					t.Fatal(r, err)
				}
				mend(t, s, l)
				if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 2})); err != nil {
					t.Fatal(err)
				}
				projectiontest.Compare(t, s, l)
				if found := differences(t, s, l, Options{}); len(found) > 0 {
					t.Errorf("differences: %+v", found)
				}
			})
		}
	}
}
