package read

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/product"
	"product-service/projection/projectiontest"
)

// ways are both ways to follow what other processes change: what the server can do itself, and what
// every server can.
func ways(t *testing.T, products int, test func(*testing.T, counting)) {
	for _, streams := range []bool{true, false} {
		t.Run(map[bool]string{true: "as the server can", false: "by the log"}[streams], func(t *testing.T) {
			c := elsewhere(t, products)
			c.store.Server.Streams = streams && c.store.Server.Streams
			test(t, c)
		})
	}
}

// unread says whether all reads are answered without MongoDB.
func unread(t *testing.T, c counting, r *Reader, id uuid.UUID) bool {
	t.Helper()
	before := c.reads.Load()
	for name, read := range keptReads(r, id) {
		if _, err := read(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return c.reads.Load() == before
}

// Ensure that what another process projects is kept, and that its changes show soon and in every read.
func TestWhatAnotherInstanceProjectsIsKept(t *testing.T) {
	ways(t, 5, func(t *testing.T, c counting) {
		c.follow(t)
		r, id := NewReader(c.store, nil), projectiontest.ID(0xaa, 0)
		for round := range 3 {
			projectiontest.Within(t, time.Minute, func() bool { return unread(t, c, r, id) })
			version := c.adjust(t, id)
			for name, read := range keptReads(r, id) {
				projectiontest.Within(t, time.Minute, func() bool {
					got, err := read(t.Context())
					return err == nil && got == version
				})
				if t.Failed() {
					t.Fatalf("round %d: %s", round, name)
				}
			}
		}
	})
}

// Ensure that a wait for a version that another process projects isn't answered from before it, nor
// is anything after it, although nobody has told of it.
func TestAWaitGoesThroughWhatIsKept(t *testing.T) {
	ways(t, 3, func(t *testing.T, c counting) {
		c.follow(t)
		r, id := NewReader(c.store, nil), projectiontest.ID(0xaa, 0)
		for range 20 {
			projectiontest.Within(t, time.Minute, func() bool { return unread(t, c, r, id) })
			version := c.adjust(t, id)
			if err := r.WaitFor(t.Context(), id, version); err != nil {
				t.Fatal(err)
			}
			for name, read := range keptReads(r, id) {
				if got, err := read(t.Context()); err != nil || got < version {
					t.Errorf("%s shows version %d, %v, after a wait for %d", name, got, err, version)
				}
			}
		}
	})
}

// Ensure that nothing is kept any more some time after changes were last followed, and that it is
// again when they are.
func TestNothingIsKeptUnheard(t *testing.T) {
	ways(t, 3, func(t *testing.T, c counting) {
		r, id := NewReader(c.store, nil), projectiontest.ID(0xaa, 0)
		for range 2 {
			stop := c.follow(t)
			projectiontest.Within(t, time.Minute, func() bool { return unread(t, c, r, id) })
			stop()
			version := c.adjust(t, id) // nobody is told
			for name, read := range keptReads(r, id) {
				if got, err := read(t.Context()); err != nil || got != version {
					t.Errorf("%s shows version %d, %v; want %d", name, got, err, version)
				}
			}
			if unread(t, c, r, id) {
				t.Error("something is kept of which no change would be heard")
			}
		}
	})
}

// Ensure that changes of other processes are asked for only while somebody reads.
func TestNobodyFollowsForReadersThatRest(t *testing.T) {
	c := elsewhere(t, 1)
	c.follow(t)
	r, id := NewReader(c.store, nil), projectiontest.ID(0xaa, 0)
	if _, heard := c.store.Heard(t.Context()); heard {
		t.Error("changes were followed before anybody read")
	}
	projectiontest.Within(t, time.Minute, func() bool { return unread(t, c, r, id) })
}

// Ensure that, whoever projects and however changes are heard, no read shows a product older than
// one that ended before it began; that what was waited for shows in every read; and that what was
// projected last shows in the end.
func TestNoReadGoesBack(t *testing.T) {
	t.Run("projected here", func(t *testing.T) {
		c := counted(t, 4)
		neverBack(t, c, func(id uuid.UUID) { c.adjust(t, id) })
	})
	ways(t, 4, func(t *testing.T, c counting) {
		c.follow(t)
		neverBack(t, c, func(id uuid.UUID) { c.adjust(t, id) })
	})
	t.Run("projected in turns", func(t *testing.T) {
		c := elsewhere(t, 4)
		c.follow(t)
		mine := &projectiontest.Leases{Of: []int16{}}
		here := project(t, c.store, c.log, mine)
		epoch, there := int64(1), c.projector
		neverBack(t, c, func(id uuid.UUID) {
			if rand.IntN(4) == 0 {
				epoch++
				if c.projector == there {
					c.projector = here
					mine.Take(epoch)
				} else {
					c.projector = there
					mine.Lose(0)
					c.leases.Take(epoch)
				}
			}
			c.adjust(t, id)
		})
	})
}

// neverBack reads all products all the time while they are changed in turns.
func neverBack(t *testing.T, c counting, change func(uuid.UUID)) {
	t.Helper()
	r := NewReader(c.store, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	failures := make(chan string, 100)
	ids := make([]uuid.UUID, 4)
	for n := range ids {
		ids[n] = projectiontest.ID(0xaa, n)
		var latest atomic.Int64
		for name, read := range keptReads(r, ids[n]) {
			readers.Go(func() {
				for ctx.Err() == nil {
					least := latest.Load()
					got, err := read(t.Context())
					if err != nil || got < least {
						select {
						case failures <- fmt.Sprintf("%s shows version %d after %d, %v", name, got, least, err):
						default:
						}
						return
					}
					for at := latest.Load(); got > at && !latest.CompareAndSwap(at, got); at = latest.Load() {
					}
				}
			})
		}
	}
	for range 40 {
		id := ids[rand.IntN(len(ids))]
		change(id)
		if rand.IntN(2) == 0 {
			continue
		}
		version := versionOf(c.log, id)
		if err := r.WaitFor(t.Context(), id, version); err != nil {
			t.Error(err)
		}
		for name, read := range keptReads(r, id) {
			if got, err := read(t.Context()); err != nil || got < version {
				t.Errorf("%s shows version %d after waiting for %d, %v", name, got, version, err)
			}
		}
	}
	for _, id := range ids {
		for name, read := range keptReads(r, id) {
			projectiontest.Within(t, time.Minute, func() bool {
				got, err := read(t.Context())
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return got == versionOf(c.log, id)
			})
		}
	}
	stop()
	readers.Wait()
	close(failures)
	for f := range failures {
		t.Error(f)
	}
}

// Ensure that a change of stock leaves lists that don't depend on it as they were read, with the
// products as they are now.
func TestAStockChangeLeavesLists(t *testing.T) {
	c := counted(t, 5)
	r, id := NewReader(c.store, nil), projectiontest.ID(0xaa, 1)
	few := int64(1)
	lists := []struct {
		name  string
		where ProductFilter
		order ProductOrder
		stock bool
	}{
		{"by creation", ProductFilter{}, ProductOrder{}, false},
		{"by name", ProductFilter{}, ProductOrder{Field: ByName, Descending: true}, false},
		{"of some ids", ProductFilter{IDs: []uuid.UUID{id}}, ProductOrder{}, false},
		{"by stock", ProductFilter{}, ProductOrder{Field: ByAvailable}, true},
		{"by update", ProductFilter{}, ProductOrder{Field: ByUpdatedAt}, true},
		{"of some stock", ProductFilter{AvailableGTE: &few}, ProductOrder{}, true},
	}
	read := func(n int) (version int64, listed int64) {
		t.Helper()
		before := c.lists.Load()
		page, err := r.Products(t.Context(), lists[n].where, lists[n].order, Range{First: 5, Count: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Edges {
			if e.Node.ID == id {
				version = e.Node.Version
			}
		}
		return version, c.lists.Load() - before
	}
	for n := range lists {
		read(n)
	}
	version := c.adjust(t, id)
	for n, l := range lists {
		got, listed := read(n)
		if got != version || (listed > 0) != l.stock {
			t.Errorf("%s: it shows version %d after %d lists were read; now it is %d", l.name, got, listed, version)
		}
	}
	name := "Another name"
	c.log.Do(id, time.Second, product.Update{Name: &name})
	if err := projectiontest.Drain(t.Context(), c.projector); err != nil {
		t.Fatal(err)
	}
	for n, l := range lists {
		if _, listed := read(n); listed == 0 {
			t.Errorf("%s: it is as it was before a product was renamed", l.name)
		}
	}
}

// Ensure that pages cut from what is known of a list are those that are read of it, and that a list
// isn't read for each of them.
func TestPagesOfAKnownOrder(t *testing.T) {
	c := counted(t, 30)
	r := NewReader(c.store, nil)
	unkept := projectiontest.Another(t, c.store)
	unkept.Config.ReadCache = 0
	plain := NewReader(unkept, nil)
	for _, order := range []ProductOrder{{}, {Descending: true}, {Field: ByName}, {Field: ByName, Descending: true}} {
		all, err := plain.Products(t.Context(), ProductFilter{}, order, Range{First: 100})
		if err != nil || len(all.Edges) != 30 {
			t.Fatalf("%d products, %v", len(all.Edges), err)
		}
		before := c.lists.Load()
		for range 20 {
			var page Range
			if size := 1 + rand.IntN(8); rand.IntN(2) == 0 {
				page.First = size
			} else {
				page.Last = size
			}
			if rand.IntN(3) > 0 {
				page.After = all.Edges[rand.IntN(30)].Cursor
			}
			if rand.IntN(3) > 0 {
				page.Before = all.Edges[rand.IntN(30)].Cursor
			}
			page.Count = rand.IntN(2) == 0
			got, err := r.Products(t.Context(), ProductFilter{}, order, page)
			if err != nil {
				t.Fatal(err)
			}
			want, err := plain.Products(t.Context(), ProductFilter{}, order, page)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %+v:\n%+v\nnot\n%+v", order, page, got, want)
			}
		}
		if n := c.lists.Load() - before; n > 8 { // where pages from both ends and from places between met what was unknown
			t.Errorf("%+v: the list was read %d times", order, n)
		}
	}
}
