package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

var (
	lockPruning   = statement("lock_pruning")
	pruneInbox    = statement("prune_inbox")
	readPrunable  = statement("read_prunable")
	readCondensed = statement("read_condensed")
	condenseLog   = statement("condense_log")
	deleteLog     = statement("delete_log")
)

// Condensing says what of forgotten facts is kept: of those of a product within an hour (UTC) one
// fact, in the place of the last of them. So who reads the log from its beginning comes to the same
// sums as who read each.
type Condensing struct {
	From string // the type of the facts
	To   string // the type of what they become; it is condensed with later ones of its hour

	// Sum returns the data of the one fact that some of both types become; nil: there is nothing to keep.
	Sum func(facts []Record) (data []byte, err error)
}

// Prune forgets commands older than the retention, and then the facts of these types that are an
// hour older still, that no cursor needs any more and that aren't their shard's last row. Of
// several cursors of a shard the least counts; of a shard without one nothing is forgotten. Both
// are done in bites of at most limit rows. It returns how many it deleted or condensed, so call it
// until that is 0. Where another instance is pruning it does nothing.
func (s *Store) Prune(ctx context.Context, retention time.Duration, types []string, cursors []Cursor, limit int, condensing Condensing) (int64, error) {
	inbox, err := s.pool.Exec(ctx, pruneInbox, retention, limit)
	if err != nil {
		return 0, fmt.Errorf("prune the inbox: %w", err)
	}
	if inbox.RowsAffected() == int64(limit) {
		return inbox.RowsAffected(), nil // rows of the log that the inbox points at stay until it is done
	}
	pruned := inbox.RowsAffected()
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var alone bool
		if err := tx.QueryRow(ctx, lockPruning).Scan(&alone); err != nil || !alone {
			return err
		}
		shards, positions := split(cursors)
		old, err := recordsOf(ctx, tx, limit, readPrunable, retention, types, shards, positions, limit)
		if err != nil {
			return err
		}
		pruned += int64(len(old))
		kept, err := condense(ctx, tx, old, condensing)
		if err != nil {
			return err
		}
		var doomed []Cursor
		for _, r := range append(old, kept.earlier...) {
			if place := (Cursor{r.Shard, r.Pos}); !kept.places[place] {
				doomed = append(doomed, place)
			}
		}
		shards, positions = split(doomed)
		_, err = tx.Exec(ctx, deleteLog, shards, positions)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune the log: %w", err)
	}
	return pruned, nil
}

// condensed is what became of facts: the places that are kept, and what earlier facts had become before.
type condensed struct {
	places  map[Cursor]bool
	earlier []Record
}

// condense writes what is kept of old facts over the last of each product and hour.
func condense(ctx context.Context, tx pgx.Tx, old []Record, c Condensing) (condensed, error) {
	type hour struct {
		productID uuid.UUID
		start     time.Time
	}
	done := condensed{places: map[Cursor]bool{}}
	hours := map[hour][]Record{}
	of := func(r Record) hour { return hour{r.ProductID, r.At.UTC().Truncate(time.Hour)} }
	for _, r := range old {
		if r.Type == c.From {
			hours[of(r)] = append(hours[of(r)], r)
		}
	}
	if len(hours) == 0 {
		return done, nil
	}
	var shards []int16
	var products uuids
	var starts []time.Time
	for h, facts := range hours {
		shards, products, starts = append(shards, facts[0].Shard), append(products, h.productID), append(starts, h.start)
	}
	var err error
	if done.earlier, err = recordsOf(ctx, tx, len(hours), readCondensed, c.To, shards, products, starts); err != nil {
		return done, err
	}
	for _, r := range done.earlier {
		hours[of(r)] = append(hours[of(r)], r)
	}
	var places []Cursor
	var texts []string
	for _, facts := range hours {
		data, err := c.Sum(facts)
		if err != nil {
			return done, err
		}
		if data == nil {
			continue
		}
		last := Cursor{facts[0].Shard, facts[0].Pos}
		for _, r := range facts {
			last.Pos = max(last.Pos, r.Pos)
		}
		done.places[last] = true
		places, texts = append(places, last), append(texts, string(data))
	}
	keptShards, positions := split(places)
	_, err = tx.Exec(ctx, condenseLog, c.To, keptShards, positions, texts)
	return done, err
}
