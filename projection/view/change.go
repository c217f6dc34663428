package view

import "github.com/google/uuid"

// Change says that the document of a product was written: it is at a position of its shard, or further.
type Change struct {
	ProductID uuid.UUID
	Pos       int64 // 0: it was written anew
	Version   int64 // of the product at that position; 0 where it isn't known
}
