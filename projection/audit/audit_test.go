package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// auditedLog is a log, and what is kept beside it.
type auditedLog interface {
	Log
	Tables
}

func differences(t rapid.TB, s *store.Store, l auditedLog, o Options) []Difference {
	var all []Difference
	result, err := Run(context.Background(), s, l, l, projectiontest.Quiet, o, func(d Difference) { all = append(all, d) })
	if err != nil {
		t.Fatal(err)
	}
	if result.Differences != int64(len(all)) {
		t.Fatalf("%d differences were reported, %d counted", len(all), result.Differences)
	}
	return all
}

// Ensure that an audit finds nothing wrong with any history, projected to its end or only in part.
func TestAuditOfWhatIsRight(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		projectiontest.Begin(t, s)
		l := projectiontest.NewLog()
		s.Config.MinPage = rapid.IntRange(1, 20).Draw(t, "page")
		s.Config.MaxPage = s.Config.MinPage
		p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
		for range rapid.IntRange(1, 3).Draw(t, "rounds") {
			projectiontest.History(t, l, 3, rapid.IntRange(1, 40).Draw(t, "commands"))
			for range rapid.IntRange(0, 4).Draw(t, "pages") {
				if _, _, err := p.Poll(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if found := differences(t, s, l, Options{}); len(found) > 0 {
				t.Fatalf("differences: %+v", found)
			}
		}
	})
}

// Ensure that whatever is wrong is found, and that what is wrong with documents is healed.
func TestAuditFindsAndHeals(t *testing.T) {
	id := projectiontest.ID(0xaa, 1)
	for name, c := range map[string]struct {
		harm   func(t *testing.T, s *store.Store, l *projectiontest.Log)
		where  []string // in which something is found
		remain []string // after healing
	}{
		"documents": {corruptAll, []string{"days", "document", "movements"}, nil},
		"no document": {func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			if _, err := s.Database().Collection("products_1").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id.String()}}); err != nil {
				t.Fatal(err)
			}
		}, []string{"document"}, nil},
		"head": {func(_ *testing.T, _ *store.Store, l *projectiontest.Log) {
			p := l.Products[id]
			p.Reserved++
			l.Products[id] = p
		}, []string{"head"}, []string{"head"}},
		"reservation": {func(_ *testing.T, _ *store.Store, l *projectiontest.Log) {
			key := eventstore.ReservationKey{ProductID: id, ReservationID: projectiontest.ID(0xcc, 11)}
			r := l.Held[key]
			r.Held--
			l.Held[key] = r
		}, []string{"reservation"}, []string{"reservation"}},
		"a document of nothing": {func(t *testing.T, s *store.Store, _ *projectiontest.Log) {
			if _, err := s.Database().Collection("products_1").InsertOne(t.Context(), view.Document{ID: projectiontest.ID(0xdd, 1).String(), Status: view.Active}); err != nil {
				t.Fatal(err)
			}
		}, []string{"document"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.Open(t)
			l := projectiontest.Stocked(t, 3)
			projectiontest.FillBlocks(l, id)
			p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
			if err := projectiontest.Drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if found := differences(t, s, l, Options{}); len(found) > 0 {
				t.Fatalf("differences before: %+v", found)
			}
			c.harm(t, s, l)
			if found := places(differences(t, s, l, Options{Heal: true})); !slices.Equal(found, c.where) {
				t.Errorf("found %v, want %v", found, c.where)
			}
			if found := places(differences(t, s, l, Options{})); !slices.Equal(found, c.remain) {
				t.Errorf("after healing: %v, want %v", found, c.remain)
			}
		})
	}
}

func corruptAll(t *testing.T, s *store.Store, _ *projectiontest.Log) {
	projectiontest.Corrupt(t, s, projectiontest.ID(0xaa, 1))
}

func places(found []Difference) []string {
	var where []string
	for _, d := range found {
		where = append(where, d.Where)
	}
	slices.Sort(where)
	return slices.Compact(where)
}

// Ensure that a variant whose record the Inventory Service doesn't have is found, and only among
// those that were initialized.
func TestAuditAsksForInventoryRecords(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	l.Do(projectiontest.ID(0xaa, 0), time.Second, product.AddVariant{Variant: product.Variant{ID: projectiontest.ID(0xbb, 50), SKU: "new", Name: "N"}})
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	var asked []uuid.UUID
	found := differences(t, s, l, Options{Absent: func(_ context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
		asked = append(asked, ids...)
		return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return id != projectiontest.ID(0xbb, 1) }), nil
	}})
	if len(asked) != 2 || slices.Contains(asked, projectiontest.ID(0xbb, 50)) {
		t.Errorf("asked for %v", asked)
	}
	if len(found) != 1 || found[0].Where != "inventory" || found[0].Product != projectiontest.ID(0xaa, 1) {
		t.Errorf("found %+v", found)
	}
}

// Ensure that an audit that a rebuild overtakes fails, instead of reporting what was dropped as
// missing, or healing what nobody reads.
func TestAnAuditEndsWithItsGeneration(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 3)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	g, err := s.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Products.DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	overtaken := busyLog{l, func() {
		projectiontest.SetMeta(t, s, bson.D{{Key: "generation", Value: "2"}})
	}}
	result, err := Run(t.Context(), s, overtaken, overtaken, projectiontest.Quiet, Options{Heal: true}, func(Difference) {})
	if !errors.Is(err, store.ErrRenamed) || result.Differences != 0 || result.Healed != 0 {
		t.Errorf("it comes to %+v, error %v", result, err)
	}
}

// Ensure that a parked product is a difference that no healing ends, as long as its log can't be read.
func TestAuditOfAParkedProduct(t *testing.T) {
	s, l, id := projectiontest.Open(t), projectiontest.Stocked(t, 2), projectiontest.ID(0xaa, 0)
	row := l.Do(id, time.Second, product.AdjustStock{Delta: 5, Reason: "delivery"})[0]
	l.Shards[row.Shard][row.Pos-1].Data = []byte(`{"delta":"five"}`)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		found := differences(t, s, l, Options{Heal: true})
		if !slices.Equal(places(found), []string{"log", "parked"}) {
			t.Fatalf("found %+v", found)
		}
		if what := found[1].What; !strings.Contains(what, fmt.Sprintf("position %d, a ProductStockAdjustedEvent", row.Pos)) || !strings.Contains(what, "delta") {
			t.Errorf("it says of the parked product: %s", what)
		}
	}
}

// Ensure that documents of a shape that this program doesn't know are not judged.
func TestAuditOfAnotherShape(t *testing.T) {
	s, l := projectiontest.Open(t), projectiontest.Stocked(t, 1)
	projectiontest.SetMeta(t, s, bson.D{{Key: "schema", Value: view.Schema + 1}})
	if _, err := Run(t.Context(), projectiontest.Another(t, s), l, l, projectiontest.Quiet, Options{Heal: true}, func(Difference) {}); !errors.Is(err, projection.ErrShape) {
		t.Errorf("an audit: %v", err)
	}
}
