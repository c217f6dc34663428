package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func TestOutcomesSayWhatTheContractSays(t *testing.T) {
	c := Config{TopicPrefix: "x-"}
	p, reservation, command := id(productX), id(reservationX), id(commandX)
	from := product.Origin{CorrelationID: "c-1", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	const at = "2026-11-23T12:00:00.000005Z"
	event := uuid.NewSHA1(command, []byte("outcome")).String()
	success := map[string]any{"eventId": event, "type": "ProductReserved", "productId": productX, "reservationId": reservationX, "sagaId": `sa"ga`,
		"quantity": 3., "stockTotal": 10., "reserved": 4., "available": 6., "streamVersion": 5., "commandId": commandX, "occurredAt": at}
	failure := map[string]any{"eventId": event, "type": "ProductReservationFailed", "productId": productX, "reservationId": reservationX, "sagaId": nil,
		"quantity": 3., "reason": "INSUFFICIENT_STOCK", "available": 2., "commandId": commandX, "occurredAt": at}
	conflict := map[string]any{"eventId": uuid.NewSHA1(command, []byte("00ff")).String(), "type": "ProductReservationFailed", "productId": productX, "reservationId": reservationX,
		"sagaId": "s", "quantity": 0., "reason": "INVALID_COMMAND", "available": 0., "commandId": commandX, "occurredAt": at}
	for _, x := range []struct {
		event   product.Event
		version int64
		topic   string
		want    map[string]any
	}{
		{product.Reserved{ReservationID: reservation, SagaID: `sa"ga`, Quantity: 3, StockTotal: 10, Reserved: 4}, 5, "x-product.reserved", success},
		{product.ReservationRenewed{ReservationID: reservation, SagaID: `sa"ga`, Quantity: 3, StockTotal: 10, Reserved: 4}, 5, "x-product.reserved", success},
		{product.ReservationConfirmed{ReservationID: reservation, SagaID: `sa"ga`, Quantity: 3, StockTotal: 10, Reserved: 4, StreamVersion: 5}, 0, "x-product.reserved", success},
		{product.ReservationFailed{ReservationID: reservation, Quantity: 3, Reason: product.InsufficientStock, Available: 2}, 0, "x-product.reservation_failed", failure},
		{product.ReservationFailed{ReservationID: reservation, SagaID: "s", Reason: product.InvalidCommand, Fingerprint: "00ff"}, 0, "x-product.reservation_failed", conflict},
	} {
		record := newFakeLog().append(t, p, command, x.version, x.event, from)
		o, ok, err := outcomeOf(record)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		m := o.message(c, record)
		body := bodyOf(t, m)
		if m.Topic != x.topic || fmt.Sprint(body) != fmt.Sprint(x.want) {
			t.Errorf("%T on %s:\n got %v\nwant %v", x.event, m.Topic, body, x.want)
		}
		key, _ := m.Key.Encode()
		headers := map[string]string{}
		for _, h := range m.Headers {
			headers[string(h.Key)] = string(h.Value)
		}
		want := map[string]string{"ce_id": body["eventId"].(string), "ce_type": body["type"].(string), "ce_source": "/product-service", "ce_specversion": "1.0",
			"ce_time": at, "ce_subject": productX, "content-type": "application/json", "correlation-id": "c-1", "causation-id": commandX, "traceparent": from.Traceparent}
		if string(key) != productX || fmt.Sprint(headers) != fmt.Sprint(want) {
			t.Errorf("%T key %s\n got %v\nwant %v", x.event, key, headers, want)
		}
	}
	for _, silent := range []product.Event{product.Released{}, product.Created{}, product.ReleaseIgnored{}, product.ReservationCancelled{}, product.InventoryChanged{}} {
		if _, ok, err := outcomeOf(newFakeLog().append(t, p, command, 1, silent, from)); ok || err != nil {
			t.Errorf("%T is an outcome: %v", silent, err)
		}
	}
}

func reserved(n int64) product.Event {
	return product.Reserved{ReservationID: uuid.New(), Quantity: n, StockTotal: 1 << 20, Reserved: n}
}

// Products whose events are numbered by their quantity: each product's numbers must arrive in
// order, but for repeats.
func numbered(t testing.TB, l *fakeLog, products, each int) []uuid.UUID {
	t.Helper()
	ids := make([]uuid.UUID, products)
	for i := range ids {
		ids[i] = uuid.New()
	}
	for n := range each {
		for _, p := range ids {
			l.append(t, p, uuid.New(), int64(n+1), reserved(int64(n+1)), product.Origin{})
			if n%3 == 0 {
				l.append(t, p, uuid.New(), 0, product.ReleaseIgnored{ReservationID: uuid.New()}, product.Origin{})
			}
		}
	}
	return ids
}

// inOrder checks that each product's first occurrences are 1, 2, 3 …, and returns how many messages
// were repeats.
func inOrder(t testing.TB, products []uuid.UUID, each int, quantities map[string][]int64) (repeats int) {
	t.Helper()
	for _, p := range products {
		next := int64(1)
		for _, q := range quantities[p.String()] {
			switch {
			case q == next:
				next++
			case q > next:
				t.Fatalf("product %s: %d came before %d", p, q, next)
			default:
				repeats++
			}
		}
		if next != int64(each)+1 {
			t.Fatalf("product %s: got %d of %d outcomes", p, next-1, each)
		}
	}
	return repeats
}

func TestAPageThatFailsResumesAfterTheLastContiguousAcknowledgement(t *testing.T) {
	l := newFakeLog()
	products := numbered(t, l, 20, 50)
	failures := 0
	s := &memorySender{fail: func(page []*sarama.ProducerMessage) int {
		if failures++; failures <= 5 {
			return len(page) / 3
		}
		return -1
	}}
	_, stop := startRelay(t, Config{}, l, func() (pageSender, error) { return s, nil })
	eventually(t, "every shard at its end", l.savedAll)
	stop()
	quantities := map[string][]int64{}
	for _, b := range s.bodies(t) {
		quantities[b["productId"].(string)] = append(quantities[b["productId"].(string)], int64(b["quantity"].(float64)))
	}
	if repeats := inOrder(t, products, 50, quantities); repeats != 0 {
		t.Errorf("%d acknowledged outcomes were sent again", repeats)
	}
}

func TestAcknowledgementsBehindAGapAreSentAgain(t *testing.T) {
	l := newFakeLog()
	p := uuid.New()
	for n := range int64(4) {
		l.append(t, p, uuid.New(), n+1, reserved(n+1), product.Origin{})
	}
	first := true
	var pages [][]int64
	s := gappySender(func(page []*sarama.ProducerMessage) ([]bool, error) {
		var quantities []int64
		for _, m := range page {
			quantities = append(quantities, int64(bodyOf(t, m)["quantity"].(float64)))
		}
		pages = append(pages, quantities)
		acked := slices.Repeat([]bool{true}, len(page))
		if first {
			first, acked[1] = false, false
			return acked, errors.New("the second wasn't taken")
		}
		return acked, nil
	})
	_, stop := startRelay(t, Config{}, l, func() (pageSender, error) { return s, nil })
	eventually(t, "the shard at its end", l.savedAll)
	stop()
	if fmt.Sprint(pages) != "[[1 2 3 4] [2 3 4]]" {
		t.Errorf("sent %v", pages)
	}
}

type gappySender func([]*sarama.ProducerMessage) ([]bool, error)

func (s gappySender) close() {}
func (s gappySender) send(_ context.Context, page []*sarama.ProducerMessage) ([]bool, error) {
	return s(page)
}

func TestAResentOutcomeIsTheSameMessage(t *testing.T) {
	l := newFakeLog()
	p, command := uuid.New(), uuid.New()
	l.append(t, p, uuid.New(), 1, product.Created{Name: "x"}, product.Origin{})
	original := l.append(t, p, command, 2, reserved(3), product.Origin{CorrelationID: "first"})
	l.append(t, p, command, 0, product.OutcomeResent{Of: original.Pos}, product.Origin{CorrelationID: "second"})
	l.append(t, p, uuid.New(), 3, reserved(4), product.Origin{})
	s := &memorySender{}
	_, stop := startRelay(t, Config{}, l, func() (pageSender, error) { return s, nil })
	eventually(t, "the shard at its end", l.savedAll)
	stop()
	if len(s.sent) != 3 {
		t.Fatalf("%d messages", len(s.sent))
	}
	one, _ := s.sent[0].Value.Encode()
	two, _ := s.sent[1].Value.Encode()
	if string(one) != string(two) || fmt.Sprint(s.sent[0].Headers) != fmt.Sprint(s.sent[1].Headers) {
		t.Errorf("got\n%s\n%s", one, two)
	}
}

func TestARecordThatIsNoOutcomeBecomesADeadLetterAndItsShardGoesOn(t *testing.T) {
	l := newFakeLog()
	p := uuid.New()
	l.append(t, p, uuid.New(), 1, reserved(1), product.Origin{})
	l.appendRow(eventstore.Row{ProductID: p, CommandID: id(commandX), Version: 2, Type: "ProductReservedEvent", Data: []byte(`{"quantity":"two"}`)})
	l.append(t, p, uuid.New(), 0, product.OutcomeResent{Of: 77}, product.Origin{})
	l.append(t, p, uuid.New(), 0, product.OutcomeResent{Of: 3}, product.Origin{})
	l.append(t, p, uuid.New(), 3, reserved(3), product.Origin{})
	s := &memorySender{}
	_, stop := startRelay(t, Config{}, l, func() (pageSender, error) { return s, nil })
	eventually(t, "the shard at its end", l.savedAll)
	stop()
	var topics []string
	for _, m := range s.sent {
		topics = append(topics, m.Topic)
	}
	const dead = "product.outcomes.dlq"
	if !slices.Equal(topics, []string{"product.reserved", dead, dead, dead, "product.reserved"}) {
		t.Fatalf("sent to %v", topics)
	}
	data, _ := s.sent[1].Value.Encode()
	if string(data) != `{"quantity":"two"}` {
		t.Errorf("the letter has %s", data)
	}
}

func TestARelayThatLostItsLeaseDoesNotGoOn(t *testing.T) {
	l := newFakeLog()
	p := uuid.New()
	shard := eventstore.ShardOf(p)
	s := &memorySender{}
	_, stop := startRelay(t, Config{}, l, func() (pageSender, error) { return s, nil })
	l.append(t, p, uuid.New(), 1, reserved(1), product.Origin{})
	eventually(t, "the checkpoint", l.savedAll)
	l.mu.Lock()
	l.epochs[shard]++ // another has taken over, and this one doesn't know
	l.mu.Unlock()
	l.append(t, p, uuid.New(), 2, reserved(2), product.Origin{})
	eventually(t, "the second outcome and its checkpoint", func() bool { return len(s.bodies(t)) == 2 && l.fencedOff() })
	l.append(t, p, uuid.New(), 3, reserved(3), product.Origin{})
	other := uuid.New()
	for eventstore.ShardOf(other) == shard {
		other = uuid.New()
	}
	l.append(t, other, uuid.New(), 1, reserved(9), product.Origin{})
	eventually(t, "an outcome of another shard", func() bool { return len(s.bodies(t)) >= 3 })
	if b := s.bodies(t); b[len(b)-1]["quantity"] != 9. || len(b) != 3 {
		t.Fatalf("sent %v", b)
	}
	l.beat() // and now it is this one's again: it begins at the checkpoint
	eventually(t, "the checkpoint", l.savedAll)
	stop()
	var quantities []any
	for _, b := range s.bodies(t)[3:] {
		quantities = append(quantities, b["quantity"])
	}
	if fmt.Sprint(quantities) != "[2 3]" {
		t.Errorf("sent %v", quantities)
	}
}

func TestACheckpointWhoseAnswerWasLostHoldsNothingUp(t *testing.T) {
	l := newFakeLog()
	l.errs = []error{errors.New("the connection broke")} // after it was written
	p := uuid.New()
	s := &memorySender{}
	_, stop := startRelay(t, Config{}, l, func() (pageSender, error) { return s, nil })
	l.append(t, p, uuid.New(), 1, reserved(1), product.Origin{})
	eventually(t, "the outcome", func() bool { return len(s.bodies(t)) == 1 })
	l.append(t, p, uuid.New(), 2, reserved(2), product.Origin{})
	eventually(t, "everything saved", func() bool { l.beat(); return l.savedAll() })
	stop()
	if n := len(s.bodies(t)); n != 2 {
		t.Errorf("%d messages", n)
	}
}

func BenchmarkOutcomeMessage(b *testing.B) {
	record := newFakeLog().append(b, uuid.New(), uuid.New(), 4, product.Reserved{ReservationID: uuid.New(), SagaID: "saga-7", Quantity: 3, StockTotal: 10, Reserved: 4},
		product.Origin{CorrelationID: "saga-7", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
	b.ReportAllocs()
	for b.Loop() {
		o, _, err := outcomeOf(record)
		if err != nil {
			b.Fatal(err)
		}
		_ = o.message(Config{}, record)
	}
}

// failingStep fails at one step of the relay.
type failingStep struct {
	*fakeLog
	step string
}

var errStep = errors.New("no luck")

func (f failingStep) Tail(ctx context.Context, cursors []eventstore.Cursor, limit int) ([]eventstore.Record, error) {
	if f.step == "read outcomes" {
		return nil, errStep
	}
	return f.fakeLog.Tail(ctx, cursors, limit)
}

func (f failingStep) At(ctx context.Context, places []eventstore.Cursor) ([]eventstore.Record, error) {
	if f.step == "look up outcomes that are sent again" {
		return nil, errStep
	}
	return f.fakeLog.At(ctx, places)
}

func (f failingStep) Checkpoint(ctx context.Context, role string, leases []eventstore.Lease) ([]int16, error) {
	if f.step == "save checkpoints" {
		return nil, errStep
	}
	return f.fakeLog.Checkpoint(ctx, role, leases)
}

func TestAnErrorOfTheRelayNamesItsStep(t *testing.T) {
	for _, step := range []string{"read outcomes", "look up outcomes that are sent again", "send outcomes", "save checkpoints"} {
		l := failingStep{newFakeLog(), step}
		id := uuid.New()
		l.append(t, id, uuid.New(), 1, reserved(1), product.Origin{})
		l.append(t, id, uuid.New(), 0, product.OutcomeResent{Of: 1}, product.Origin{})
		r := NewRelay(Config{}, l, l, nil, testMetrics(), quiet)
		r.connect = func() (pageSender, error) {
			if step == "send outcomes" {
				return nil, errStep
			}
			return &memorySender{}, nil
		}
		if _, err := r.page(t.Context()); !errors.Is(err, errStep) || !strings.HasPrefix(err.Error(), step+": ") {
			t.Errorf("failing to %s was told as %v", step, err)
		}
	}
}
