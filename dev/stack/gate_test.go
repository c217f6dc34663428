package stack

import (
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Ensure that of updates that match the same document at the same time, guarded by what it held,
// one applies.
func TestGuardedUpdatesApplyOnce(t *testing.T) {
	url, database := Mongo(t)
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(t.Context()) }()
	counters := client.Database(database).Collection("counters")
	if _, err := counters.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "c"}, {Key: "n", Value: 0}}); err != nil {
		t.Fatal(err)
	}
	var applied atomic.Int64
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for n := range 40 {
				guard := bson.D{{Key: "_id", Value: "c"}, {Key: "n", Value: n}}
				result, err := counters.UpdateOne(t.Context(), guard, bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: n + 1}}}})
				if err != nil {
					t.Error(err)
					return
				}
				applied.Add(result.MatchedCount)
			}
		})
	}
	writers.Wait()
	var counter struct{ N int64 }
	if err := counters.FindOne(t.Context(), bson.D{{Key: "_id", Value: "c"}}).Decode(&counter); err != nil {
		t.Fatal(err)
	}
	if counter.N == 0 || applied.Load() != counter.N {
		t.Errorf("%d updates applied, and the counter is at %d", applied.Load(), counter.N)
	}
}
