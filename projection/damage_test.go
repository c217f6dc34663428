package projection

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/read"
	"product-service/projection/store"
)

// Ensure that a row that can't be read is in no document when it is met in a product that is being
// folded anew.
func TestDamagedProductWithPoison(t *testing.T) {
	s := projectiontest.Open(t)
	l := projectiontest.Stocked(t, 2)
	bad := projectiontest.ID(0xaa, 0)
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Database().Collection("products_1").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: bad.String()}}, store.Set(bson.D{{Key: "version", Value: int64(3)}})); err != nil {
		t.Fatal(err)
	}
	row := l.Do(bad, time.Second, product.AdjustStock{Delta: 5, Reason: "delivery"})[0]
	kept := &l.Shards[row.Shard][row.Pos-1]
	right := kept.Data
	kept.Data = []byte(`{"delta":"five"}`)
	for range 3 {
		l.Do(bad, time.Second, product.AdjustStock{Delta: 1, Reason: "later"})
	}
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 2})); err != nil {
		t.Fatal(err)
	}
	if got, _, err := read.NewReader(s, nil).Product(t.Context(), bad); err != nil || got.Version != row.Version-1 {
		t.Errorf("the parked product is %+v, %v", got, err)
	}
	kept.Data = right
	if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 3})); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}
