package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

var (
	doneLetter   = statement("done_letter")
	readLetters  = statement("read_letters")
	readExpiring = statement("read_expiring")
)

// Expiring returns reservations that are past their expiry, the longest first, at most limit. They
// are nominations: whether one is released is decided on the reservation as it then is.
func (s *Store) Expiring(ctx context.Context, limit int) ([]ReservationKey, error) {
	rows, err := s.pool.Query(ctx, readExpiring, limit)
	if err != nil {
		return nil, fmt.Errorf("read expiring reservations: %w", err)
	}
	defer rows.Close()
	var keys []ReservationKey
	for rows.Next() {
		var k ReservationKey
		if err := rows.Scan((*[16]byte)(&k.ProductID), (*[16]byte)(&k.ReservationID)); err != nil {
			return nil, fmt.Errorf("read expiring reservations: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// Head returns the head of a product's stream; its Version is 0 where there is none.
func (s *Store) Head(ctx context.Context, productID uuid.UUID) (Head, error) {
	heads, err := s.Heads(ctx, []uuid.UUID{productID})
	if err != nil || len(heads) == 0 {
		return Head{ProductID: productID}, err
	}
	return heads[0], nil
}

// LetterDone notes that a dead letter was dealt with now.
func (s *Store) LetterDone(ctx context.Context, topic string, partition int32, offset int64) error {
	if _, err := s.pool.Exec(ctx, doneLetter, topic, partition, offset); err != nil {
		return fmt.Errorf("note a dead letter as dealt with: %w", err)
	}
	return nil
}

// LettersDone returns the offsets of a dead-letter partition that were dealt with, and when. A note
// that is older than the letter at its place is of a topic that was there before.
func (s *Store) LettersDone(ctx context.Context, topic string, partition int32) (map[int64]time.Time, error) {
	rows, err := s.pool.Query(ctx, readLetters, topic, partition)
	if err != nil {
		return nil, fmt.Errorf("read which dead letters were dealt with: %w", err)
	}
	done := map[int64]time.Time{}
	var offset int64
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&offset, &at}, func() error { done[offset] = at; return nil }); err != nil {
		return nil, fmt.Errorf("read which dead letters were dealt with: %w", err)
	}
	return done, nil
}
