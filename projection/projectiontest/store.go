package projectiontest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/dev/stack"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Open opens a store on a database of the test's own.
func Open(t testing.TB) *store.Store {
	t.Helper()
	url, database := stack.Mongo(t)
	s, err := store.Open(t.Context(), Configured(t, url, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Configured is the configuration of the defaults.
func Configured(t testing.TB, url, database string) store.Config {
	t.Helper()
	var c store.Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: map[string]string{"MONGODB_URL": url, "MONGODB_DATABASE": database}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// Begin empties the generation, so that one database serves many histories.
func Begin(t rapid.TB, s *store.Store) {
	ctx := context.Background()
	g := s.Collections("1")
	for _, c := range []string{g.Products.Name(), g.Movements.Name(), g.Journal.Name(), g.Days.Name(), g.Months.Name(), "checkpoints", "parked"} {
		if _, err := s.Database().Collection(c).DeleteMany(ctx, bson.D{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CreateGeneration(ctx, "1"); err != nil {
		t.Fatal(err)
	}
}

// Settle marks all that is projected as complete, as the projector does a moment later.
func Settle(t rapid.TB, s *store.Store, l *Log) { SettleIn(t, s, l, "1") }

// SettleIn is Settle in one generation.
func SettleIn(t rapid.TB, s *store.Store, l *Log, generation string) {
	shards, err := s.LoadCheckpoints(context.Background(), generation)
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range shards {
		c.Complete = l.Clock.UnixMicro()
		shards[n] = c
	}
	if err := s.SaveCheckpoints(context.Background(), generation, shards); err != nil {
		t.Fatal(err)
	}
}

// Stored are the documents of a collection that match.
func Stored[D any](t rapid.TB, s *store.Store, collection string, filter bson.D) []D {
	cursor, err := s.Database().Collection(collection).Find(context.Background(), filter)
	if err != nil {
		t.Fatal(err)
	}
	var docs []D
	if err := cursor.All(context.Background(), &docs); err != nil {
		t.Fatal(err)
	}
	return docs
}

// Another is what another process opens.
func Another(t *testing.T, s *store.Store) *store.Store {
	t.Helper()
	other, err := store.Open(t.Context(), s.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	return other
}

// Within waits for a condition.
func Within(t *testing.T, limit time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true within %s", limit)
		}
	}
}

// Expire makes the lock of an interrupted rebuild look old.
func Expire(t *testing.T, s *store.Store) {
	t.Helper()
	if _, err := s.Database().Collection("meta").UpdateOne(t.Context(), store.ByID("building"), store.Set(bson.D{{Key: "until", Value: int64(1)}})); err != nil {
		t.Fatal(err)
	}
}

// Plant puts a document into a collection behind everybody's back.
func Plant(t *testing.T, s *store.Store, collection string, doc any) {
	t.Helper()
	if _, err := s.Database().Collection(collection).InsertOne(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
}

// Corrupt changes a product's documents behind the projector's back.
func Corrupt(t *testing.T, s *store.Store, id uuid.UUID) {
	t.Helper()
	for _, c := range []struct {
		in, id string
		fields bson.D
	}{
		{"products_1", id.String(), bson.D{{Key: "name", Value: "Somebody else"}, {Key: "reserved", Value: 77}}},
		{"movements_1", view.MovementID(id.String(), 1), bson.D{{Key: "rows", Value: []byte("nonsense")}}},
	} {
		result, err := s.Database().Collection(c.in).UpdateOne(t.Context(), store.ByID(c.id), store.Set(c.fields))
		if err != nil || result.MatchedCount != 1 {
			t.Fatal(result, err)
		}
	}
	extra := bson.D{{Key: "_id", Value: view.MovementID(id.String(), 1+100*view.BlockSize)}, {Key: "product", Value: id.String()}}
	if _, err := s.Database().Collection("movements_1").InsertOne(t.Context(), extra); err != nil {
		t.Fatal(err)
	}
	result, err := s.Database().Collection("movements_1").DeleteOne(t.Context(), store.ByID(view.MovementID(id.String(), 1+view.BlockSize)))
	if err != nil || result.DeletedCount != 1 {
		t.Fatal(result, err)
	}
	if _, err := s.Database().Collection("days_1").DeleteMany(t.Context(), bson.D{{Key: "product", Value: id.String()}}); err != nil {
		t.Fatal(err)
	}
}

// Quiet logs nothing.
var Quiet = slog.New(slog.DiscardHandler)

// Poller is a projector.
type Poller interface {
	Poll(ctx context.Context) (rows int, full bool, err error)
}

// Drain projects until nothing is left.
func Drain(ctx context.Context, p Poller) error {
	for {
		rows, _, err := p.Poll(ctx)
		if err != nil || rows == 0 {
			return err
		}
	}
}

// SetMeta changes what is said of the generation that is read.
func SetMeta(t testing.TB, s *store.Store, fields bson.D) {
	t.Helper()
	if _, err := s.Database().Collection("meta").UpdateOne(t.Context(), store.ByID("current"), store.Set(fields)); err != nil {
		t.Fatal(err)
	}
}

// ChangedOver says whether projectors have read all shards of the generation that is named to their
// ends.
func ChangedOver(t *testing.T, s *store.Store) bool {
	m, err := s.LoadMeta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shards, err := s.LoadCheckpoints(t.Context(), m.Generation)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range shards {
		if c.CaughtUp == 0 {
			return false
		}
	}
	return true
}

// ChangeSegment changes fields of a segment of the first generation's journal.
func ChangeSegment(t *testing.T, s *store.Store, id string, fields bson.D) {
	t.Helper()
	if r, err := s.Database().Collection("journal_1").UpdateOne(t.Context(), store.ByID(id), store.Set(fields)); err != nil || r.MatchedCount != 1 {
		t.Fatal(r, err)
	}
}

// RemoveSegment removes a segment of the first generation's journal.
func RemoveSegment(t *testing.T, s *store.Store, id string) {
	t.Helper()
	if r, err := s.Database().Collection("journal_1").DeleteOne(t.Context(), store.ByID(id)); err != nil || r.DeletedCount != 1 {
		t.Fatal(r, err)
	}
}
