package audit

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// journalHarms are ways in which the segments of a journal can be wrong.
var journalHarms = map[string]func(t *testing.T, s *store.Store, of []view.Segment){
	"all is gone": func(t *testing.T, s *store.Store, of []view.Segment) {
		for _, sg := range of {
			projectiontest.RemoveSegment(t, s, sg.ID)
		}
	},
	"one is gone": func(t *testing.T, s *store.Store, of []view.Segment) { projectiontest.RemoveSegment(t, s, of[2].ID) },
	"the last is gone": func(t *testing.T, s *store.Store, of []view.Segment) {
		projectiontest.RemoveSegment(t, s, of[len(of)-1].ID)
	},
	"nonsense": func(t *testing.T, s *store.Store, of []view.Segment) {
		projectiontest.ChangeSegment(t, s, of[1].ID, bson.D{{Key: "rows", Value: []byte("nonsense")}})
	},
	"can't be decoded": func(t *testing.T, s *store.Store, of []view.Segment) {
		projectiontest.ChangeSegment(t, s, of[1].ID, bson.D{{Key: "counts", Value: "many"}, {Key: "last", Value: "late"}})
	},
	"counts": func(t *testing.T, s *store.Store, of []view.Segment) {
		projectiontest.ChangeSegment(t, s, of[3].ID, bson.D{{Key: "counts.ADJUSTED", Value: int64(99)}})
	},
	"of another": func(t *testing.T, s *store.Store, of []view.Segment) {
		projectiontest.ChangeSegment(t, s, of[3].ID, bson.D{{Key: "rows", Value: of[4].Rows}})
	},
	"another amount": func(t *testing.T, s *store.Store, of []view.Segment) {
		rows, err := of[3].Rows.Movements(uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		rows[1].Quantity++
		var again view.Segments
		for i := range rows {
			again.Add(&rows[i])
		}
		projectiontest.ChangeSegment(t, s, of[3].ID, bson.D{{Key: "rows", Value: again[0].Rows}})
	},
	"there twice": func(t *testing.T, s *store.Store, of []view.Segment) {
		rows, err := of[slices.IndexFunc(of, func(s view.Segment) bool { return s.Counts[view.Adjusted] > 2 })].Rows.Movements(uuid.Nil)
		if err != nil {
			t.Fatal(err)
		}
		var again view.Segments
		for i := range rows[2:] {
			again.Add(&rows[2+i])
		}
		if _, err := s.Database().Collection("journal_1").InsertOne(t.Context(), again[0]); err != nil {
			t.Fatal(err)
		}
	},
}

// journalRepairs are who makes them right again.
var journalRepairs = map[string]func(t *testing.T, s *store.Store, l *projectiontest.Log, ids []uuid.UUID){
	"audit": func(t *testing.T, s *store.Store, l *projectiontest.Log, _ []uuid.UUID) {
		for _, o := range []Options{{}, {Heal: true}} {
			if found := differences(t, s, l, o); !slices.Equal(places(found), []string{"journal"}) || len(found) > 2 || found[0].Healed != o.Heal {
				t.Errorf("found %+v", found)
			}
		}
	},
	"rebuild": func(t *testing.T, s *store.Store, l *projectiontest.Log, ids []uuid.UUID) {
		shard := l.Of(ids[0])[0].Shard
		for _, o := range []projection.RebuildOptions{{Shard: &shard}, {Product: ids[len(ids)-1]}} {
			if err := projection.Rebuild(t.Context(), s, l, projectiontest.Quiet, o, nil); err != nil {
				t.Fatal(err)
			}
		}
	},
}

// Ensure that whatever is wrong with the journal is found and repaired, by an audit and by a rebuild
// in place, and that the projector goes on behind it with what it knew.
func TestJournalIsRepaired(t *testing.T) {
	for name, harm := range journalHarms {
		for way, repair := range journalRepairs {
			t.Run(name+", "+way, func(t *testing.T) {
				s := projectiontest.Open(t)
				l, ids := projectiontest.Journaled()
				p := project(t, s, l, &projectiontest.Leases{Epoch: 1})
				if err := projectiontest.Drain(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				if found := differences(t, s, l, Options{}); len(found) > 0 {
					t.Fatalf("differences before: %+v", found)
				}
				harm(t, s, projectiontest.Stored[view.Segment](t, s, "journal_1", bson.D{}))
				repair(t, s, l, ids)
				projectiontest.Compare(t, s, l)
				projectiontest.Bustle(l, ids, 20)
				if err := projectiontest.Drain(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				projectiontest.Compare(t, s, l)
				if found := differences(t, s, l, Options{}); len(found) > 0 {
					t.Errorf("differences after: %+v", found)
				}
			})
		}
	}
}
