package projection

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
)

// journaled is a log of three products, two of them of one shard, that fills some segments, and the projector that has projected it.
func journaled(t *testing.T, s *Store) (l *memoryLog, ids []uuid.UUID, p *Projector) {
	t.Helper()
	l, ids = newMemoryLog(), sameShard(3)
	for _, id := range ids {
		l.do(id, time.Second, product.Create{Name: "P", InitialStock: 100, LowStockThreshold: 5})
	}
	bustle(l, ids, 60)
	p = project(t, s, l, &leases{epoch: 1})
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return l, ids, p
}

// bustle moves the stock of products in turn, every 20 ms.
func bustle(l *memoryLog, ids []uuid.UUID, moves int) {
	for i := range moves {
		l.do(ids[i%len(ids)], 20*time.Millisecond, product.AdjustStock{Delta: 1, Reason: "counted"})
	}
}

// Ensure that whatever is wrong with the journal is found and mended, by an audit and by a rebuild in place, and that the projector goes on
// behind it with what it knew.
func TestJournalIsMended(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, s *Store, of []segment){
		"all is gone": func(t *testing.T, s *Store, of []segment) {
			for _, sg := range of {
				remove(t, s, sg.ID)
			}
		},
		"one is gone":      func(t *testing.T, s *Store, of []segment) { remove(t, s, of[2].ID) },
		"the last is gone": func(t *testing.T, s *Store, of []segment) { remove(t, s, of[len(of)-1].ID) },
		"nonsense": func(t *testing.T, s *Store, of []segment) {
			change(t, s, of[1].ID, bson.D{{Key: "rows", Value: []byte("nonsense")}})
		},
		"can't be decoded": func(t *testing.T, s *Store, of []segment) {
			change(t, s, of[1].ID, bson.D{{Key: "counts", Value: "many"}, {Key: "last", Value: "late"}})
		},
		"counts": func(t *testing.T, s *Store, of []segment) {
			change(t, s, of[3].ID, bson.D{{Key: "counts.ADJUSTED", Value: int64(99)}})
		},
		"of another": func(t *testing.T, s *Store, of []segment) {
			change(t, s, of[3].ID, bson.D{{Key: "rows", Value: of[4].Rows}})
		},
		"another amount": func(t *testing.T, s *Store, of []segment) {
			rows, err := unpackSegment(of[3].Rows)
			if err != nil {
				t.Fatal(err)
			}
			rows[1].Quantity++
			var again segments
			for i := range rows {
				again.add(&rows[i])
			}
			change(t, s, of[3].ID, bson.D{{Key: "rows", Value: again[0].Rows}})
		},
		"there twice": func(t *testing.T, s *Store, of []segment) {
			rows, err := unpackSegment(of[slices.IndexFunc(of, func(s segment) bool { return s.Counts[Adjusted] > 2 })].Rows)
			if err != nil {
				t.Fatal(err)
			}
			var again segments
			for i := range rows[2:] {
				again.add(&rows[2+i])
			}
			if _, err := s.db.Collection("journal_1").InsertOne(t.Context(), again[0]); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for way, mend := range map[string]func(t *testing.T, s *Store, l *memoryLog, ids []uuid.UUID){
			"audit": func(t *testing.T, s *Store, l *memoryLog, _ []uuid.UUID) {
				for _, o := range []AuditOptions{{}, {Heal: true}} {
					if found := differences(t, s, l, o); !slices.Equal(places(found), []string{"journal"}) || len(found) > 2 || found[0].Healed != o.Heal {
						t.Errorf("found %+v", found)
					}
				}
			},
			"rebuild": func(t *testing.T, s *Store, l *memoryLog, ids []uuid.UUID) {
				shard := l.of(ids[0])[0].Shard
				for _, o := range []RebuildOptions{{Shard: &shard}, {Product: ids[len(ids)-1]}} {
					if err := Rebuild(t.Context(), s, l, quiet, o, nil); err != nil {
						t.Fatal(err)
					}
				}
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				s := open(t)
				l, ids, p := journaled(t, s)
				if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
					t.Fatalf("differences before: %+v", found)
				}
				harm(t, s, stored[segment](t, s, "journal_1", bson.D{}))
				mend(t, s, l, ids)
				compare(t, s, l)
				bustle(l, ids, 20)
				if err := drain(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				compare(t, s, l)
				if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
					t.Errorf("differences after: %+v", found)
				}
			})
		}
	}
}

func remove(t *testing.T, s *Store, id string) {
	t.Helper()
	if r, err := s.db.Collection("journal_1").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id}}); err != nil || r.DeletedCount != 1 {
		t.Fatal(r, err)
	}
}

func change(t *testing.T, s *Store, id string, fields bson.D) {
	t.Helper()
	if r, err := s.db.Collection("journal_1").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, set(fields)); err != nil || r.MatchedCount != 1 {
		t.Fatal(r, err)
	}
}

// Ensure that mending leaves what a projector has written beyond its checkpoint: another goes on behind that.
func TestMendingEndsAtTheCheckpoint(t *testing.T) {
	for name, gap := range map[string]time.Duration{"a segment over the checkpoint": time.Millisecond, "a segment behind it": time.Second} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			l, ids, _ := journaled(t, s)
			a, b := twins(t, s, l)
			l.do(ids[0], time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})
			short, err := l.Tail(t.Context(), a.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			l.do(ids[1], gap, product.AdjustStock{Delta: 1, Reason: "counted"})
			long, err := l.Tail(t.Context(), b.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.apply(t.Context(), long); err != nil {
				t.Fatal(err)
			}
			if err := a.apply(t.Context(), short); err != nil {
				t.Fatal(err)
			}
			if err := a.checkpoint(t.Context(), a.progress(&reading{cursors: a.cursors(), records: short, limit: 100})); err != nil {
				t.Fatal(err)
			}
			if found := differences(t, s, l, AuditOptions{}); len(found) > 0 {
				t.Fatalf("differences before: %+v", found)
			}
			all := stored[segment](t, s, "journal_1", bson.D{})
			change(t, s, all[len(all)-2].ID, bson.D{{Key: "counts.ADJUSTED", Value: int64(99)}})
			change(t, s, segmentID(short[0].Shard, short[0].Pos), bson.D{{Key: "order", Value: "late"}})
			if found := places(differences(t, s, l, AuditOptions{Heal: true})); !slices.Equal(found, []string{"journal"}) {
				t.Errorf("found %v", found)
			}
			if err := drain(t.Context(), project(t, s, l, &leases{epoch: 1})); err != nil {
				t.Fatal(err)
			}
			compare(t, s, l)
		})
	}
}

// Ensure that the journal has every movement of a product that was parked, also of the rows that were passed over in a page whose checkpoint was
// never written, whoever folds the product anew.
func TestParkedProductMissesNothingInTheJournal(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, s *Store, l *memoryLog, bad uuid.UUID){
		"the next projector": func(*testing.T, *Store, *memoryLog, uuid.UUID) {},
		"a rebuild": func(t *testing.T, s *Store, l *memoryLog, bad uuid.UUID) {
			if err := Rebuild(t.Context(), s, l, quiet, RebuildOptions{Product: bad}, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			l, ids, p := journaled(t, s)
			bad := ids[0]
			row := l.do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "counted"})[0]
			kept := &l.shards[row.Shard][row.Pos-1]
			right := kept.Data
			kept.Data = []byte(`{"delta":"five"}`)
			bustle(l, ids, 10)
			if err := drain(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			bustle(l, ids, 10)
			rows, err := l.Tail(t.Context(), p.live.cursors(), 100)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.live.apply(t.Context(), rows); err != nil { // and then it is gone
				t.Fatal(err)
			}
			kept.Data = right
			next(t, s, l, bad)
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
