package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// fakeWriter takes requests and settles each as the test says.
type fakeWriter struct {
	answer func(*Request) (Answer, bool) // false: not yet; nil: everything at once
	mu     sync.Mutex
	taken  []*Request
	held   []*Request
}

func (w *fakeWriter) Submit(ctx context.Context, r *Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	w.taken = append(w.taken, r)
	a, now := Answer{}, true
	if w.answer != nil {
		if a, now = w.answer(r); !now {
			w.held = append(w.held, r)
		}
	}
	w.mu.Unlock()
	if now {
		go r.Settle(a)
	}
	return nil
}

func (w *fakeWriter) requests() []*Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.taken)
}

// settleHeld settles what was held, the newest first.
func (w *fakeWriter) settleHeld() {
	w.mu.Lock()
	held := w.held
	w.held, w.answer = nil, nil
	w.mu.Unlock()
	for _, r := range slices.Backward(held) {
		r.Settle(Answer{})
	}
}

type knownVariants map[uuid.UUID]uuid.UUID

func (k knownVariants) VariantsByID(_ context.Context, ids []uuid.UUID) (found []eventstore.Variant, _ error) {
	for _, v := range ids {
		if p, ok := k[v]; ok {
			found = append(found, eventstore.Variant{VariantID: v, ProductID: p})
		}
	}
	return found, nil
}

// decodeInventory stands for the Inventory Service's own reading of its events.
func decodeInventory(body []byte, ceType string) (InventoryEvent, error) {
	var b struct {
		EventID, ProductVariantID uuid.UUID
		Type                      string
		Timestamp                 time.Time
		AvailableQuantity         *int64
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return InventoryEvent{}, fmt.Errorf("not an inventory event: %w", err)
	}
	if b.Type == "" {
		b.Type = ceType
	}
	return InventoryEvent{ID: b.EventID, VariantID: b.ProductVariantID, Type: b.Type, Timestamp: b.Timestamp, Available: b.AvailableQuantity}, nil
}

func startConsumer(t testing.TB, c Config, w Submitter, v VariantFinder, i Inventory) (*Consumer, func()) {
	t.Helper()
	i.Decode = decodeInventory
	consumer, err := NewConsumer(c, w, v, i, testMetrics(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return consumer, run(t, consumer.Run)
}

func headersOf(m *sarama.ConsumerMessage) map[string]string {
	all := map[string]string{}
	for _, h := range m.Headers {
		all[string(h.Key)] = string(h.Value)
	}
	return all
}

func TestMessagesReachTheWriterAndAreCommittedOnceSettled(t *testing.T) {
	c := kafkaConfig(t)
	first := uuid.NewString()
	w := &fakeWriter{answer: func(r *Request) (Answer, bool) { return Answer{}, r.ID.String() != first }}
	consumer, stop := startConsumer(t, c, w, nil, Inventory{})
	messages := []*sarama.ProducerMessage{send(c, TopicRequestStock, productX, request("commandId", `"`+first+`"`))}
	for range 199 {
		messages = append(messages, send(c, TopicRequestStock, productX, request("commandId", `"`+uuid.NewString()+`"`)))
	}
	produce(t, c, messages...)
	eventually(t, "all requests at the writer", func() bool { return len(w.requests()) == 200 })
	if !consumer.Ready() {
		t.Error("it consumes and isn't ready")
	}
	produce(t, c, send(c, TopicReleaseStock, productX, releaseOf()))
	eventually(t, "the release committed", func() bool { return committed(t, c, TopicReleaseStock) == 1 })
	if n := committed(t, c, TopicRequestStock); n != 0 {
		t.Errorf("%d messages are committed, and the first is not settled", n)
	}
	w.settleHeld()
	eventually(t, "all requests committed", func() bool { return committed(t, c, TopicRequestStock) == 200 })
	stop()
	if consumer.Ready() {
		t.Error("it has stopped and is ready")
	}
}

func TestStoppingWaitsForWhatIsUnderWay(t *testing.T) {
	c := kafkaConfig(t)
	w := &fakeWriter{answer: func(*Request) (Answer, bool) { return Answer{}, false }}
	_, stop := startConsumer(t, c, w, nil, Inventory{})
	produce(t, c, send(c, TopicRequestStock, productX, request()))
	eventually(t, "the message at the writer", func() bool { return len(w.requests()) == 1 })
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("it stopped before its command was settled")
	case <-time.After(200 * time.Millisecond): // long enough to be noticed
	}
	w.settleHeld()
	<-stopped
	if n := committed(t, c, TopicRequestStock); n != 1 {
		t.Errorf("%d messages committed, want 1", n)
	}
}

func TestWhatCannotBeExecutedBecomesADeadLetter(t *testing.T) {
	c := kafkaConfig(t)
	failing := uuid.NewString()
	w := &fakeWriter{answer: func(r *Request) (Answer, bool) {
		if r.ID.String() == failing {
			return Answer{Err: errors.New("value out of range")}, true
		}
		return Answer{}, true
	}}
	_, _ = startConsumer(t, c, w, knownVariants{}, Inventory{})
	old := send(c, TopicRequestStock, "k-old", request())
	old.Timestamp = time.Now().Add(-721 * time.Hour)
	unreadable := send(c, TopicRequestStock, "k-unreadable", "\x00not a command\xff", "correlation-id", "c-1", "dlq-reason", "FORGED")
	nothing := &sarama.ProducerMessage{Topic: c.topic(TopicRequestStock)}
	produce(t, c, old, unreadable, nothing,
		send(c, TopicRequestStock, "k-invalid", request("quantity", "-2")),
		send(c, TopicRequestStock, "k-failed", request("commandId", `"`+failing+`"`)),
		send(c, TopicReleaseStock, "k-release", releaseOf("quantity", "0")),
		send(c, TopicInventoryEvents, "k-event", "{"))
	letters := map[string]*sarama.ConsumerMessage{}
	for _, m := range readTopic(t, c, TopicRequestStock+deadLetterSuffix).await(t, 5) {
		letters[string(m.Key)] = m
	}
	letters["k-release"] = readTopic(t, c, TopicReleaseStock+deadLetterSuffix).await(t, 1)[0]
	letters["k-event"] = readTopic(t, c, TopicInventoryEvents+deadLetterSuffix).await(t, 1)[0]
	for _, l := range []struct{ key, topic, reason, body string }{
		{"k-old", TopicRequestStock, ReasonTooOld, request()},
		{"k-unreadable", TopicRequestStock, ReasonUnreadable, "\x00not a command\xff"},
		{"", TopicRequestStock, ReasonUnreadable, ""},
		{"k-invalid", TopicRequestStock, ReasonInvalidCommand, request("quantity", "-2")},
		{"k-failed", TopicRequestStock, ReasonFailed, request("commandId", `"`+failing+`"`)},
		{"k-release", TopicReleaseStock, ReasonInvalidCommand, releaseOf("quantity", "0")},
		{"k-event", TopicInventoryEvents, ReasonUnreadable, "{"},
	} {
		m := letters[l.key]
		if m == nil || string(m.Value) != l.body {
			t.Fatalf("letter %q: %+v", l.key, m)
		}
		h := headersOf(m)
		if h["dlq-reason"] != l.reason || h["dlq-topic"] != c.topic(l.topic) || h["dlq-error"] == "" {
			t.Errorf("letter %q has headers %v", l.key, h)
		}
		if _, err := time.Parse(time.RFC3339, h["dlq-time"]); err != nil {
			t.Error(err)
		}
		if p, err := strconv.Atoi(h["dlq-partition"]); err != nil || p < 0 || p > 3 || h["dlq-offset"] == "" {
			t.Errorf("letter %q has headers %v", l.key, h)
		}
	}
	if h := headersOf(letters["k-unreadable"]); h["correlation-id"] != "c-1" || len(letters["k-unreadable"].Headers) != 8 {
		t.Errorf("headers of the original: %v", h)
	}
	if m := letters[""]; m.Key != nil || m.Value != nil {
		t.Errorf("no key became %q, no value %q", m.Key, m.Value)
	}
	eventually(t, "all offsets committed", func() bool {
		return committed(t, c, TopicRequestStock) == 5 && committed(t, c, TopicReleaseStock) == 1 && committed(t, c, TopicInventoryEvents) == 1
	})
	var refused []product.Command
	for _, r := range w.requests() {
		if r.ID.String() != failing {
			refused = append(refused, r.Command)
		}
	}
	if len(refused) != 1 || refused[0] != (product.Refuse{ReservationID: id(reservationX), SagaID: "saga-7"}) {
		t.Errorf("submitted %+v, want the refusal of the faulty request alone", refused)
	}
}

// unwilling fails to take a request at all.
type unwilling struct{ fakeWriter }

func (w *unwilling) Submit(ctx context.Context, r *Request) error {
	if r.ID.String() == commandX {
		return errors.New("it can't be encoded")
	}
	return w.fakeWriter.Submit(ctx, r)
}

func TestACommandThatTheWriterDoesNotTakeStopsNothing(t *testing.T) {
	c := kafkaConfig(t)
	w := &unwilling{}
	_, _ = startConsumer(t, c, w, nil, Inventory{})
	produce(t, c, send(c, TopicRequestStock, productX, request()), send(c, TopicRequestStock, productX, request("commandId", `"`+uuid.NewString()+`"`)))
	eventually(t, "both committed", func() bool { return committed(t, c, TopicRequestStock) == 2 })
	if h := headersOf(readTopic(t, c, TopicRequestStock+deadLetterSuffix).await(t, 1)[0]); h["dlq-reason"] != ReasonFailed || len(w.requests()) != 1 {
		t.Errorf("%v and %d requests", h, len(w.requests()))
	}
}

func TestALetterLargerThanItsTopicTakesLeavesItsBodyBehind(t *testing.T) {
	c := kafkaConfig(t)
	d := newDeadLetters(c, testMetrics(), quiet, time.Now)
	refusing := refusingProducer{largest: 1000}
	d.connect = func() (sarama.SyncProducer, error) { return &refusing, nil }
	run(t, func(ctx context.Context) error { d.run(ctx); return nil })
	settled := make(chan int, 3)
	for i, size := range []int{10, 5000, 20} {
		d.queue.put(letter{message: &sarama.ConsumerMessage{Topic: "t", Offset: int64(i), Value: make([]byte, size)}, reason: ReasonUnreadable, why: "x",
			settle: func() { settled <- i }})
	}
	for range 3 {
		<-settled
	}
	if len(refusing.sent) != 3 {
		t.Fatalf("%d letters were sent", len(refusing.sent))
	}
	for _, m := range refusing.sent {
		omitted := ""
		for _, h := range m.Headers {
			if string(h.Key) == headerOmitted {
				omitted = string(h.Value)
			}
		}
		if (m.Value == nil) != (omitted == "5000") {
			t.Errorf("value %v, omitted %q", m.Value, omitted)
		}
	}
}

// refusingProducer refuses a batch that has a message larger than it takes, as a broker does: the
// whole batch.
type refusingProducer struct {
	sarama.SyncProducer
	largest int
	sent    []*sarama.ProducerMessage
}

func (p *refusingProducer) Close() error { return nil }

func (p *refusingProducer) SendMessages(messages []*sarama.ProducerMessage) error {
	var errs sarama.ProducerErrors
	for _, m := range messages {
		if m.Value != nil && m.Value.Length() > p.largest {
			for _, m := range messages {
				errs = append(errs, &sarama.ProducerError{Msg: m, Err: sarama.ErrMessageSizeTooLarge})
			}
			return errs
		}
	}
	p.sent = append(p.sent, messages...)
	return nil
}

func TestDeadLettersAreTriedUntilTheyAreIn(t *testing.T) {
	c := kafkaConfig(t)
	d := newDeadLetters(c, testMetrics(), quiet, time.Now)
	connect, attempts := d.connect, 0
	d.connect = func() (sarama.SyncProducer, error) {
		if attempts++; attempts < 4 {
			return nil, errors.New("nobody there")
		}
		return connect()
	}
	run(t, func(ctx context.Context) error { d.run(ctx); return nil })
	settled := make(chan struct{})
	d.queue.put(letter{message: &sarama.ConsumerMessage{Topic: c.topic(TopicRequestStock), Value: []byte("x")}, reason: ReasonUnreadable, why: "x",
		settle: func() { close(settled) }})
	<-settled
	readTopic(t, c, TopicRequestStock+deadLetterSuffix).await(t, 1)
}

func TestInventoryEventsAreNotedAndPassedOn(t *testing.T) {
	c := kafkaConfig(t)
	variant, stranger, event := uuid.New(), uuid.New(), uuid.New()
	w := &fakeWriter{}
	events := make(chan InventoryEvent, 10)
	_, _ = startConsumer(t, c, w, knownVariants{variant: id(productX)}, Inventory{OnEvent: func(_ context.Context, e InventoryEvent) { events <- e }})
	produce(t, c,
		send(c, TopicInventoryEvents, stranger.String(), `{"eventId":"`+uuid.NewString()+`","type":"InventoryOutOfStockEvent","productVariantId":"`+stranger.String()+`"}`),
		send(c, TopicInventoryEvents, variant.String(), `{"eventId":"`+event.String()+`","timestamp":"2026-11-23T12:00:00Z","productVariantId":"`+variant.String()+`","availableQuantity":4}`,
			"ce_type", "InventoryLowStockEvent"))
	e := <-events
	if e.ID != event || e.VariantID != variant || e.Type != "InventoryLowStockEvent" || *e.Available != 4 {
		t.Errorf("passed on %+v", e)
	}
	eventually(t, "both committed", func() bool { return committed(t, c, TopicInventoryEvents) == 2 })
	requests := w.requests()
	if len(requests) != 1 || requests[0].ID != event || requests[0].ProductID != id(productX) || len(events) != 0 {
		t.Fatalf("submitted %+v", requests)
	}
	note := requests[0].Command.(product.NoteInventoryChange)
	if note.VariantID != variant || note.Type != "InventoryLowStockEvent" || *note.AvailableQuantity != 4 {
		t.Errorf("noted %+v", note)
	}
}
