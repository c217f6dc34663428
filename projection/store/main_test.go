package store

import (
	"context"
	"testing"

	"github.com/caarlos0/env/v11"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/dev/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// open opens a store on a database of the test's own, with the configuration of the defaults.
func open(t testing.TB) *Store {
	t.Helper()
	url, database := stack.Mongo(t)
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: map[string]string{"MONGODB_URL": url, "MONGODB_DATABASE": database}}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), c)
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

// update changes fields of a document of the collection meta.
func update(t testing.TB, s *Store, id string, fields bson.D) {
	t.Helper()
	if _, err := s.db.Collection(metaName).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, Set(fields)); err != nil {
		t.Fatal(err)
	}
}
