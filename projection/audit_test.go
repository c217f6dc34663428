package projection

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/eventstore"
	"product-service/product"
)

// auditedLog is a log, and what is kept beside it.
type auditedLog interface {
	AuditLog
	Books
}

func differences(t rapid.TB, s *Store, l auditedLog, o AuditOptions) []Difference {
	var all []Difference
	result, err := Audit(context.Background(), s, l, l, quiet, o, func(d Difference) { all = append(all, d) })
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
	s := open(t)
	rapid.Check(t, func(t *rapid.T) {
		begin(t, s)
		l := newMemoryLog()
		s.config.MinPage = rapid.IntRange(1, 20).Draw(t, "page")
		s.config.MaxPage = s.config.MinPage
		p := project(t, s, l, &leases{epoch: 1})
		for range rapid.IntRange(1, 3).Draw(t, "rounds") {
			history(t, l, 3, rapid.IntRange(1, 40).Draw(t, "commands"))
			for range rapid.IntRange(0, 4).Draw(t, "pages") {
				if _, _, err := p.sweep(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
				t.Fatalf("differences: %+v", found)
			}
		}
	})
}

// Ensure that whatever is wrong is found, and that what is wrong with documents is healed.
func TestAuditFindsAndHeals(t *testing.T) {
	id := testID(0xaa, 1)
	for name, c := range map[string]struct {
		harm   func(t *testing.T, s *Store, l *memoryLog)
		where  []string // in which something is found
		remain []string // after healing
	}{
		"documents": {corruptAll, []string{"days", "document", "movements"}, nil},
		"no document": {func(t *testing.T, s *Store, _ *memoryLog) {
			if _, err := s.db.Collection("products_1").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id.String()}}); err != nil {
				t.Fatal(err)
			}
		}, []string{"document"}, nil},
		"head": {func(_ *testing.T, _ *Store, l *memoryLog) {
			p := l.products[id]
			p.Reserved++
			l.products[id] = p
		}, []string{"head"}, []string{"head"}},
		"reservation": {func(_ *testing.T, _ *Store, l *memoryLog) {
			key := eventstore.ReservationKey{ProductID: id, ReservationID: testID(0xcc, 11)}
			r := l.held[key]
			r.Held--
			l.held[key] = r
		}, []string{"reservation"}, []string{"reservation"}},
		"a document of nothing": {func(t *testing.T, s *Store, _ *memoryLog) {
			if _, err := s.db.Collection("products_1").InsertOne(t.Context(), document{ID: testID(0xdd, 1).String(), Status: active}); err != nil {
				t.Fatal(err)
			}
		}, []string{"document"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			l := stocked(t, 3)
			fillBlocks(l, id)
			p := project(t, s, l, &leases{epoch: 1})
			if err := drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
				t.Fatalf("differences before: %+v", found)
			}
			c.harm(t, s, l)
			if found := places(differences(t, s, l, AuditOptions{Heal: true})); !slices.Equal(found, c.where) {
				t.Errorf("found %v, want %v", found, c.where)
			}
			if found := places(differences(t, s, l, AuditOptions{})); !slices.Equal(found, c.remain) {
				t.Errorf("after healing: %v, want %v", found, c.remain)
			}
		})
	}
}

func corruptAll(t *testing.T, s *Store, _ *memoryLog) { corrupt(t, s, testID(0xaa, 1)) }

func places(found []Difference) []string {
	var where []string
	for _, d := range found {
		where = append(where, d.Where)
	}
	slices.Sort(where)
	return slices.Compact(where)
}

// Ensure that a variant whose record the Inventory Service doesn't have is found, and only among those that were initialized.
func TestAuditAsksForInventoryRecords(t *testing.T) {
	s := open(t)
	l := stocked(t, 2)
	l.do(testID(0xaa, 0), time.Second, product.AddVariant{Variant: product.Variant{ID: testID(0xbb, 50), SKU: "new", Name: "N"}})
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	var asked []uuid.UUID
	found := differences(t, s, l, AuditOptions{Absent: func(_ context.Context, ids []uuid.UUID) ([]uuid.UUID, error) {
		asked = append(asked, ids...)
		return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return id != testID(0xbb, 1) }), nil
	}})
	if len(asked) != 2 || slices.Contains(asked, testID(0xbb, 50)) {
		t.Errorf("asked for %v", asked)
	}
	if len(found) != 1 || found[0].Where != "inventory" || found[0].Product != testID(0xaa, 1) {
		t.Errorf("found %+v", found)
	}
}

// Ensure that an audit that a rebuild overtakes fails, instead of reporting what was dropped as missing, or healing what nobody reads.
func TestAnAuditEndsWithItsGeneration(t *testing.T) {
	s, l := open(t), stocked(t, 3)
	if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
		t.Fatal(err)
	}
	g, err := s.generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.products.DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Collection(metaName).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: "current"}}, set(bson.D{{Key: "generation", Value: "2"}})); err != nil {
		t.Fatal(err)
	}
	s.read = time.Now() // it begins with the old one
	result, err := Audit(t.Context(), s, l, l, quiet, AuditOptions{Heal: true}, func(Difference) {})
	if !errors.Is(err, errRenamed) || result.Differences != 0 || result.Healed != 0 {
		t.Errorf("it comes to %+v, error %v", result, err)
	}
}
