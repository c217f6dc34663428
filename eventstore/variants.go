package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// RecordState says how far the making of a variant's inventory record is.
type RecordState string

// A record is pending until it is created; it is stopped where it was given up until an operator
// replays it.
const (
	RecordPending RecordState = "PENDING"
	RecordStopped RecordState = "STOPPED"
	RecordCreated RecordState = "CREATED"
)

// Variant is a variant's id and SKU, taken for ever across products, and its place in the queue of
// inventory records to make.
type Variant struct {
	VariantID         uuid.UUID
	ProductID         uuid.UUID
	SKU               string
	SKUKey            string // the same for SKUs that look the same; only written
	InitialQuantity   int64
	LowStockThreshold int64
	Unconfirmed       bool   // under the rollback policy: discarded if its record isn't made in time
	CorrelationID     string // of the request that added it
	Traceparent       string // of the same; empty where it had none
	Record            RecordState
	Attempts          int32
	CreatedAt         time.Time
}

func scanVariant(row pgx.CollectableRow) (Variant, error) {
	var v Variant
	err := row.Scan((*[16]byte)(&v.VariantID), (*[16]byte)(&v.ProductID), &v.SKU, &v.InitialQuantity, &v.LowStockThreshold, &v.Unconfirmed, &v.CorrelationID, &v.Traceparent, &v.Record, &v.Attempts, &v.CreatedAt)
	return v, err
}

var (
	readDueVariants      = statement("read_due_variants")
	postponeVariant      = statement("postpone_variant")
	giveBackVariant      = statement("give_back_variant")
	countPendingVariants = statement("count_pending_variants")
	restartVariants      = statement("restart_variants")
	readUnconfirmed      = statement("read_unconfirmed")
	readProductVariants  = statement("read_product_variants")
)

// DueVariants returns variants whose inventory record is to be made now, in no particular order:
// the longest due, at most limit. It postpones each by the lease: another instance, or this one
// after a crash, gets them again after it.
func (s *Store) DueVariants(ctx context.Context, limit int, lease time.Duration) ([]Variant, error) {
	variants, err := collect(ctx, s, scanVariant, readDueVariants, limit, lease)
	if err != nil {
		return nil, fmt.Errorf("read the variants that need an inventory record: %w", err)
	}
	return variants, nil
}

// PostponeVariant notes a failed attempt; the next is due after the delay, or, with stop, when an
// operator restarts it.
func (s *Store) PostponeVariant(ctx context.Context, id uuid.UUID, delay time.Duration, stop bool, why string) error {
	if _, err := s.pool.Exec(ctx, postponeVariant, id, delay, stop, why); err != nil {
		return fmt.Errorf("postpone the inventory record of variant %s: %w", id, err)
	}
	return nil
}

// GiveBackVariant ends the lease of one that wasn't attempted: it is due at once.
func (s *Store) GiveBackVariant(ctx context.Context, id uuid.UUID) error {
	if _, err := s.pool.Exec(ctx, giveBackVariant, id); err != nil {
		return fmt.Errorf("give back the inventory record of variant %s: %w", id, err)
	}
	return nil
}

// Backlog is the queue of inventory records to make.
type Backlog struct {
	Pending int64
	Stopped int64
	Oldest  time.Time // when the pending one that waits longest was added; zero where none is
	Next    time.Time // when the next is due; zero where none is
}

// VariantBacklog returns how long the queue of inventory records is.
func (s *Store) VariantBacklog(ctx context.Context) (Backlog, error) {
	var b Backlog
	var oldest, next pgtype.Timestamptz
	if err := s.pool.QueryRow(ctx, countPendingVariants).Scan(&b.Pending, &b.Stopped, &oldest, &next); err != nil {
		return b, fmt.Errorf("count the variants that need an inventory record: %w", err)
	}
	b.Oldest, b.Next = oldest.Time, next.Time
	return b, nil
}

// RestartVariants makes every stopped variant due again and returns how many there were.
func (s *Store) RestartVariants(ctx context.Context) (int64, error) {
	tag, err := s.pool.Exec(ctx, restartVariants)
	if err != nil {
		return 0, fmt.Errorf("restart stopped inventory records: %w", err)
	}
	return tag.RowsAffected(), nil
}

// Unconfirmed returns variants that are unconfirmed for longer than the age, at most limit.
func (s *Store) Unconfirmed(ctx context.Context, age time.Duration, limit int) ([]Variant, error) {
	variants, err := collect(ctx, s, scanVariant, readUnconfirmed, age, limit)
	if err != nil {
		return nil, fmt.Errorf("read unconfirmed variants: %w", err)
	}
	return variants, nil
}

// ProductVariants returns the variants of a product.
func (s *Store) ProductVariants(ctx context.Context, productID uuid.UUID) ([]Variant, error) {
	variants, err := collect(ctx, s, scanVariant, readProductVariants, productID)
	if err != nil {
		return nil, fmt.Errorf("read the variants of product %s: %w", productID, err)
	}
	return variants, nil
}

// VariantsByID returns those of the variants that there are.
func (s *Store) VariantsByID(ctx context.Context, ids []uuid.UUID) ([]Variant, error) {
	variants, err := collect(ctx, s, scanVariant, loadVariants, uuids(ids), []string{}, []string{})
	if err != nil {
		return nil, fmt.Errorf("read variants: %w", err)
	}
	return variants, nil
}
