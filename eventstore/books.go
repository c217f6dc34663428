package eventstore

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// What an audit reads of what is kept beside the log.
var (
	readReservations = statement("read_reservations")
	readKept         = statement("read_kept")
	readUnlogged     = statement("read_unlogged")
)

// Heads returns those of the products' heads that there are.
func (s *Store) Heads(ctx context.Context, productIDs []uuid.UUID) ([]Head, error) {
	heads, err := collect(ctx, s, scanHead, loadHeads, uuids(productIDs))
	if err != nil {
		return nil, fmt.Errorf("read heads: %w", err)
	}
	return heads, nil
}

func scanHead(row pgx.CollectableRow) (Head, error) {
	var h Head
	err := row.Scan((*[16]byte)(&h.ProductID), &h.Version, &h.Status, &h.StockTotal, &h.Reserved, &h.LowStockThreshold, &h.Variants)
	return h, err
}

// Reservations returns the reservations of a product with ids after one, in the order of their ids,
// at most limit.
func (s *Store) Reservations(ctx context.Context, productID, after uuid.UUID, limit int) ([]Reservation, error) {
	reservations, err := collect(ctx, s, scanReservation, readReservations, productID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the reservations of product %s: %w", productID, err)
	}
	return reservations, nil
}

func scanReservation(row pgx.CollectableRow) (Reservation, error) {
	var r Reservation
	var expires pgtype.Timestamptz
	err := row.Scan((*[16]byte)(&r.ProductID), (*[16]byte)(&r.ReservationID), &r.SagaID, &r.Quantity, &r.Held, &r.State, &expires)
	r.ExpiresAt = expires.Time
	return r, err
}

// WithState returns the products after one that have a head or reservations, in the order of their
// ids, at most limit.
func (s *Store) WithState(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	ids, err := collect(ctx, s, scanID, readKept, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read which products there are: %w", err)
	}
	return ids, nil
}

// NotInLog returns those of the products that the log has nothing of, neither events nor facts.
func (s *Store) NotInLog(ctx context.Context, productIDs []uuid.UUID) ([]uuid.UUID, error) {
	ids, err := collect(ctx, s, scanID, readUnlogged, uuids(productIDs))
	if err != nil {
		return nil, fmt.Errorf("read which products the log has: %w", err)
	}
	return ids, nil
}

func scanID(row pgx.CollectableRow) (id uuid.UUID, err error) {
	err = row.Scan((*[16]byte)(&id))
	return id, err
}
