package projectiontest

import (
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// JoinBlocks makes of the documents of generation 1 what they were up to shape 6: a block holds
// sixteen versions, and what fills none is in the tail.
func JoinBlocks(t *testing.T, s *store.Store) {
	t.Helper()
	g := s.Collections("1")
	byProduct := map[string][]view.Block{}
	for _, b := range Stored[view.Block](t, s, g.Movements.Name(), bson.D{}) {
		if !strings.Contains(b.ID, "/") { // a cancelled reservation's block stays as it is
			byProduct[b.Product] = append(byProduct[b.Product], b)
		}
	}
	for id, blocks := range byProduct {
		slices.SortFunc(blocks, func(a, b view.Block) int { return strings.Compare(a.ID, b.ID) })
		for ; len(blocks) >= 2; blocks = blocks[2:] {
			put(t, s, g.Movements.Name(), blocks[0].ID, joined(blocks[0], blocks[1]))
			remove(t, s, g.Movements.Name(), blocks[1].ID)
		}
		for _, half := range blocks {
			d := Stored[view.Document](t, s, g.Products.Name(), store.ByID(id))[0]
			d.Tail = slices.Concat(half.Rows, d.Tail)
			put(t, s, g.Products.Name(), id, &d)
			remove(t, s, g.Movements.Name(), half.ID)
		}
	}
}

func joined(first, second view.Block) view.Block {
	first.Rows, first.Reservations = slices.Concat(first.Rows, second.Rows), slices.Concat(first.Reservations, second.Reservations)
	for kind, n := range second.Counts {
		first.Counts[kind] += n
	}
	if second.Rare != "" {
		first.Rare = first.ID
	}
	return first
}

func put(t *testing.T, s *store.Store, collection, id string, document any) {
	t.Helper()
	result, err := s.Database().Collection(collection).ReplaceOne(t.Context(), store.ByID(id), document)
	if err != nil || result.MatchedCount != 1 {
		t.Fatal(result, err)
	}
}

func remove(t *testing.T, s *store.Store, collection, id string) {
	t.Helper()
	result, err := s.Database().Collection(collection).DeleteOne(t.Context(), store.ByID(id))
	if err != nil || result.DeletedCount != 1 {
		t.Fatal(result, err)
	}
}
