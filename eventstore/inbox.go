package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

var (
	pruneInbox   = statement("prune_inbox")
	pruneLog     = statement("prune_log")
	readExpiring = statement("read_expiring")
)

// Known says whether a command was decided: whether it stands in the inbox.
func (s *Store) Known(ctx context.Context, commandID uuid.UUID) (bool, error) {
	var known bool
	if err := s.pool.QueryRow(ctx, "select exists ("+loadInbox+")", []uuid.UUID{commandID}).Scan(&known); err != nil {
		return false, fmt.Errorf("look for command %s in the inbox: %w", commandID, err)
	}
	return known, nil
}

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

// Prune forgets commands older than the retention, and then the facts of these types as old that no cursor needs any more and that
// aren't their shard's last row; both in bites of at most limit rows. It returns how many rows it deleted.
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
