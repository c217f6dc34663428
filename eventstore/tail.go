package eventstore

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

var (
	readTail      = statement("read_tail")
	readInventory = statement("read_inventory_tail")
	readStream    = statement("read_stream")
	readFacts     = statement("read_facts")
	readAt        = statement("read_at")
	readPosition  = statement("read_position")
	readPositions = statement("read_positions")
	readSettled   = statement("read_settled")
)

// Cursor is the last position a reader has seen of a shard.
type Cursor struct {
	Shard int16
	Pos   int64
}

// Tail returns what follows each cursor: shard by shard in the order given, each in the order of
// the log, at most limit records in all. A reader of several shards rotates their order from page
// to page, so that a busy shard doesn't starve the others.
func (s *Store) Tail(ctx context.Context, cursors []Cursor, limit int) ([]Record, error) {
	shards, positions := split(cursors)
	records, err := s.records(ctx, limit, readTail, shards, positions, limit)
	if err != nil {
		return nil, fmt.Errorf("read the tail of the log: %w", err)
	}
	return records, nil
}

// InventoryTail returns what the Inventory Service said after each cursor: of each shard the first
// records, at most limit, in the order of the log.
func (s *Store) InventoryTail(ctx context.Context, cursors []Cursor, limit int) ([]Record, error) {
	shards, positions := split(cursors)
	records, err := s.records(ctx, limit, readInventory, shards, positions, limit)
	if err != nil {
		return nil, fmt.Errorf("read inventory events: %w", err)
	}
	return records, nil
}

// At returns the records at these places, in no particular order; a place that has no record is left out.
func (s *Store) At(ctx context.Context, places []Cursor) ([]Record, error) {
	shards, positions := split(places)
	records, err := s.records(ctx, len(places), readAt, shards, positions)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return records, nil
}

// Stream returns the events of a product after a version, in order, at most limit of them.
func (s *Store) Stream(ctx context.Context, productID uuid.UUID, afterVersion int64, limit int) ([]Record, error) {
	records, err := s.records(ctx, limit, readStream, productID, afterVersion, limit)
	if err != nil {
		return nil, fmt.Errorf("read the stream of product %s: %w", productID, err)
	}
	return records, nil
}

// Facts returns the facts about a product after a position, in order, at most limit of them.
func (s *Store) Facts(ctx context.Context, productID uuid.UUID, after int64, limit int) ([]Record, error) {
	records, err := s.records(ctx, limit, readFacts, productID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the facts about product %s: %w", productID, err)
	}
	return records, nil
}

// ProductRecords returns all of a product's records, events and facts, in the order of the log, as
// of the call: what is written while it reads page by page is left out. It ends at the first error.
func (s *Store) ProductRecords(ctx context.Context, productID uuid.UUID) iter.Seq2[Record, error] {
	const page = 1000
	return func(yield func(Record, error) bool) {
		var last int64
		if err := s.pool.QueryRow(ctx, readPosition, ShardOf(productID)).Scan(&last); err != nil {
			yield(Record{}, fmt.Errorf("read the position of shard %d: %w", ShardOf(productID), err))
			return
		}
		events := pager{last: last, key: func(r Record) int64 { return r.Version }, read: func(after int64) ([]Record, error) {
			return s.Stream(ctx, productID, after, page)
		}}
		facts := pager{last: last, key: func(r Record) int64 { return r.Pos }, read: func(after int64) ([]Record, error) {
			return s.Facts(ctx, productID, after, page)
		}}
		for {
			event, err := events.peek()
			if err != nil {
				yield(Record{}, err)
				return
			}
			fact, err := facts.peek()
			if err != nil {
				yield(Record{}, err)
				return
			}
			next := &events
			switch {
			case event == nil && fact == nil:
				return
			case event == nil || (fact != nil && fact.Pos < event.Pos):
				next = &facts
			}
			if !yield(next.take(), nil) {
				return
			}
		}
	}
}

// pager reads records page by page, by a key that grows with the position, up to the last position.
type pager struct {
	read  func(after int64) ([]Record, error)
	key   func(Record) int64
	last  int64
	after int64
	page  []Record
	ended bool
}

func (p *pager) peek() (*Record, error) {
	if len(p.page) == 0 && !p.ended {
		page, err := p.read(p.after)
		if err != nil {
			return nil, err
		}
		newer := slices.IndexFunc(page, func(r Record) bool { return r.Pos > p.last })
		if p.ended = len(page) == 0 || newer >= 0; newer >= 0 {
			page = page[:newer]
		}
		if p.page = page; len(page) > 0 {
			p.after = p.key(page[len(page)-1])
		}
	}
	if len(p.page) == 0 {
		return nil, nil
	}
	return &p.page[0], nil
}

func (p *pager) take() Record {
	r := p.page[0]
	p.page = p.page[1:]
	return r
}

// Positions returns the last position of each shard; 0 where it is empty.
func (s *Store) Positions(ctx context.Context) ([Shards]int64, error) {
	var positions [Shards]int64
	cursors, err := collect(ctx, s, pgx.RowToStructByPos[Cursor], readPositions)
	if err != nil {
		return positions, fmt.Errorf("read the positions of the log: %w", err)
	}
	for _, c := range cursors {
		positions[c.Shard] = c.Pos
	}
	return positions, nil
}

// Settled returns for each of these shards a time by the database's clock: every row stamped before
// it is committed, and every later one will be stamped no earlier. A shard in which a batch is
// being decided is left out.
func (s *Store) Settled(ctx context.Context, shards []int16) (map[int16]time.Time, error) {
	type row struct {
		Shard int16
		At    time.Time
	}
	rows, err := collect(ctx, s, pgx.RowToStructByPos[row], readSettled, shards)
	if err != nil {
		return nil, fmt.Errorf("read up to when shards are settled: %w", err)
	}
	settled := make(map[int16]time.Time, len(rows))
	for _, r := range rows {
		settled[r.Shard] = r.At
	}
	return settled, nil
}

func split(cursors []Cursor) (shards []int16, positions []int64) {
	for _, c := range cursors {
		shards, positions = append(shards, c.Shard), append(positions, c.Pos)
	}
	return shards, positions
}

// records reads rows of the log.
func (s *Store) records(ctx context.Context, expected int, sql string, args ...any) ([]Record, error) {
	return recordsOf(ctx, s.pool, expected, sql, args...)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func recordsOf(ctx context.Context, q querier, expected int, sql string, args ...any) ([]Record, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return scanRecords(rows, expected)
}

// scanRecords reads and closes rows. Type names are few and repeat, so each is kept once.
func scanRecords(rows pgx.Rows, expected int) ([]Record, error) {
	defer rows.Close()
	records := make([]Record, 0, min(expected, 1024))
	types := map[string]string{}
	for rows.Next() {
		var r Record
		if err := rows.Scan(&r.Shard, &r.Pos, (*[16]byte)(&r.ProductID), &r.Version, &r.Type, (*[16]byte)(&r.CommandID), &r.Data, &r.At); err != nil {
			return nil, err
		}
		if known, ok := types[r.Type]; ok {
			r.Type = known
		} else {
			types[r.Type] = r.Type
		}
		records = append(records, r)
	}
	return records, rows.Err()
}
