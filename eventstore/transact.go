package eventstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Keys names what a batch of commands needs to be decided. Products decides which shards are locked.
type Keys struct {
	Commands     []uuid.UUID
	Products     []uuid.UUID
	Reservations []ReservationKey
	Variants     []uuid.UUID
	SKUs         []string // as they are written
	SKUKeys      []string // as they look
	Places       []Cursor // where rows of an earlier attempt stand, if it was committed
}

// Snapshot is what the keys named, as it stands and will stand until the transaction ends: its
// shards are locked.
type Snapshot struct {
	Now          time.Time // the database's clock, no earlier than any row of the locked shards; zero where no product was named
	Inbox        map[uuid.UUID]InboxEntry
	Heads        map[uuid.UUID]Head
	Reservations map[ReservationKey]Reservation
	Variants     map[uuid.UUID]Variant // by id, and those that have one of the SKUs, or one that looks the same
	Records      map[Cursor]Record     // at the places named

	tails [Shards]tail
}

type tail struct {
	pos int64
	at  time.Time
}

// Changes is what a batch came to. Its rows get positions as they are added.
type Changes struct {
	snapshot     *Snapshot
	rows         []Record
	inbox        []InboxEntry
	longer       map[uuid.UUID]time.Time
	heads        map[uuid.UUID]Head
	reservations map[ReservationKey]Reservation
	newVariants  []Variant
	confirmed    []uuid.UUID
	discarded    []uuid.UUID
	withdrawn    []uuid.UUID
	fault        error // a mistake of who decides
}

// Rows returns what was appended so far.
func (c *Changes) Rows() []Record { return c.rows }

// Append adds a row to the log and returns it with its place. Its product must be one that [Keys]
// named: the shards of others aren't locked, and [Store.Transact] refuses to write the batch.
func (c *Changes) Append(row Row) Record {
	shard := ShardOf(row.ProductID)
	last := &c.snapshot.tails[shard]
	if last.at.IsZero() && c.fault == nil {
		c.fault = fmt.Errorf("append to shard %d, which is not locked: no key names product %s", shard, row.ProductID)
	}
	last.pos++
	r := Record{Shard: shard, Pos: last.pos, Row: row, At: last.at}
	c.rows = append(c.rows, r)
	return r
}

// SetHead makes this the head of its stream.
func (c *Changes) SetHead(h Head) { c.heads[h.ProductID] = h }

// SetReservation makes this the state of the reservation.
func (c *Changes) SetReservation(r Reservation) { c.reservations[r.ReservationKey] = r }

// Remember puts a command and the place of its outcome into the inbox.
func (c *Changes) Remember(e InboxEntry) { c.inbox = append(c.inbox, e) }

// RememberLonger makes the age of a known command, or of one that this batch remembers, count from
// this time if that is later.
func (c *Changes) RememberLonger(id uuid.UUID, ageFrom time.Time) {
	if c.longer == nil {
		c.longer = map[uuid.UUID]time.Time{}
	}
	if ageFrom.After(c.longer[id]) {
		c.longer[id] = ageFrom
	}
}

// AddVariant queues the making of a new variant's inventory record, and takes its id and SKU.
func (c *Changes) AddVariant(v Variant) { c.newVariants = append(c.newVariants, v) }

// ConfirmVariant notes that the variant's inventory record exists.
func (c *Changes) ConfirmVariant(id uuid.UUID) { c.confirmed = append(c.confirmed, id) }

// DiscardVariant gives the variant's id and SKU back.
func (c *Changes) DiscardVariant(id uuid.UUID) { c.discarded = append(c.discarded, id) }

// DiscardVariants gives the ids and SKUs of all of a product's variants back.
func (c *Changes) DiscardVariants(productID uuid.UUID) { c.withdrawn = append(c.withdrawn, productID) }

// Transact decides a batch of commands in one transaction and two round trips: it locks the
// products' shards, loads what the keys name, calls decide, and writes the changes. Nothing is
// written if decide fails or leaves the changes empty.
//
// Shards are locked before anything is read, so a decision is never made on a state that has
// changed when it is written; the version guard of the heads stands behind that. The errors are
// classified by [Retryable] and [Faulty], and all others pass with time; [ErrCommitUnknown] says
// that it may have been written.
func (s *Store) Transact(ctx context.Context, keys Keys, decide func(*Snapshot, *Changes) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() {
		if conn.Conn().PgConn().TxStatus() != 'I' { // a failed batch leaves its transaction open
			rollback, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = conn.Exec(rollback, "rollback") // if this fails too the pool closes the connection
		}
		conn.Release()
	}()
	snapshot, err := load(ctx, conn, keys)
	if err != nil {
		return fmt.Errorf("load a batch: %w", err)
	}
	changes := &Changes{snapshot: snapshot, rows: make([]Record, 0, len(keys.Commands)), inbox: make([]InboxEntry, 0, len(keys.Commands)),
		heads:        make(map[uuid.UUID]Head, len(keys.Products)),
		reservations: make(map[ReservationKey]Reservation, len(keys.Reservations))}
	if err := decide(snapshot, changes); err != nil {
		return err
	}
	if changes.fault != nil || changes.empty() {
		return changes.fault
	}
	if err := changes.write(ctx, conn); err != nil {
		return err
	}
	s.committed()
	return nil
}

func (c *Changes) empty() bool {
	return len(c.rows)+len(c.inbox)+len(c.longer)+len(c.heads)+len(c.reservations)+len(c.newVariants)+len(c.confirmed)+len(c.discarded)+len(c.withdrawn) == 0
}

var (
	lockShards       = statement("lock_shards")
	readTails        = statement("read_tails")
	loadInbox        = statement("load_inbox")
	loadHeads        = statement("load_heads")
	loadReservations = statement("load_reservations")
	loadVariants     = statement("load_variants")
)

type batchSender interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

// load is the first round trip.
func load(ctx context.Context, conn batchSender, keys Keys) (*Snapshot, error) {
	s := &Snapshot{
		Inbox:        make(map[uuid.UUID]InboxEntry),
		Heads:        make(map[uuid.UUID]Head, len(keys.Products)),
		Reservations: make(map[ReservationKey]Reservation, len(keys.Reservations)),
		Variants:     make(map[uuid.UUID]Variant),
		Records:      make(map[Cursor]Record, len(keys.Places)),
	}
	var batch pgx.Batch
	batch.Queue("begin")
	shards := shardsOf(keys.Products)
	batch.Queue(lockShards, shards)
	batch.Queue(readTails, shards).Query(func(rows pgx.Rows) error {
		var shard int16
		var t tail
		_, err := pgx.ForEachRow(rows, []any{&shard, &t.pos, &t.at}, func() error {
			s.tails[shard] = t
			if t.at.After(s.Now) {
				s.Now = t.at
			}
			return nil
		})
		return err
	})
	if len(keys.Commands) > 0 {
		batch.Queue(loadInbox, uuids(keys.Commands)).Query(func(rows pgx.Rows) error {
			var e InboxEntry
			_, err := pgx.ForEachRow(rows, []any{(*[16]byte)(&e.CommandID), &e.Fingerprint, &e.Shard, &e.Pos, &e.AgeFrom}, func() error { s.Inbox[e.CommandID] = e; return nil })
			return err
		})
	}
	batch.Queue(loadHeads, uuids(keys.Products)).Query(func(rows pgx.Rows) error {
		var h Head
		_, err := pgx.ForEachRow(rows, []any{(*[16]byte)(&h.ProductID), &h.Version, &h.Status, &h.StockTotal, &h.Reserved, &h.LowStockThreshold, &h.Variants},
			func() error { s.Heads[h.ProductID] = h; return nil })
		return err
	})
	if len(keys.Reservations) > 0 {
		products, ids := make(uuids, len(keys.Reservations)), make(uuids, len(keys.Reservations))
		for i, k := range keys.Reservations {
			products[i], ids[i] = k.ProductID, k.ReservationID
		}
		batch.Queue(loadReservations, products, ids).Query(func(rows pgx.Rows) error {
			var r Reservation
			var expires pgtype.Timestamptz
			_, err := pgx.ForEachRow(rows, []any{(*[16]byte)(&r.ProductID), (*[16]byte)(&r.ReservationID), &r.SagaID, &r.Quantity, &r.Held, &r.State, &expires},
				func() error { r.ExpiresAt = expires.Time; s.Reservations[r.ReservationKey] = r; return nil })
			return err
		})
	}
	s.queueRare(&batch, keys)
	return s, conn.SendBatch(ctx, &batch).Close()
}

// queueRare asks for what few batches need.
func (s *Snapshot) queueRare(batch *pgx.Batch, keys Keys) {
	if len(keys.Variants)+len(keys.SKUs)+len(keys.SKUKeys) > 0 {
		batch.Queue(loadVariants, uuids(keys.Variants), orEmpty(keys.SKUs), orEmpty(keys.SKUKeys)).Query(func(rows pgx.Rows) error {
			variants, err := pgx.CollectRows(rows, scanVariant)
			for _, v := range variants {
				s.Variants[v.VariantID] = v
			}
			return err
		})
	}
	if len(keys.Places) > 0 {
		shards, positions := split(keys.Places)
		batch.Queue(readAt, shards, positions).Query(func(rows pgx.Rows) error {
			records, err := scanRecords(rows, len(keys.Places))
			for _, r := range records {
				s.Records[Cursor{Shard: r.Shard, Pos: r.Pos}] = r
			}
			return err
		})
	}
}

// orEmpty makes a nil slice an empty array, which a nil would not be in SQL.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// shardsOf returns the shards of the products, ascending, each once.
func shardsOf(products []uuid.UUID) []int16 {
	var seen [Shards]bool
	shards := []int16{}
	for _, id := range products {
		if shard := ShardOf(id); !seen[shard] {
			seen[shard] = true
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards
}

// sortedHeads returns the heads ordered by id: the same order in every batch.
func sortedHeads(heads map[uuid.UUID]Head) []Head {
	sorted := make([]Head, 0, len(heads))
	for _, h := range heads {
		sorted = append(sorted, h)
	}
	slices.SortFunc(sorted, func(a, b Head) int { return cmp.Compare(string(a.ProductID[:]), string(b.ProductID[:])) })
	return sorted
}
