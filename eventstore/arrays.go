package eventstore

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// uuids is a uuid[] parameter. The driver would take a []uuid.UUID as well, but through text and back: 40 allocations an element.
type uuids []uuid.UUID

// Dimensions, Index and IndexType implement pgtype.ArrayGetter.
func (a uuids) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a)), LowerBound: 1}}
}

func (a uuids) Index(i int) any { return (*element)(&a[i]) }

func (a uuids) IndexType() any { return (*element)(nil) }

type element uuid.UUID

// UUIDValue implements pgtype.UUIDValuer.
func (e *element) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: *e, Valid: e != nil}, nil
}
