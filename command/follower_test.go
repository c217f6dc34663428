package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// shakyLog fails while it is down.
type shakyLog struct {
	*fakeLog
	down atomic.Bool
}

func (l *shakyLog) InventoryTail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error) {
	if l.down.Load() {
		return nil, errors.New("nobody there")
	}
	return l.fakeLog.InventoryTail(ctx, cursors, limit)
}

// Ensure that every instance is told of what the log takes in after its start, in order, once, and also
// of what came while the log couldn't be read.
func TestEveryInstanceFollowsTheInventoryEventsOfTheLog(t *testing.T) {
	l := &shakyLog{fakeLog: newFakeLog()}
	p := id(productX)
	l.note(t, p) // before the start
	told := [2]*listener{newListener(), newListener()}
	begun := make(chan struct{}, len(told))
	for _, to := range told {
		f := NewInventoryFollower(begins{l, begun}, nil, func(e InventoryEvent) { _ = to.announce(t.Context(), e) }, quiet)
		f.poll = time.Millisecond
		run(t, f.Run)
	}
	for range told {
		<-begun
	}
	var want []uuid.UUID
	note := func() {
		l.append(t, p, uuid.New(), 0, reserved(1), product.Origin{})
		want = append(want, l.note(t, p))
	}
	for range 2*followPage + 1 {
		note()
	}
	l.down.Store(true)
	note()
	l.down.Store(false)
	for _, to := range told {
		eventually(t, "all events, in order", func() bool { return slices.Equal(to.heard(), want) })
	}
}

// begins says when a follower knows where it begins.
type begins struct {
	InventoryLog
	begun chan struct{}
}

func (l begins) Positions(ctx context.Context) ([eventstore.Shards]int64, error) {
	tips, err := l.InventoryLog.Positions(ctx)
	l.begun <- struct{}{}
	return tips, err
}

// Ensure that an eventId that came before with another content is a dead letter and nothing else: it
// isn't passed on, and not in the log, so that no instance and no webhook hears of it. The same event
// again is passed on again, as after a crash.
func TestAnInventoryEventIDWithAnotherContentChangesNothing(t *testing.T) {
	store := openStore(t)
	w := startWriter(t, store, quick)
	c := kafkaConfig(t)
	variant, event := uuid.New(), uuid.New()
	p := uuid.New()
	tell(t, w, uuid.New(), p, product.Create{Name: "A", Variants: []product.Variant{{ID: variant, SKU: p.String(), Name: "v"}}})
	passed := make(chan InventoryEvent, 10)
	_, _ = startConsumer(t, c, w, store, Inventory{OnEvent: func(_ context.Context, e InventoryEvent) { passed <- e }})
	body := func(kind, rest string) string {
		return `{"eventId":"` + event.String() + `","type":"` + kind + `","timestamp":"2026-11-23T12:00:00Z","productVariantId":"` + variant.String() + `"` + rest + `}`
	}
	first, other := body("InventoryOutOfStockEvent", ""), body("InventoryBackInStockEvent", `,"availableQuantity":5`)
	for _, b := range []string{first, other, first} { // one by one: they are of one key
		produce(t, c, send(c, TopicInventoryEvents, variant.String(), b))
	}
	letter := readTopic(t, c, TopicInventoryEvents+deadLetterSuffix).await(t, 1)[0]
	if string(letter.Value) != other || header(letter, headerReason) != ReasonConflict || !strings.Contains(header(letter, headerError), event.String()) {
		t.Errorf("the letter is %s: %s, %s", letter.Value, header(letter, headerReason), header(letter, headerError))
	}
	if l := letterOf(letter); l.Refusal() == "" {
		t.Error("the letter can be replayed")
	}
	eventually(t, "all three are settled", func() bool { return committed(t, c, TopicInventoryEvents) == 3 })
	for range 2 {
		if e := <-passed; e.ID != event || e.Type != "InventoryOutOfStockEvent" {
			t.Errorf("passed on %+v", e)
		}
	}
	if len(passed) != 0 {
		t.Errorf("passed on %+v", <-passed)
	}
	var cursors []eventstore.Cursor
	for shard := range int16(eventstore.Shards) {
		cursors = append(cursors, eventstore.Cursor{Shard: shard})
	}
	records, err := store.InventoryTail(t.Context(), cursors, 100)
	if err != nil || len(records) != 1 {
		t.Fatalf("the log has %d inventory events: %v", len(records), err)
	}
	if e, err := inventoryEventOf(records[0]); err != nil || e.Type != "InventoryOutOfStockEvent" {
		t.Errorf("the log has %+v: %v", e, err)
	}
}
