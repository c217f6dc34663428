package eventstore

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// uuids is a uuid[] parameter. The driver would take a []uuid.UUID as well, but through text and
// back: 40 allocations an element.
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

// sized is the first parameter of a statement whose parameters are large: it reserves memory for
// all of them. The driver would begin with 256 bytes and grow to a megabyte by quarters, which
// copies it five times.
type sized struct {
	value any
	bytes int // about what all parameters take, encoded
}

// roomy encodes a sized parameter.
type roomy struct{ next pgtype.EncodePlan }

func wrapSized(value any) (plan pgtype.WrappedEncodePlanNextSetter, next any, ok bool) {
	s, ok := value.(sized)
	return &roomy{}, s.value, ok
}

// SetNext implements pgtype.WrappedEncodePlanNextSetter.
func (p *roomy) SetNext(next pgtype.EncodePlan) { p.next = next }

// Encode implements pgtype.EncodePlan.
func (p *roomy) Encode(value any, buf []byte) ([]byte, error) {
	s, ok := value.(sized)
	if !ok {
		return nil, fmt.Errorf("a %T is not sized", value)
	}
	return p.next.Encode(s.value, slices.Grow(buf, s.bytes))
}
