package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// world is a source of numbers that only grow, to be followed.
type world struct {
	mu      sync.Mutex
	values  map[uuid.UUID]int
	watched map[uuid.UUID]int
	reads   [][]uuid.UUID
	fail    error
	hold    chan struct{} // nil: reads return at once
}

func newWorld() *world {
	return &world{values: map[uuid.UUID]int{}, watched: map[uuid.UUID]int{}}
}

func (w *world) set(id uuid.UUID, v int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.values[id] = v
}

func (w *world) read(_ context.Context, ids []uuid.UUID) (map[uuid.UUID]int, error) {
	w.mu.Lock()
	w.reads = append(w.reads, slices.Clone(ids))
	found := map[uuid.UUID]int{}
	for _, id := range ids {
		if v, ok := w.values[id]; ok {
			found[id] = v
		}
	}
	hold, err := w.hold, w.fail
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (w *world) watch(id uuid.UUID) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched[id]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.watched[id]--; w.watched[id] == 0 {
			delete(w.watched, id)
		}
	}
}

func (w *world) readCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.reads)
}

// start runs a topic over the world until the test ends.
func (w *world) start(t *testing.T, interval time.Duration) *Topic[int] {
	t.Helper()
	topic := NewTopic(Source[int]{Name: "numbers", Read: w.read, Replaces: func(a, b int) bool { return a > b }, Watch: w.watch}, interval, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- topic.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the topic ended with %v", err)
		}
	})
	return topic
}

// client is a subscriber that takes what comes when it is told to.
type client struct {
	*Subscriber
	news chan struct{}
}

func follow(topic *Topic[int], key string, encoded *int, ids ...uuid.UUID) *client {
	c := &client{news: make(chan struct{}, 1)}
	c.Subscriber = topic.Subscribe(key, ids, func(v int) []byte {
		if encoded != nil {
			*encoded++
		}
		return fmt.Append(nil, v)
	}, func() {
		select {
		case c.news <- struct{}{}:
		default:
		}
	})
	return c
}

// take waits for the next value.
func (c *client) take(t *testing.T) string {
	t.Helper()
	patience := time.After(10 * time.Second)
	for {
		if v, ok := c.Next(); ok {
			return string(v)
		}
		select {
		case <-c.news:
		case <-patience:
			t.Fatal("no value came")
		}
	}
}

func TestSubscriberGetsThePresentValueAndThenChanges(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 1)
	topic := w.start(t, time.Millisecond)
	c := follow(topic, "k", nil, id)
	defer c.Leave()
	if got := c.take(t); got != "1" {
		t.Fatalf("the present value is %s", got)
	}
	w.set(id, 2)
	topic.Touch(id)
	if got := c.take(t); got != "2" {
		t.Fatalf("the change is %s", got)
	}
}

func TestWhatDoesNotExistYetComesWhenItDoes(t *testing.T) {
	w, id := newWorld(), uuid.New()
	topic := w.start(t, time.Millisecond)
	c := follow(topic, "k", nil, id)
	defer c.Leave()
	for w.readCount() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.set(id, 7)
	topic.TouchAll()
	if got := c.take(t); got != "7" {
		t.Fatalf("got %s", got)
	}
}

// A client that takes nothing for a while gets the latest value of each id, once.
func TestSlowSubscriberGetsTheLatest(t *testing.T) {
	w, a, b := newWorld(), uuid.New(), uuid.New()
	w.set(a, 1)
	w.set(b, 1000)
	topic := w.start(t, time.Millisecond)
	slow, quick := follow(topic, "k", nil, a, b), follow(topic, "k", nil, a)
	defer slow.Leave()
	defer quick.Leave()
	first := []string{slow.take(t), slow.take(t)}
	slices.Sort(first)
	if !slices.Equal(first, []string{"1", "1000"}) {
		t.Fatalf("the present values are %v", first)
	}
	for v := 2; v <= 50; v++ {
		w.set(a, v)
		topic.Touch(a)
		for got := quick.take(t); got != fmt.Sprint(v); got = quick.take(t) {
		}
	}
	if got := slow.take(t); got != "50" {
		t.Errorf("the slow client gets %s, the latest is 50", got)
	}
	if got, more := slow.Next(); more {
		t.Errorf("after the latest it gets %s too", got)
	}
}

// What is read out of order isn't sent out of order.
func TestNothingOlderFollows(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 5)
	topic := w.start(t, time.Millisecond)
	c := follow(topic, "k", nil, id)
	defer c.Leave()
	if got := c.take(t); got != "5" {
		t.Fatalf("got %s", got)
	}
	w.set(id, 4)
	before := w.readCount()
	topic.Touch(id)
	for w.readCount() == before {
		time.Sleep(time.Millisecond)
	}
	late := follow(topic, "k", nil, id) // it gets the value that is known, and not the older one that is read
	defer late.Leave()
	if got := late.take(t); got != "5" {
		t.Errorf("a later client begins with %s", got)
	}
	if got, more := c.Next(); more {
		t.Errorf("the client gets %s after 5", got)
	}
}

// The present value is one read after the client began to follow, whatever read was under way.
func TestPresentValueIsReadAfterTheSubscription(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 1)
	w.hold = make(chan struct{})
	topic := w.start(t, time.Millisecond)
	first := follow(topic, "k", nil, id)
	defer first.Leave()
	for w.readCount() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.set(id, 2) // the read under way has found 1
	second := follow(topic, "k", nil, id)
	defer second.Leave()
	close(w.hold)
	if got := second.take(t); got != "2" {
		t.Errorf("the second client begins with %s", got)
	}
}

// However many clients follow the same in the same way, a value is encoded once, and read once.
// The read that a subscription asks for finds the subscriber, also where others are being told of a value at that very moment.
func TestSubscriberOfABusyStreamGetsThePresentValue(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 0)
	topic := w.start(t, time.Nanosecond)
	encoding, encoded := make(chan struct{}), make(chan struct{})
	first := topic.Subscribe("k", []uuid.UUID{id}, func(v int) []byte { // which all of the stream have their values by
		encoding <- struct{}{}
		<-encoded
		return fmt.Append(nil, v)
	}, func() {})
	defer first.Leave()
	encode := func() { <-encoding; encoded <- struct{}{} }
	encode()
	for v := range 1000 {
		w.set(id, v+1)
		topic.Touch(id)
		<-encoding
		joined := make(chan *client)
		go func() { joined <- follow(topic, "k", nil, id) }()
		runtime.Gosched() // it may come to wait for the stream
		encoded <- struct{}{}
		var c *client
		for c == nil {
			select {
			case c = <-joined:
			case <-encoding: // its present value
				encoded <- struct{}{}
			}
		}
		patience := time.After(10 * time.Second)
		for _, ok := c.Next(); !ok; _, ok = c.Next() {
			select {
			case <-c.news:
			case <-encoding:
				encoded <- struct{}{}
			case <-patience:
				t.Fatal("no value came")
			}
		}
		c.Leave()
	}
}

func TestClientsOfOneKeyShare(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 1)
	topic := w.start(t, time.Millisecond)
	encoded := 0
	clients := make([]*client, 200)
	for i := range clients {
		clients[i] = follow(topic, "k", &encoded, id)
		defer clients[i].Leave()
	}
	for _, c := range clients {
		c.take(t)
	}
	reads, before := w.readCount(), encoded
	w.set(id, 2)
	topic.Touch(id)
	for _, c := range clients {
		if got := c.take(t); got != "2" {
			t.Fatalf("got %s", got)
		}
	}
	if w.readCount() != reads+1 || encoded != before+1 {
		t.Errorf("one change was read %d times and encoded %d times", w.readCount()-reads, encoded-before)
	}
}

func TestChangesAreReadOnceAnInterval(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 1)
	const interval = 50 * time.Millisecond
	topic := w.start(t, interval)
	c := follow(topic, "k", nil, id)
	defer c.Leave()
	c.take(t)
	before, began := w.readCount(), time.Now()
	for v := 2; time.Since(began) < 10*interval; v++ {
		w.set(id, v)
		topic.Touch(id)
		time.Sleep(time.Millisecond)
	}
	if reads, most := w.readCount()-before, int(time.Since(began)/interval)+2; reads < 2 || reads > most {
		t.Errorf("in %s there were %d reads; at most %d are due", time.Since(began), reads, most)
	}
}

func TestFailedReadIsRepeated(t *testing.T) {
	w, id := newWorld(), uuid.New()
	w.set(id, 1)
	w.fail = errors.New("away")
	topic := w.start(t, time.Millisecond)
	c := follow(topic, "k", nil, id, uuid.New())
	defer c.Leave()
	for w.readCount() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.mu.Lock()
	w.fail = nil
	w.mu.Unlock()
	if got := c.take(t); got != "1" {
		t.Errorf("got %s", got)
	}
}

// What nobody follows any more is watched and held no longer.
func TestLeavingEndsTheWatch(t *testing.T) {
	w := newWorld()
	topic := w.start(t, time.Millisecond)
	a, b := uuid.New(), uuid.New()
	one, two, three := follow(topic, "x", nil, a, b), follow(topic, "x", nil, a, b), follow(topic, "y", nil, a)
	watched := func() []uuid.UUID {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Collect(maps.Keys(w.watched))
	}
	if got := watched(); len(got) != 2 {
		t.Fatalf("watched: %v", got)
	}
	one.Leave()
	one.Leave()
	two.Leave()
	if got := watched(); !slices.Equal(got, []uuid.UUID{a}) {
		t.Errorf("with one follower of %s left these are watched: %v", a, got)
	}
	three.Leave()
	if got := watched(); len(got) != 0 {
		t.Errorf("with nobody left these are watched: %v", got)
	}
	if topic.Touch(a, b); len(topic.Followed()) != 0 || len(topic.streams) != 0 {
		t.Errorf("with nobody left these are held: %v, %d streams", topic.Followed(), len(topic.streams))
	}
}

// More ids than one read takes, changing all at once, come all.
func TestManyIDsAreReadInParts(t *testing.T) {
	w := newWorld()
	topic := w.start(t, time.Millisecond)
	const clients, each = 12, 100
	for c := range clients {
		ids := make([]uuid.UUID, each)
		for i := range ids {
			ids[i] = uuid.New()
			w.set(ids[i], 1+c*each+i)
		}
		f := follow(topic, fmt.Sprint(c), nil, ids...)
		defer f.Leave()
		got := map[string]bool{}
		for range ids {
			got[f.take(t)] = true
		}
		if len(got) != each {
			t.Errorf("client %d got %d different values of %d", c, len(got), each)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ids := range w.reads {
		if len(ids) > maxRead {
			t.Errorf("a read asked for %d ids", len(ids))
		}
	}
}

// Clients that come and go while values change leave nothing behind, and see only what grows.
func TestConcurrentUse(t *testing.T) {
	w := newWorld()
	topic := w.start(t, time.Millisecond)
	ids := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		for v := 1; ctx.Err() == nil; v++ {
			for _, id := range ids {
				w.set(id, v)
			}
			topic.Touch(ids...)
			time.Sleep(100 * time.Microsecond)
		}
	})
	for n := range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				id := ids[n%len(ids)]
				c := follow(topic, id.String(), nil, id)
				last := 0
				for range 5 {
					select {
					case <-c.news:
					case <-ctx.Done():
					}
					if v, ok := c.Next(); ok {
						var now int
						if _, err := fmt.Sscan(string(v), &now); err != nil || now < last {
							t.Errorf("%s came after %d (%v)", v, last, err)
						}
						last = now
					}
				}
				c.Leave()
			}
		})
	}
	all.Wait()
	if len(topic.Followed()) != 0 {
		t.Errorf("still followed: %v", topic.Followed())
	}
}

func TestSetTakesTurns(t *testing.T) {
	var s set
	for _, i := range []int{0, 3, 63, 64, 100, 127} {
		s.add(i)
	}
	var got []int
	for from := 64; ; {
		at := s.pop(from)
		if at < 0 {
			break
		}
		got, from = append(got, at), (at+1)%MaxIDs
	}
	if want := []int{64, 100, 127, 0, 3, 63}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
