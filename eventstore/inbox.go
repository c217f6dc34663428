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
	pruneInbox   = statement("prune_inbox")
	pruneLog     = statement("prune_log")
	readExpiring = statement("read_expiring")
)

// Expiring returns reservations that are past their expiry, the longest first, at most limit. They are nominations: whether one is
// released is decided on the reservation as it then is.
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

// Prune forgets commands older than the retention, and then the facts of these types that are an hour older still, that no cursor
// needs any more and that aren't their shard's last row. Of several cursors of a shard the least counts; of a shard without one
// nothing is forgotten. Both are done in bites of at most limit rows; it returns how many it deleted, so call it until that is 0.
func (s *Store) Prune(ctx context.Context, retention time.Duration, types []string, cursors []Cursor, limit int) (int64, error) {
	inbox, err := s.pool.Exec(ctx, pruneInbox, retention, limit)
	if err != nil {
		return 0, fmt.Errorf("prune the inbox: %w", err)
	}
	if inbox.RowsAffected() == int64(limit) {
		return inbox.RowsAffected(), nil // rows of the log that the inbox points at stay until it is done
	}
	shards, positions := split(cursors)
	rows, err := s.pool.Exec(ctx, pruneLog, retention, types, shards, positions, limit)
	if err != nil {
		return 0, fmt.Errorf("prune the log: %w", err)
	}
	return inbox.RowsAffected() + rows.RowsAffected(), nil
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

// LettersDone returns the offsets of a dead-letter partition that were dealt with, and when. A note that is older than the letter at its
// place is of a topic that was there before.
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
