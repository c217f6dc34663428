package store

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"product-service/eventstore"
)

// Ensure that each state of a change follows from what was seen, and from nothing else.
func TestPhasesOfAChange(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	times := defaultTimes
	one, two, three := Meta{Generation: "1"}, Meta{Generation: "2"}, Meta{Generation: "3"}
	for _, c := range []struct {
		when      string
		read      Meta
		ago       time.Duration // since the last look that found it named
		named     Meta
		takenOver bool

		phase     phase
		reads     Meta
		confirmed bool // the next read may do without a look
	}{
		{"the first look", Meta{}, 0, one, false, steady, one, true},
		{"nothing has changed", one, times.Look, one, false, steady, one, true},
		{"nothing has changed for long", one, time.Hour, one, false, steady, one, true},
		{"another is named", one, times.Look, two, false, turning, one, false},
		{"owners haven't turned yet", one, times.Change - 1, two, false, turning, one, false},
		{"owners have turned before the first look", one, times.Look, two, true, takenOver, two, true},
		{"owners have turned", one, times.Change - 1, two, true, takenOver, two, true},
		{"an owner doesn't turn", one, times.Change, two, false, overdue, two, true},
		{"owners have turned while nobody looked", one, time.Hour, two, true, takenOver, two, true},
		{"nobody has looked for long", one, time.Hour, two, false, overdue, two, true},
		{"a third is named during a change", one, times.Change - 1, three, false, turning, one, false},
	} {
		k, phase := known{read: c.read, at: now.Add(-c.ago)}.after(sighting{at: now, named: c.named, takenOver: c.takenOver}, times)
		if phase != c.phase || k.read != c.reads || k.fresh(now, times) != c.confirmed {
			t.Errorf("%s: %s, reads %q, confirmed %v; want %s, %q, %v", c.when, phase, k.read.Generation, k.fresh(now, times), c.phase, c.reads.Generation, c.confirmed)
		}
	}
}

// Ensure that a process never goes back to a generation it has left, whatever it sees and when.
func TestNoProcessGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, named := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), 1
		var k known
		for range rapid.IntRange(1, 30).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*defaultTimes.Change)).Draw(t, "later")))
			named += rapid.IntRange(0, 1).Draw(t, "renamed")
			before := k
			var p phase
			k, p = k.after(sighting{at: now, named: Meta{Generation: strconv.Itoa(named)}, takenOver: rapid.Bool().Draw(t, "taken over")}, defaultTimes)
			was, _ := strconv.Atoi(before.read.Generation)
			is, _ := strconv.Atoi(k.read.Generation)
			if is < was || (p == turning) != (is != named) || (p == turning && k != before) {
				t.Fatalf("from %+v to %+v, %s, with %d named", before, k, p, named)
			}
		}
	})
}

// Ensure that a new generation is taken over when every shard's last owner has read it to its end
// there, and it shows as much.
func TestTakingOver(t *testing.T) {
	old := map[int16]Checkpoint{0: {Epoch: 3, Complete: 70}, 1: {Epoch: 5, Complete: 90}}
	for name, c := range map[string]struct {
		next map[int16]Checkpoint
		want bool
	}{
		"no owner yet":                     {map[int16]Checkpoint{0: {Complete: 70}, 1: {Complete: 90}}, false},
		"one shard is missing":             {map[int16]Checkpoint{0: {CaughtUp: 3, Complete: 70}}, false},
		"an owner that the old one outran": {map[int16]Checkpoint{0: {CaughtUp: 2, Complete: 70}, 1: {CaughtUp: 5, Complete: 90}}, false},
		"it shows less":                    {map[int16]Checkpoint{0: {CaughtUp: 3, Complete: 69}, 1: {CaughtUp: 5, Complete: 90}}, false},
		"all have turned":                  {map[int16]Checkpoint{0: {CaughtUp: 3, Complete: 70}, 1: {CaughtUp: 5, Complete: 90}}, true},
		"later owners have":                {map[int16]Checkpoint{0: {CaughtUp: 4, Complete: 70}, 1: {CaughtUp: 6, Complete: 99}}, true},
	} {
		if got := isTakenOver(old, c.next); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Ensure that the times of a change stand in their order.
func TestTimesOfAChange(t *testing.T) {
	if d := defaultTimes; d.Look <= 0 || d.Change < 2*d.Look || d.Lock < 2*d.Change {
		t.Errorf("%+v", d)
	}
}

// Ensure that what the database names is what is fed at once, and read in the end, also where
// nobody turns to it.
func TestALookChangesOver(t *testing.T) {
	s := open(t)
	s.Times.Look = 0
	epochs := map[int16]int64{}
	for n := range int16(eventstore.Shards) {
		epochs[n] = 1
	}
	if _, err := s.Fence(t.Context(), "1", epochs); err != nil {
		t.Fatal(err)
	}
	is := func(read, fed string) {
		t.Helper()
		r, err1 := s.Generation(t.Context())
		f, err2 := s.FedGeneration(t.Context())
		if err := errors.Join(err1, err2); err != nil || r.Name != read || f.Name != fed {
			t.Errorf("it reads %q and feeds %q, want %q and %q, error %v", r.Name, f.Name, read, fed, err)
		}
	}
	is("1", "1")
	if err := s.CreateGeneration(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangeOver(t.Context(), "1", "2"); err != nil {
		t.Fatal(err)
	}
	s.Times.Change = time.Hour
	is("1", "2")
	s.Times.Change = 0
	is("2", "2")
}
