package eventstore

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

var errUndecided = errors.New("undecided")

// Ten writers append to four shards that they share, some of their transactions end without a
// commit; a reader follows the tail and must see every position once, in order, with a time that
// never runs back.
func TestPositionsAreDenseAndInTheOrderOfCommits(t *testing.T) {
	s := open(t)
	var products []uuid.UUID
	for shard := range int16(4) {
		products = append(products, inShard(shard), inShard(shard), inShard(shard))
	}
	var committed atomic.Int64
	var writers sync.WaitGroup
	for range 10 {
		writers.Go(func() {
			for range 40 {
				rows, err := writeSome(t.Context(), s, products)
				if err == nil {
					committed.Add(rows)
				} else if !errors.Is(err, errUndecided) && !Faulty(err) {
					t.Errorf("a writer failed: %v", err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	seen, versions := follow(t, s, done), map[uuid.UUID]int64{}
	if int64(len(seen)) != committed.Load() {
		t.Errorf("the reader saw %d rows, %d were committed", len(seen), committed.Load())
	}
	for _, r := range seen {
		if r.Version > 0 {
			if versions[r.ProductID]++; r.Version != versions[r.ProductID] {
				t.Fatalf("version %d of %s follows %d", r.Version, r.ProductID, versions[r.ProductID]-1)
			}
		}
	}
	for _, head := range must[[]Head](t)(s.Heads(t.Context(), products)) {
		if head.Version != versions[head.ProductID] {
			t.Errorf("the head of %s has version %d, its stream %d", head.ProductID, head.Version, versions[head.ProductID])
		}
	}
}

// writeSome transacts on some of the products; of five times one ends in an error of the decision
// and one in one of the database.
func writeSome(ctx context.Context, s *Store, products []uuid.UUID) (rows int64, err error) {
	var some []uuid.UUID
	for range 1 + rand.IntN(4) {
		some = append(some, products[rand.IntN(len(products))])
	}
	ending := rand.IntN(5)
	err = s.Transact(ctx, Keys{Products: some}, func(snapshot *Snapshot, c *Changes) error {
		for _, id := range some {
			if rows++; rand.IntN(3) == 0 {
				fact(c, id)
			} else {
				event(snapshot, c, id)
			}
		}
		switch ending {
		case 0:
			return errUndecided
		case 1:
			c.SetHead(Head{ProductID: some[0], Version: snapshot.Heads[some[0]].Version + 1, Reserved: 1})
		}
		return nil
	})
	return rows, err
}

// follow reads the tail until the writers are done and nothing is left.
func follow(t *testing.T, s *Store, done <-chan struct{}) (seen []Record) {
	cursors := make([]Cursor, Shards)
	for shard := range cursors {
		cursors[shard].Shard = int16(shard)
	}
	at := map[int16]time.Time{}
	for last := false; ; {
		records := must[[]Record](t)(s.Tail(t.Context(), cursors, 37))
		for _, r := range records {
			if r.Pos != cursors[r.Shard].Pos+1 || r.At.Before(at[r.Shard]) {
				t.Fatalf("shard %d: position %d of %v follows %d of %v", r.Shard, r.Pos, r.At, cursors[r.Shard].Pos, at[r.Shard])
			}
			cursors[r.Shard].Pos, at[r.Shard] = r.Pos, r.At
		}
		if seen = append(seen, records...); last && len(records) == 0 {
			break
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
	for shard, pos := range must[[Shards]int64](t)(s.Positions(t.Context())) {
		if pos != cursors[shard].Pos {
			t.Errorf("shard %d ends at %d, the reader at %d", shard, pos, cursors[shard].Pos)
		}
	}
	return seen
}

func TestSnapshotHasWhatTheKeysName(t *testing.T) {
	s := open(t)
	productID, other, command := inShard(3), inShard(9), uuid.New()
	red := Variant{VariantID: uuid.New(), ProductID: productID, SKU: "red", InitialQuantity: 5, LowStockThreshold: 2, Unconfirmed: true}
	blue := Variant{VariantID: uuid.New(), ProductID: productID, SKU: "blue"}
	head := Head{ProductID: productID, Version: 1, Status: 2, StockTotal: 9, Reserved: 4, LowStockThreshold: 3, Variants: 2}
	hold := Reservation{ReservationKey: ReservationKey{productID, uuid.New()}, SagaID: "saga", Quantity: 4, Held: 4, State: "ACTIVE", ExpiresAt: time.Now().Truncate(time.Microsecond)}
	early := Reservation{ReservationKey: ReservationKey{productID, uuid.New()}, State: "CANCELLED"}
	var entry InboxEntry
	s.write(t, func(snapshot *Snapshot, c *Changes) {
		if len(snapshot.Heads)+len(snapshot.Inbox)+len(snapshot.Reservations)+len(snapshot.Variants) != 0 || time.Since(snapshot.Now).Abs() > time.Minute {
			t.Errorf("the snapshot of an empty store is %+v", snapshot)
		}
		c.SetHead(head)
		r := c.Append(Row{ProductID: productID, Version: 1, Type: "E", CommandID: command, Data: []byte(`{"a": "\u00e9"}`)})
		entry = InboxEntry{CommandID: command, Fingerprint: -7, Shard: r.Shard, Pos: r.Pos}
		c.Remember(entry)
		c.SetReservation(hold)
		c.SetReservation(early)
		c.AddVariant(red)
		c.AddVariant(blue)
	}, productID)

	keys := Keys{Commands: []uuid.UUID{uuid.New(), command}, Products: []uuid.UUID{productID, other, productID}, Variants: []uuid.UUID{red.VariantID}, SKUs: []string{"blue", "green"},
		Reservations: []ReservationKey{hold.ReservationKey, early.ReservationKey, {other, hold.ReservationID}}}
	changed := hold
	changed.Held, changed.State, changed.ExpiresAt = 0, "RELEASED", time.Time{}
	if err := s.Transact(t.Context(), keys, func(got *Snapshot, c *Changes) error {
		if entry.AgeFrom = got.Inbox[command].AgeFrom; time.Since(entry.AgeFrom).Abs() > time.Minute {
			t.Errorf("the command's age counts from %s, want from now", entry.AgeFrom)
		}
		if want := map[uuid.UUID]InboxEntry{command: entry}; !maps.Equal(got.Inbox, want) {
			t.Errorf("the inbox is %v, want %v", got.Inbox, want)
		}
		if want := map[uuid.UUID]Head{productID: head}; !maps.Equal(got.Heads, want) {
			t.Errorf("the heads are %v, want %v", got.Heads, want)
		}
		r := got.Reservations[hold.ReservationKey]
		if r.ExpiresAt.Equal(hold.ExpiresAt) {
			r.ExpiresAt = hold.ExpiresAt
		}
		if len(got.Reservations) != 2 || r != hold || got.Reservations[early.ReservationKey] != early {
			t.Errorf("the reservations are %+v", got.Reservations)
		}
		if v := got.Variants[red.VariantID]; len(got.Variants) != 2 || v.SKU != "red" || !v.Unconfirmed || v.Record != RecordPending || v.InitialQuantity != 5 || got.Variants[blue.VariantID].SKU != "blue" {
			t.Errorf("the variants are %+v", got.Variants)
		}
		c.SetReservation(changed)
		head.Version, head.Reserved = 2, 0
		c.SetHead(head)
		c.ConfirmVariant(red.VariantID)
		c.DiscardVariant(blue.VariantID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Transact(t.Context(), keys, func(got *Snapshot, c *Changes) error {
		v := got.Variants[red.VariantID]
		if got.Heads[productID] != head || got.Reservations[hold.ReservationKey] != changed || len(got.Variants) != 1 || v.Record != RecordCreated || v.Unconfirmed {
			t.Errorf("after the change it is %+v", got)
		}
		c.DiscardVariants(productID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if left := must[[]Variant](t)(s.ProductVariants(t.Context(), productID)); len(left) != 0 {
		t.Errorf("after discarding all there are %+v", left)
	}
	r := must[[]Record](t)(s.At(t.Context(), []Cursor{{entry.Shard, entry.Pos}}))
	if len(r) != 1 || r[0].CommandID != command || string(r[0].Data) != `{"a": "\u00e9"}` || r[0].ProductID != productID || r[0].Version != 1 {
		t.Errorf("the row is %+v", r)
	}
}

// What the database refuses leaves nothing behind, and says whose fault it is.
func TestTheDatabaseRefuses(t *testing.T) {
	s := open(t)
	known, seller, productID := uuid.New(), inShard(1), inShard(2)
	s.write(t, func(snapshot *Snapshot, c *Changes) {
		event(snapshot, c, seller)
		c.Remember(InboxEntry{CommandID: known, Shard: 1, Pos: 1})
		c.AddVariant(Variant{VariantID: known, ProductID: seller, SKU: "red"})
	}, seller)
	reservation := func(quantity, held int64, state string) func(*Changes) {
		return func(c *Changes) {
			c.SetReservation(Reservation{ReservationKey: ReservationKey{productID, uuid.New()}, Quantity: quantity, Held: held, State: state})
		}
	}
	row := func(r Row) func(*Changes) { return func(c *Changes) { r.ProductID = productID; c.Append(r) } }
	for name, test := range map[string]struct {
		change func(*Changes)
		race   bool
	}{
		"more reserved than there is": {func(c *Changes) { c.SetHead(Head{ProductID: productID, Version: 2, StockTotal: 5, Reserved: 6}) }, false},
		"less than nothing reserved":  {func(c *Changes) { c.SetHead(Head{ProductID: productID, Version: 2, StockTotal: 5, Reserved: -1}) }, false},
		"a head without a version":    {func(c *Changes) { c.SetHead(Head{ProductID: productID}) }, false},
		"too many variants":           {func(c *Changes) { c.SetHead(Head{ProductID: productID, Version: 2, Variants: 101}) }, false},
		"more held than asked for":    {reservation(1, 2, "ACTIVE"), false},
		"a hold that is released":     {reservation(2, 2, "RELEASED"), false},
		"an active one without hold":  {reservation(2, 0, "ACTIVE"), false},
		"a state that isn't one":      {reservation(2, 0, "GONE"), false},
		"data that isn't JSON":        {row(Row{Type: "F", Data: []byte("{")}), false},
		"text with a NUL":             {row(Row{Type: "F\x00", Data: []byte("{}")}), false},
		"a known command":             {func(c *Changes) { c.Remember(InboxEntry{CommandID: known}) }, true},
		"a taken variant id":          {func(c *Changes) { c.AddVariant(Variant{VariantID: known, SKU: "new"}) }, true},
		"a taken SKU":                 {func(c *Changes) { c.AddVariant(Variant{VariantID: uuid.New(), SKU: "red"}) }, true},
		"a version that is taken":     {row(Row{Version: 1, Type: "E", Data: []byte("{}")}), true},
	} {
		t.Run(name, func(t *testing.T) {
			productID = inShard(2)
			s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, productID) }, productID)
			before := must[[Shards]int64](t)(s.Positions(t.Context()))
			err := s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(snapshot *Snapshot, c *Changes) error {
				event(snapshot, c, productID)
				test.change(c)
				return nil
			})
			if err == nil || Retryable(err) != test.race || Faulty(err) == test.race || errors.Is(err, ErrCommitUnknown) {
				t.Errorf("it was answered by %v: retryable %v, faulty %v", err, Retryable(err), Faulty(err))
			}
			if after := must[[Shards]int64](t)(s.Positions(t.Context())); after != before {
				t.Errorf("it left rows behind: %v, before %v", after, before)
			}
			if head := must[Head](t)(s.Head(t.Context(), productID)); head.Version != 1 {
				t.Errorf("it left the head at %+v", head)
			}
			s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, productID) }, productID)
		})
	}
}

func TestVersionGuard(t *testing.T) {
	s := open(t)
	productID, neighbour := inShard(5), inShard(5)
	s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, productID); event(snapshot, c, neighbour) }, productID, neighbour)
	again := func(meddle string) error {
		return s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID, neighbour}}, func(snapshot *Snapshot, c *Changes) error {
			if meddle != "" {
				s.exec(t, meddle, productID)
			}
			event(snapshot, c, productID)
			event(snapshot, c, neighbour)
			return nil
		})
	}
	err := again("update product_head set version = 2 where product_id = $1")
	if !Retryable(err) || !strings.Contains(err.Error(), "1 of 2 rows") {
		t.Errorf("a version that moved was answered by %v", err)
	}
	if head := must[Head](t)(s.Head(t.Context(), neighbour)); head.Version != 1 {
		t.Errorf("the batch was written in part: %+v", head)
	}
	if err := again(""); err != nil {
		t.Errorf("decided anew it failed: %v", err)
	}
}

func TestNothingIsWrittenWithoutADecision(t *testing.T) {
	s := open(t)
	productID, other := inShard(1), inShard(2)
	keys := Keys{Products: []uuid.UUID{productID}}
	for name, test := range map[string]struct {
		decide func(*Snapshot, *Changes) error
		want   string
	}{
		"an error":        {func(s *Snapshot, c *Changes) error { event(s, c, productID); return errUndecided }, "undecided"},
		"nothing":         {func(*Snapshot, *Changes) error { return nil }, ""},
		"another shard":   {func(s *Snapshot, c *Changes) error { event(s, c, productID); fact(c, other); return nil }, "shard 2, which is not locked"},
		"a panic instead": {func(s *Snapshot, c *Changes) error { event(s, c, productID); panic("oh") }, "oh"},
	} {
		t.Run(name, func(t *testing.T) {
			err := func() (err error) {
				defer func() {
					if r := recover(); r != nil {
						err = errors.New(r.(string))
					}
				}()
				return s.Transact(t.Context(), keys, test.decide)
			}()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("it was answered by %v, want %q", err, test.want)
			}
			if positions := must[[Shards]int64](t)(s.Positions(t.Context())); positions != [Shards]int64{} {
				t.Errorf("the log is at %v", positions)
			}
			if locks := one[int](t, s, "select count(*) from pg_locks where locktype = 'advisory' and classid = 7301 and database = (select oid from pg_database where datname = current_database())"); locks != 0 {
				t.Errorf("%d locks are still held", locks)
			}
		})
	}
}

func TestTimeNeverRunsBackInAShard(t *testing.T) {
	s := open(t)
	productID := inShard(6)
	s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, productID) }, productID)
	s.exec(t, "update log set at = at + interval '1 hour'")
	ahead := one[time.Time](t, s, "select at from log")
	s.write(t, func(snapshot *Snapshot, c *Changes) {
		if snapshot.Now.Before(ahead) {
			t.Errorf("a decision is made at %v, its shard is at %v", snapshot.Now, ahead)
		}
		event(snapshot, c, productID)
	}, productID, inShard(7))
	if at := one[time.Time](t, s, "select at from log where pos = 2"); !at.Equal(ahead) {
		t.Errorf("the next row is of %v, want %v", at, ahead)
	}
}

func TestShardsAreLockedInOneOrder(t *testing.T) {
	got := shardsOf([]uuid.UUID{inShard(9), inShard(2), inShard(31), inShard(2), inShard(0)})
	if want := []int16{0, 2, 9, 31}; !slices.Equal(got, want) {
		t.Errorf("the shards are %v, want %v", got, want)
	}
	if got := shardsOf(nil); got == nil || !reflect.DeepEqual(got, []int16{}) {
		t.Errorf("without products they are %#v: a nil would be NULL", got)
	}
}

func TestTransactWithoutProducts(t *testing.T) {
	s := open(t)
	if err := s.Transact(t.Context(), Keys{Commands: []uuid.UUID{uuid.New()}, SKUs: []string{"none"}}, func(snapshot *Snapshot, _ *Changes) error {
		if len(snapshot.Inbox)+len(snapshot.Heads)+len(snapshot.Variants) != 0 || !snapshot.Now.IsZero() {
			t.Errorf("the snapshot is %+v", snapshot)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
