package eventstore

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
)

const month = 30 * 24 * time.Hour

// history writes an event, two facts, an event and two facts into each of these shards, and makes
// them this old.
func history(t *testing.T, s *Store, age time.Duration, shards ...int16) {
	for _, shard := range shards {
		productID := inShard(shard)
		s.write(t, func(snapshot *Snapshot, c *Changes) {
			for range 2 {
				event(snapshot, c, productID)
				r := fact(c, productID)
				c.Remember(InboxEntry{CommandID: r.CommandID, Shard: r.Shard, Pos: r.Pos})
				fact(c, productID)
			}
		}, productID)
	}
	s.exec(t, "update log set at = now() - $1::interval", age)
	s.exec(t, "update inbox set at = now() - $1::interval", age)
}

func pruned(t *testing.T, s *Store, types []string, limit int, cursors ...Cursor) (rows int64) {
	for {
		n := must[int64](t)(s.Prune(t.Context(), month, types, cursors, limit, Condensing{}))
		if rows += n; n == 0 {
			return rows
		}
	}
}

func left(t *testing.T, s *Store) string {
	var all []Cursor
	for shard := range int16(Shards) {
		all = append(all, Cursor{Shard: shard})
	}
	return places(must[[]Record](t)(s.Tail(t.Context(), all, 1000)))
}

func TestPrune(t *testing.T) {
	s := open(t)
	facts := []string{"F"}
	for name, test := range map[string]struct {
		age     time.Duration
		types   []string
		limit   int
		cursors []Cursor
		left    string
		young   int64 // the first position of rows of just now
	}{
		"below the cursor, not the last": {month + 2*time.Hour, facts, 100, []Cursor{{1, 6}, {2, 6}}, "1:1 1:4 1:6 2:1 2:4 2:6 ", 0},
		"in bites of one":                {month + 2*time.Hour, facts, 1, []Cursor{{1, 6}, {2, 6}}, "1:1 1:4 1:6 2:1 2:4 2:6 ", 0},
		"in bites of three":              {month + 2*time.Hour, facts, 3, []Cursor{{1, 6}, {2, 6}}, "1:1 1:4 1:6 2:1 2:4 2:6 ", 0},
		"a cursor ahead of the log":      {month + 2*time.Hour, facts, 100, []Cursor{{1, 99}, {2, 99}}, "1:1 1:4 1:6 2:1 2:4 2:6 ", 0},
		"cursors in the middle":          {month + 2*time.Hour, facts, 100, []Cursor{{1, 3}, {2, 3}}, "1:1 1:4 1:5 1:6 2:1 2:4 2:5 2:6 ", 4},
		"read no further for an hour":    {month + 2*time.Hour, facts, 100, []Cursor{{1, 2}, {2, 6}}, "1:1 1:2 1:3 1:4 1:5 1:6 2:1 2:4 2:6 ", 0},
		"a shard without a cursor":       {month + 2*time.Hour, facts, 100, []Cursor{{1, 6}}, "1:1 1:4 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 0},
		"two readers of a shard":         {month + 2*time.Hour, facts, 100, []Cursor{{1, 6}, {1, 3}, {2, 0}, {2, 6}}, "1:1 1:4 1:5 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 4},
		"without cursors":                {month + 2*time.Hour, facts, 100, nil, "1:1 1:2 1:3 1:4 1:5 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 0},
		"another type":                   {month + 2*time.Hour, []string{"G"}, 100, []Cursor{{1, 6}, {2, 6}}, "1:1 1:2 1:3 1:4 1:5 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 0},
		"the type of events":             {month + 2*time.Hour, []string{"E"}, 100, []Cursor{{1, 6}, {2, 6}}, "1:1 1:2 1:3 1:4 1:5 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 0},
		"forgotten but within the hour":  {month + time.Minute, facts, 100, []Cursor{{1, 6}, {2, 6}}, "1:1 1:2 1:3 1:4 1:5 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 0},
		"too young":                      {month - time.Minute, facts, 100, []Cursor{{1, 6}, {2, 6}}, "1:1 1:2 1:3 1:4 1:5 1:6 2:1 2:2 2:3 2:4 2:5 2:6 ", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s.exec(t, "truncate log, inbox, product_head")
			history(t, s, test.age, 1, 2)
			s.exec(t, "update log set at = now() where pos >= $1 and $1 > 0", test.young)
			before := one[int64](t, s, "select (select count(*) from log) + (select count(*) from inbox)")
			rows := pruned(t, s, test.types, test.limit, test.cursors...)
			if got := left(t, s); got != test.left {
				t.Errorf("there are left\n%s, want\n%s", got, test.left)
			}
			inbox := one[int](t, s, "select count(*) from inbox")
			if old := test.age > month; (inbox == 0) != old || inbox != 0 && inbox != 4 {
				t.Errorf("the inbox remembers %d of 4 commands", inbox)
			}
			if after := one[int64](t, s, "select (select count(*) from log) + (select count(*) from inbox)"); before-after != rows {
				t.Errorf("it said it deleted %d rows, but deleted %d", rows, before-after)
			}
			s.write(t, func(snapshot *Snapshot, c *Changes) {
				if r := fact(c, inShard(1)); r.Pos != 7 {
					t.Errorf("the next position is %d, want 7", r.Pos)
				}
			}, inShard(1))
		})
	}
}

// The log keeps what the inbox points at until the whole inbox is done.
func TestPruneBeginsWithTheInbox(t *testing.T) {
	s := open(t)
	history(t, s, month+2*time.Hour, 1)
	for want := int64(2); want > 0; want-- {
		if n := must[int64](t)(s.Prune(t.Context(), month, []string{"F"}, []Cursor{{1, 6}}, 1, Condensing{})); n != 1 {
			t.Errorf("a bite of one took %d", n)
		}
		if n := one[int64](t, s, "select count(*) from log"); n != 6 {
			t.Errorf("the log has %d rows", n)
		}
	}
}

func TestExpiring(t *testing.T) {
	s := open(t)
	productID := inShard(1)
	now := time.Now()
	keys := make([]ReservationKey, 6)
	s.write(t, func(_ *Snapshot, c *Changes) {
		for i := range keys {
			keys[i] = ReservationKey{productID, uuid.New()}
			r := Reservation{ReservationKey: keys[i], Quantity: 1, Held: 1, State: "ACTIVE", ExpiresAt: now.Add(time.Duration(i-10) * time.Second)}
			switch i {
			case 3:
				r.ExpiresAt = now.Add(time.Hour)
			case 4:
				r.ExpiresAt = time.Time{}
			case 5:
				r.State, r.Held = "RELEASED", 0
			}
			c.SetReservation(r)
		}
	}, productID)
	for limit, want := range map[int][]ReservationKey{100: keys[:3], 2: keys[:2]} {
		got := must[[]ReservationKey](t)(s.Expiring(t.Context(), limit))
		if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("expiring are %v, want %v", got, want)
		}
	}
}

func TestAnIDIsRememberedFromItsAgeOrFromNow(t *testing.T) {
	s := open(t)
	productID := inShard(1)
	var ids []uuid.UUID
	for _, from := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(month), Forever} {
		s.write(t, func(_ *Snapshot, c *Changes) {
			r := fact(c, productID)
			c.Remember(InboxEntry{CommandID: r.CommandID, Shard: r.Shard, Pos: r.Pos, AgeFrom: from})
			ids = append(ids, r.CommandID)
		}, productID)
	}
	known := func() (all string) {
		if err := s.Transact(t.Context(), Keys{Commands: ids}, func(snapshot *Snapshot, _ *Changes) error {
			for _, id := range ids {
				if _, ok := snapshot.Inbox[id]; ok {
					all += "x"
				} else {
					all += "."
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	later := func(days int) { // what is old in so many days is what is this much younger now
		must[int64](t)(s.Prune(t.Context(), month-time.Duration(days)*24*time.Hour, nil, nil, 100, Condensing{}))
	}
	for _, step := range []struct {
		days int
		want string
	}{{29, "xxxx"}, {31, "..xx"}, {59, "..xx"}, {61, "...x"}, {3650, "...x"}} {
		if later(step.days); known() != step.want {
			t.Errorf("after %d days the inbox remembers %s, want %s", step.days, known(), step.want)
		}
	}
}

func TestAKnownIDCanBeRememberedLonger(t *testing.T) {
	s := open(t)
	productID := inShard(1)
	var id uuid.UUID
	from := func() time.Time { return one[time.Time](t, s, "select at from inbox where command_id = $1", id) }
	s.write(t, func(_ *Snapshot, c *Changes) { // in the batch that remembers it
		r := fact(c, productID)
		id = r.CommandID
		c.Remember(InboxEntry{CommandID: id, Shard: r.Shard, Pos: r.Pos})
		c.RememberLonger(id, Forever.Add(-2*time.Hour))
		c.RememberLonger(id, Forever.Add(-3*time.Hour))
	}, productID)
	if got := from(); !got.Equal(Forever.Add(-2 * time.Hour)) {
		t.Errorf("its age counts from %s", got)
	}
	for change, want := range map[time.Time]time.Time{Forever.Add(-4 * time.Hour): Forever.Add(-2 * time.Hour), Forever: Forever} {
		s.write(t, func(_ *Snapshot, c *Changes) { c.RememberLonger(id, change) }, productID)
		if got := from(); got.Before(want) {
			t.Errorf("its age counts from %s, want %s", got, want)
		}
	}
	err := s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(_ *Snapshot, c *Changes) error {
		c.RememberLonger(uuid.New(), Forever)
		return nil
	})
	if !Retryable(err) {
		t.Errorf("an id that was forgotten meanwhile: %v", err)
	}
}

// Facts of a product within an hour become one, in the place of the last of them, and are added to
// as others of that hour get old.
func TestPruneCondensesFactsByTheHour(t *testing.T) {
	s := open(t)
	a, b := inShard(1), inShard(2)
	counting := Condensing{From: "F", To: "S", Sum: func(facts []Record) ([]byte, error) {
		total := 0
		for _, r := range facts {
			n := 1
			if r.Type == "S" {
				if err := json.Unmarshal(r.Data, &n); err != nil {
					return nil, err
				}
			}
			total += n
		}
		return strconv.AppendInt(nil, int64(total), 10), nil
	}}
	for range 4 {
		s.write(t, func(snapshot *Snapshot, c *Changes) {
			for _, id := range []uuid.UUID{a, b} {
				event(snapshot, c, id)
				fact(c, id)
			}
		}, a, b)
	}
	// Positions 2, 4, 6 and 8 are facts: two in one hour, one in the next, and the last of the
	// shard, which stays.
	s.exec(t, "update log set at = date_trunc('hour', now() - interval '60 days') + case when pos > 5 then interval '61 minutes' else pos * interval '1 minute' end")
	prune := func(limit int) {
		for {
			n := must[int64](t)(s.Prune(t.Context(), month, []string{"F"}, []Cursor{{1, 99}, {2, 99}}, limit, counting))
			if n == 0 {
				return
			}
		}
	}
	sums := func() string {
		return one[string](t, s, "select string_agg(shard || ':' || pos || '=' || type || data, ' ' order by shard, pos) from log where version is null")
	}
	for _, limit := range []int{1, 100} { // one by one each adds to what is there; once more changes nothing
		prune(limit)
		if got, want := sums(), `1:4=S2 1:6=S1 1:8=F{} 2:4=S2 2:6=S1 2:8=F{}`; got != want {
			t.Fatalf("there are left\n%s, want\n%s", got, want)
		}
	}
}
