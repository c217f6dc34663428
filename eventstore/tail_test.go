package eventstore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
)

// The vectors of Kafka's own tests (org.apache.kafka.common.utils.UtilsTest), made positive.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := murmur2([]byte(key)); got != uint32(want)&0x7fffffff {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, uint32(want)&0x7fffffff)
		}
	}
}

// A product's shard is stored: if this changes, every log is lost.
func TestShardOf(t *testing.T) {
	for id, want := range map[string]int16{"00000000-0000-0000-0000-000000000000": 29, "0b9f3c52-6a1e-4c11-9a53-0d6a1f0e7c01": 1} {
		if got := ShardOf(uuid.MustParse(id)); got != want {
			t.Errorf("ShardOf(%s) = %d, want %d", id, got, want)
		}
	}
}

func places(records []Record) string {
	text := ""
	for _, r := range records {
		text += fmt.Sprintf("%d:%d ", r.Shard, r.Pos)
	}
	return text
}

func TestTail(t *testing.T) {
	s := open(t)
	a, b, c := inShard(1), inShard(2), inShard(30)
	for range 3 {
		s.write(t, func(snapshot *Snapshot, changes *Changes) {
			event(snapshot, changes, a)
			event(snapshot, changes, b)
			fact(changes, a)
			event(snapshot, changes, c)
		}, a, b, c)
	}
	for _, test := range []struct {
		cursors []Cursor
		limit   int
		want    string
	}{
		{[]Cursor{{1, 0}}, 100, "1:1 1:2 1:3 1:4 1:5 1:6 "},
		{[]Cursor{{30, 1}, {1, 4}, {2, 3}, {9, 0}}, 100, "30:2 30:3 1:5 1:6 "},
		{[]Cursor{{2, 0}, {1, 0}, {30, 0}}, 5, "2:1 2:2 2:3 1:1 1:2 "},
		{[]Cursor{{1, 0}, {2, 0}}, 2, "1:1 1:2 "},
		{[]Cursor{{1, 99}}, 100, ""},
		{nil, 100, ""},
	} {
		if got := places(must[[]Record](t)(s.Tail(t.Context(), test.cursors, test.limit))); got != test.want {
			t.Errorf("Tail(%v, %d) = %s, want %s", test.cursors, test.limit, got, test.want)
		}
	}
	got := must[[]Record](t)(s.At(t.Context(), []Cursor{{1, 2}, {2, 4}, {30, 3}, {1, 2}, {0, 1}}))
	if len(got) != 3 {
		t.Errorf("At gave %s", places(got))
	}
	for _, r := range got {
		if fact := r.Shard == 1; (r.Version == 0) != fact || r.At.IsZero() || r.CommandID == uuid.Nil || len(r.Data) == 0 {
			t.Errorf("a record is %+v", r)
		}
	}
	if got := must[[]Record](t)(s.At(t.Context(), nil)); len(got) != 0 {
		t.Errorf("At nowhere gave %s", places(got))
	}
	if got := must[[]Record](t)(s.Stream(t.Context(), a, 1, 100)); places(got) != "1:3 1:5 " || got[0].Version != 2 {
		t.Errorf("the stream after version 1 is %s", places(got))
	}
	if got := places(must[[]Record](t)(s.Stream(t.Context(), a, 0, 2))); got != "1:1 1:3 " {
		t.Errorf("two of the stream are %s", got)
	}
	want := [Shards]int64{1: 6, 2: 3, 30: 3}
	if got := must[[Shards]int64](t)(s.Positions(t.Context())); got != want {
		t.Errorf("the positions are %v, want %v", got, want)
	}
}

func TestProductRecords(t *testing.T) {
	s := open(t)
	productID, neighbour := inShard(1), inShard(1)
	const each = 1300 // more than a page of events and of facts
	s.write(t, func(snapshot *Snapshot, c *Changes) {
		for i := range each {
			event(snapshot, c, productID)
			if event(snapshot, c, neighbour); i%2 == 0 {
				fact(c, productID)
				fact(c, productID)
			}
		}
	}, productID, neighbour)
	var pos, events, facts int64
	for r, err := range s.ProductRecords(t.Context(), productID) {
		if err != nil {
			t.Fatal(err)
		}
		if r.ProductID != productID || r.Pos <= pos {
			t.Fatalf("%d of %s follows %d", r.Pos, r.ProductID, pos)
		}
		if pos = r.Pos; r.Version == 0 {
			facts++
		} else if events++; r.Version != events {
			t.Fatalf("version %d follows %d", r.Version, events-1)
		}
		if events+facts == 10 { // what comes now isn't read, on whichever page
			s.write(t, func(snapshot *Snapshot, c *Changes) { fact(c, productID); event(snapshot, c, productID) }, productID)
		}
	}
	if events != each || facts != each {
		t.Errorf("there were %d events and %d facts, want %d of each", events, facts, each)
	}
	for r := range s.ProductRecords(t.Context(), productID) {
		if r.Pos != 1 {
			t.Errorf("the first is at %d", r.Pos)
		}
		break
	}
	for r, err := range s.ProductRecords(t.Context(), inShard(8)) {
		t.Errorf("a product that isn't there has %+v, %v", r, err)
	}
}

// calls are the store's, each with parameters that do no harm.
func calls(ctx context.Context, s *Store) map[string]func() error {
	return map[string]func() error{
		"tail":         func() error { _, err := s.Tail(ctx, []Cursor{{}}, 1); return err },
		"at":           func() error { _, err := s.At(ctx, []Cursor{{}}); return err },
		"stream":       func() error { _, err := s.Stream(ctx, uuid.Nil, 0, 1); return err },
		"facts":        func() error { _, err := s.Facts(ctx, uuid.Nil, 0, 1); return err },
		"heads":        func() error { _, err := s.Heads(ctx, nil); return err },
		"reservations": func() error { _, err := s.Reservations(ctx, uuid.Nil, uuid.Nil, 1); return err },
		"kept":         func() error { _, err := s.WithState(ctx, uuid.Nil, 1); return err },
		"unlogged":     func() error { _, err := s.NotInLog(ctx, nil); return err },
		"positions":    func() error { _, err := s.Positions(ctx); return err },
		"head":         func() error { _, err := s.Head(ctx, uuid.Nil); return err },
		"expiring":     func() error { _, err := s.Expiring(ctx, 1); return err },
		"prune":        func() error { _, err := s.Prune(ctx, 1, nil, nil, 1, Condensing{}); return err },
		"letter":       func() error { return s.LetterDone(ctx, "t", 0, 1) },
		"letters":      func() error { _, err := s.LettersDone(ctx, "t", 0); return err },
		"due variants": func() error { _, err := s.DueVariants(ctx, 1, 1); return err },
		"postpone":     func() error { return s.PostponeVariant(ctx, uuid.Nil, 1, false, "") },
		"give back":    func() error { return s.GiveBackVariant(ctx, uuid.Nil) },
		"backlog":      func() error { _, err := s.VariantBacklog(ctx); return err },
		"restart":      func() error { _, err := s.RestartVariants(ctx); return err },
		"unconfirmed":  func() error { _, err := s.Unconfirmed(ctx, 1, 1); return err },
		"of a product": func() error { _, err := s.ProductVariants(ctx, uuid.Nil); return err },
		"by id":        func() error { _, err := s.VariantsByID(ctx, nil); return err },
		"checkpoint":   func() error { _, err := s.Checkpoint(ctx, "r", []Lease{{}}); return err },
		"checkpoints":  func() error { _, err := s.Checkpoints(ctx, "r"); return err },
		"transact":     func() error { return s.Transact(ctx, Keys{}, nil) },
		"product records": func() (last error) {
			for _, err := range s.ProductRecords(ctx, uuid.Nil) {
				last = err
			}
			return last
		},
	}
}

func TestReadsEndWithTheirContext(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(ctx, s) {
		if err := call(); !errors.Is(err, context.Canceled) || len(err.Error()) < len("context canceled: ") {
			t.Errorf("%s was answered by %v", name, err)
		}
	}
}
