package eventstore

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// instance is one that beats when told to.
type instance struct {
	*Leases
	t *testing.T
}

func newInstance(t *testing.T, s *Store, ttl time.Duration) *instance {
	c := LeasesConfig{InstanceID: "same", TTL: ttl, Roles: map[string]int{"relay": Shards, "sweeper": 1}}
	return &instance{NewLeases(s, c, slog.New(slog.DiscardHandler)), t}
}

func (i *instance) beats() {
	i.t.Helper()
	if err := i.beat(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
}

func (i *instance) release() {
	i.t.Helper()
	if err := i.Release(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
}

func (i *instance) holds(want int, role string) {
	i.t.Helper()
	if held := i.Held(role); len(held) != want {
		i.t.Errorf("it holds %d leases of %s, want %d", len(held), role, want)
	}
}

// partition checks that the instances hold every shard once, and returns how many each holds.
func partition(t *testing.T, role string, instances ...*instance) []int {
	t.Helper()
	owners, counts := map[int16]int{}, make([]int, len(instances))
	for i, one := range instances {
		for _, lease := range one.Held(role) {
			owners[lease.Shard]++
			counts[i]++
		}
	}
	for shard := range int16(Shards) {
		if owners[shard] != 1 {
			t.Errorf("shard %d has %d owners", shard, owners[shard])
		}
	}
	slices.Sort(counts)
	return counts
}

func TestInstancesShareFairly(t *testing.T) {
	s := open(t)
	a, b, c := newInstance(t, s, time.Minute), newInstance(t, s, time.Minute), newInstance(t, s, time.Minute)
	a.beats()
	if got := partition(t, "relay", a); got[0] != Shards {
		t.Errorf("alone it holds %v", got)
	}
	b.beats() // says that it is there, and finds nothing free
	b.holds(0, "relay")
	a.beats() // gives half of them back
	a.holds(16, "relay")
	b.beats()
	if got := partition(t, "relay", a, b); !slices.Equal(got, []int{16, 16}) {
		t.Errorf("two hold %v", got)
	}
	c.beats()
	a.beats()
	b.beats()
	c.beats()
	if got := partition(t, "relay", a, b, c); !slices.Equal(got, []int{10, 11, 11}) {
		t.Errorf("three hold %v", got)
	}
	before := a.Held("relay")
	for range 3 {
		a.beats()
		b.beats()
		c.beats()
	}
	if after := a.Held("relay"); !sameLeases(before, after) {
		t.Errorf("at rest its leases changed from %v to %v", before, after)
	}
	if n := len(a.Held("sweeper")) + len(b.Held("sweeper")) + len(c.Held("sweeper")); n != 1 {
		t.Errorf("%d hold the only lease of another role", n)
	}
	b.release()
	b.holds(0, "relay")
	a.beats()
	c.beats()
	a.beats()
	if got := partition(t, "relay", a, c); !slices.Equal(got, []int{16, 16}) {
		t.Errorf("the two that are left hold %v at once", got)
	}
}

func sameLeases(a, b []Lease) bool {
	order := func(a, b Lease) int { return int(a.Shard) - int(b.Shard) }
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.Equal(a, b)
}

// Three that run and of which one is lost and one leaves, in real time.
func TestLeasesOfALostInstanceAreTakenOver(t *testing.T) {
	s := open(t)
	const ttl = time.Second
	run := func(i *instance) (lose func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- i.Run(ctx) }()
		lose = func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
		}
		return lose
	}
	a, b, c := newInstance(t, s, ttl), newInstance(t, s, ttl), newInstance(t, s, ttl)
	loseA, loseB, loseC := run(a), run(b), run(c)
	held := func(i *instance) int { return len(i.Held("relay")) }
	eventually(t, "three share", func() bool {
		return held(a) >= 10 && held(b) >= 10 && held(c) >= 10 && held(a)+held(b)+held(c) == Shards
	})
	epochs := map[int16]int64{}
	for _, lease := range a.Held("relay") {
		epochs[lease.Shard] = lease.Epoch
	}
	loseA()
	lost := time.Now()
	eventually(t, "the lost one's leases ran out", func() bool { return held(a) == 0 })
	eventually(t, "two share", func() bool { return held(b) == 16 && held(c) == 16 })
	if took := time.Since(lost); took < ttl/4 {
		t.Errorf("they were taken over after %v, before they ran out", took)
	}
	for _, lease := range append(b.Held("relay"), c.Held("relay")...) {
		if before, ok := epochs[lease.Shard]; ok && lease.Epoch <= before {
			t.Errorf("the epoch of shard %d is %d, the lost one's was %d", lease.Shard, lease.Epoch, before)
		}
	}
	loseB()
	b.release()
	eventually(t, "the last has all", func() bool { return held(c) == Shards })
	loseC()
}

func TestEpochFencesCheckpoints(t *testing.T) {
	s := open(t)
	a, b := newInstance(t, s, time.Minute), newInstance(t, s, time.Minute)
	a.beats()
	checkpoint := func(leases []Lease, pos int64) int {
		leases = slices.Clone(leases)
		for i := range leases {
			leases[i].Pos = pos
		}
		return len(must[[]int16](t)(s.Checkpoint(t.Context(), "relay", leases)))
	}
	old := a.Held("relay")
	if n := checkpoint(old, 10); n != Shards {
		t.Errorf("the owner moved %d", n)
	}
	if n := checkpoint(old, 10); n != 0 {
		t.Errorf("the owner moved %d to where they are", n)
	}
	if n := checkpoint(old, 9); n != 0 {
		t.Errorf("the owner moved %d back", n)
	}
	if moved := must[[]int16](t)(s.Checkpoint(t.Context(), "relay", nil)); len(moved) != 0 {
		t.Errorf("without leases it moved %v", moved)
	}
	s.exec(t, "update lease set expires_at = '-infinity'; update instance set expires_at = '-infinity'") // a is suspended, past its time
	b.beats()
	if n := checkpoint(old, 11); n != 0 {
		t.Errorf("the old owner moved %d", n)
	}
	b.holds(Shards, "relay")
	for _, lease := range b.Held("relay") {
		if lease.Pos != 10 || lease.Epoch != 2 {
			t.Fatalf("the new owner has %+v", lease)
		}
	}
	if n := checkpoint(b.Held("relay"), 11); n != Shards {
		t.Errorf("the new owner moved %d", n)
	}
	a.beats()
	a.holds(0, "relay")
	for _, cursor := range must[[]Cursor](t)(s.Checkpoints(t.Context(), "relay")) {
		if cursor.Pos != 11 {
			t.Errorf("the checkpoint of shard %d is %d", cursor.Shard, cursor.Pos)
		}
	}
	if none := must[[]Cursor](t)(s.Checkpoints(t.Context(), "nobody")); len(none) != 0 {
		t.Errorf("a role that isn't there has checkpoints %v", none)
	}
}

// A beat while a checkpoint is being written waits for it; it must not take the lease for lost.
func TestACheckpointDoesNotCostTheLease(t *testing.T) {
	s := open(t)
	a := newInstance(t, s, time.Minute)
	a.beats()
	changed := a.Changed()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "update lease set pos = pos + 1 where role = 'relay' and shard = 5"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); a.beats() }()
	eventually(t, "the beat waits or is done", func() bool {
		select {
		case <-done:
			return true
		default:
			return one[int](t, s, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1
		}
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
	a.holds(Shards, "relay")
	select {
	case <-changed:
		t.Error("the set of leases changed")
	default:
	}
}

func TestChangedFires(t *testing.T) {
	s := open(t)
	a, b := newInstance(t, s, time.Minute), newInstance(t, s, time.Minute)
	fires := func(why string, want bool, do func()) {
		t.Helper()
		c := a.Changed()
		do()
		select {
		case <-c:
			if !want {
				t.Errorf("it fired when %s", why)
			}
		default:
			if want {
				t.Errorf("it didn't fire when %s", why)
			}
		}
	}
	fires("leases were taken", true, a.beats)
	fires("they were kept", false, a.beats)
	fires("another came", false, b.beats)
	fires("some were given back", true, a.beats)
	fires("positions moved", false, func() { s.exec(t, "update lease set pos = 77"); a.beats() })
	if held := a.Held("relay"); held[0].Pos != 77 {
		t.Errorf("the position is %d, want 77", held[0].Pos)
	}
	fires("they had run out and were taken again", true, func() { s.exec(t, "update lease set expires_at = '-infinity'"); a.beats() })
	fires("all were released", true, a.release)
}

func TestHeldIsTheCallersOwn(t *testing.T) {
	a := newInstance(t, open(t), time.Minute)
	a.beats()
	a.Held("relay")[0].Pos = 99
	if got := a.Held("relay")[0].Pos; got != 0 {
		t.Errorf("a reader changed the position to %d", got)
	}
	if got := a.Held("nobody"); len(got) != 0 {
		t.Errorf("of an unknown role it holds %v", got)
	}
}

func TestLongLostInstancesAreForgotten(t *testing.T) {
	s := open(t)
	s.exec(t, "insert into instance values ('lost', now() - interval '2 days'), ('lately', now() - interval '1 hour')")
	newInstance(t, s, time.Minute).beats()
	if n := one[int](t, s, "select count(*) from instance where id in ('lost', 'lately')"); n != 1 {
		t.Errorf("%d are left of the two", n)
	}
}

func TestLeasesConfigValidate(t *testing.T) {
	for ttl, good := range map[time.Duration]bool{0: false, 999 * time.Millisecond: false, time.Second: true, time.Minute: true, time.Minute + 1: false} {
		if err := (LeasesConfig{TTL: ttl}).Validate(); (err == nil) != good {
			t.Errorf("a time to live of %v gave %v", ttl, err)
		}
	}
	if a, b := NewLeases(nil, LeasesConfig{}, nil), NewLeases(nil, LeasesConfig{}, nil); a.owner == b.owner || a.owner == "" || uuid.Validate(a.owner[1:]) != nil {
		t.Errorf("two owners are %q and %q", a.owner, b.owner)
	}
}

// fixed is an instance with an id of its own; one that beats no more is as good as killed.
func fixed(t *testing.T, s *Store, id string, log *slog.Logger) *instance {
	c := LeasesConfig{InstanceID: id, Fixed: true, TTL: time.Minute, Roles: map[string]int{"relay": Shards, "sweeper": 1}}
	return &instance{NewLeases(s, c, log), t}
}

func TestAnInstanceWithAFixedIDTakesItsLeasesOverAtOnce(t *testing.T) {
	s := open(t)
	quiet := slog.New(slog.DiscardHandler)
	a, b := fixed(t, s, "a", quiet), fixed(t, s, "b", quiet)
	for range 2 {
		a.beats()
		b.beats()
	}
	if got := partition(t, "relay", a, b); !slices.Equal(got, []int{16, 16}) {
		t.Fatalf("two hold %v", got)
	}
	before := a.Held("relay") // and now a is killed
	again := fixed(t, s, "a", quiet)
	again.beats()
	if got := partition(t, "relay", again, b); !slices.Equal(got, []int{16, 16}) {
		t.Errorf("after its first beat it and the other hold %v", got)
	}
	again.beats()
	b.beats()
	if got := partition(t, "relay", again, b); !slices.Equal(got, []int{16, 16}) {
		t.Errorf("the dead one counts: the two hold %v", got)
	}
	for i := range before {
		before[i].Pos = 100
	}
	if moved := must[[]int16](t)(s.Checkpoint(t.Context(), "relay", before)); len(moved) != 0 {
		t.Errorf("the process before moves the checkpoints of %v", moved)
	}
	c := fixed(t, s, "c", quiet)
	c.beats()
	c.holds(0, "relay") // nobody else's are free
}

func TestALeaseOfAnInstanceWithoutAFixedIDRunsOut(t *testing.T) {
	s := open(t)
	a, b := newInstance(t, s, time.Minute), newInstance(t, s, time.Minute)
	a.beats()
	b.beats()
	b.holds(0, "relay")
}

func TestTwoProcessesWithOneFixedIDShareTheWorkAndSaySo(t *testing.T) {
	s := open(t)
	var said, quiet strings.Builder
	a := fixed(t, s, "a", slog.New(slog.NewTextHandler(&said, nil)))
	b := fixed(t, s, "a", slog.New(slog.NewTextHandler(&quiet, nil)))
	a.beats()
	b.beats()
	a.beats()
	b.beats()
	a.beats()
	if got := partition(t, "relay", a, b); !slices.Equal(got, []int{16, 16}) {
		t.Errorf("the two hold %v", got)
	}
	for _, log := range []*strings.Builder{&said, &quiet} {
		if n := strings.Count(log.String(), "another process is running with the INSTANCE_ID of this one"); n != 1 {
			t.Errorf("it was said %d times: %s", n, log)
		}
	}
}
