package read

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// Reservation is a hold on units of a product, and what became of it.
type Reservation struct {
	ProductID uuid.UUID
	ID        uuid.UUID
	SagaID    string
	Quantity  int64 // as requested; 0 where it was cancelled before that
	Held      int64 // what is left of it
	State     product.ReservationState
	ExpiresAt time.Time // zero: never
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Reservation returns a reservation, open or ended. It is folded from its movements, of which there
// are few.
func (r *Reader) Reservation(ctx context.Context, productID, reservationID uuid.UUID) (found Reservation, ok bool, err error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	rows, err := r.rowsNaming(ctx, productID, reservationID)
	if err != nil {
		return Reservation{}, false, err
	}
	rows = slices.DeleteFunc(rows, func(m view.Movement) bool { return m.Reservation != reservationID })
	slices.SortFunc(rows, func(a, b view.Movement) int { return int(a.Pos - b.Pos) })
	rows = slices.Compact(rows) // the tail may have become a block between the two reads
	found = Reservation{ProductID: productID, ID: reservationID}
	for i := range rows {
		found.fold(&rows[i])
	}
	return found, len(rows) > 0, nil
}

// rowsNaming reads the movements of a product that may name a reservation. A server without indexes
// reads all of the product's for it: those who ask at the same time share that.
func (r *Reader) rowsNaming(ctx context.Context, productID, reservationID uuid.UUID) ([]view.Movement, error) {
	read := func(ctx context.Context) ([]view.Movement, error) {
		ctx, cancel := r.bounded(ctx)
		defer cancel()
		return r.readRows(ctx, productID, reservationID)
	}
	if r.store.Server.Indexes {
		return read(ctx)
	}
	shared, err := r.histories.Do(ctx, productID.String(), read)
	return slices.Clone(shared), err
}

func (r *Reader) readRows(ctx context.Context, productID, reservationID uuid.UUID) ([]view.Movement, error) {
	g, err := r.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	d, _, err := r.document(ctx, g, productID, withTail) // before the blocks: what isn't in its tail any more is in one
	if err != nil {
		return nil, err
	}
	rows, err := d.Tail.Movements(productID)
	if err != nil {
		return nil, err
	}
	c, err := g.Movements.Find(ctx, r.blocksWith(g, productID, reservationID), r.many(ctx).SetProjection(bson.D{{Key: "rows", Value: 1}}))
	if err != nil {
		return nil, fmt.Errorf("read reservation %s of product %s: %w", reservationID, productID, err)
	}
	var blocks []view.Block
	if err := c.All(ctx, &blocks); err != nil {
		return nil, fmt.Errorf("read reservation %s of product %s: %w", reservationID, productID, err)
	}
	for _, b := range blocks {
		more, err := b.Rows.Movements(productID)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// blocksWith is the condition for the blocks that may name a reservation. Those of another shape
// may name it in another way: there it is every block of the product, whose ids begin with the
// product's.
func (r *Reader) blocksWith(g store.Generation, product, reservation uuid.UUID) bson.D {
	id := product.String()
	of := bson.E{Key: "product", Value: id}
	switch {
	case !r.store.Server.Indexes:
		return bson.D{of}
	case g.Schema != view.Schema:
		return bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: id}, {Key: "$lt", Value: id + "0"}}}, of}
	default:
		return bson.D{{Key: "reservations", Value: view.Shortened(reservation)}, of}
	}
}

func (r *Reservation) fold(m *view.Movement) {
	at := view.TimeOf(m.At)
	if r.CreatedAt.IsZero() {
		r.CreatedAt = at
	}
	r.UpdatedAt, r.Held, r.SagaID = at, m.Held, m.Saga
	switch m.Type {
	case view.Reserved, view.Renewed:
		r.State, r.Quantity, r.ExpiresAt = product.StateActive, m.Quantity, time.Time{}
		if m.ExpiresAt != 0 {
			r.ExpiresAt = view.TimeOf(m.ExpiresAt)
		}
	case view.Released, view.Expired:
		if m.Held > 0 {
			break
		}
		r.State = product.StateReleased
		if m.Type == view.Expired {
			r.State = product.StateExpired
		}
	case view.Cancelled:
		r.State = product.StateCancelled
	}
}
