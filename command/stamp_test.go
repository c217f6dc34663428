package command

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func TestAgeCountsFromAStampThatCanBeOne(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name        string
		stamp, want time.Time
	}{
		{"Now", now, now},
		{"LongAgo", now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 0)},
		{"Ahead", now.AddDate(0, 0, 90), now.AddDate(0, 0, 90)},
		{"None", time.Time{}, eventstore.Forever},
		{"Zero", time.UnixMilli(0), eventstore.Forever},
		{"Negative", time.UnixMilli(-5), eventstore.Forever},
		{"Seconds", time.UnixMilli(now.Unix()), eventstore.Forever},
		{"Microseconds", time.UnixMilli(now.UnixMicro()), eventstore.Forever},
		{"Nanoseconds", time.UnixMilli(now.UnixNano()), eventstore.Forever},
	} {
		if got := ageFromStamp(c.stamp); !got.Equal(c.want) {
			t.Errorf("%s: the age of a record of %s counts from %s, want %s", c.name, c.stamp, got, c.want)
		}
	}
}

// Whatever a record's stamp, and whenever its topic delivers it again, it is executed at most once;
// and it is executed, unless its stamp says that it was delivered before.
func TestARecordIsExecutedOnceWhateverItsStamp(t *testing.T) {
	const retention = 30 * 24 * time.Hour
	now := time.Now()
	for _, c := range []struct {
		name    string
		stamp   time.Time
		days    []int // from now on, when it is delivered
		freed   int64
		tooLate bool // whether the last is refused as too old
	}{
		{"Now", now, []int{0, 1, 29, 31, 400}, 3, true},
		{"TenDaysAhead", now.AddDate(0, 0, 10), []int{0, 29, 32, 39, 41}, 3, true},
		{"Microseconds", time.UnixMilli(now.UnixMicro()), []int{0, 31, 400, 4000}, 3, false},
		{"Seconds", time.UnixMilli(now.Unix()), []int{0, 31, 400}, 3, false},
		{"Zero", time.UnixMilli(0), []int{0, 31, 400}, 3, false},
		{"Negative", time.UnixMilli(-1), []int{0, 31, 400}, 3, false},
		{"None", time.Time{}, []int{0, 31, 400}, 3, false},
		{"TooOld", now.AddDate(0, 0, -31), []int{0, 1}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDeliveries(t, retention)
			for _, day := range c.days {
				d.goOnTo(day)
				d.release(c.stamp)
			}
			if held := d.held(); held != 10-c.freed {
				t.Errorf("%d are held after the deliveries of days %v, want %d", held, c.days, 10-c.freed)
			}
			if late := d.buried[len(d.buried)-1] == ReasonTooOld; late != c.tooLate {
				t.Errorf("it was buried as %q; too old: want %v", d.buried, c.tooLate)
			}
		})
	}
}

// The same command in a second record, which its topic keeps longer: the id is remembered as long
// as that can be delivered.
func TestARepeatedCommandIsRememberedAsLongAsItsLastRecord(t *testing.T) {
	now := time.Now()
	for name, second := range map[string]struct {
		stamp time.Time
		days  []int // when the second record is delivered
	}{
		"Later":        {now.AddDate(0, 0, 20), []int{20, 35, 49, 51}},
		"Ahead":        {now.AddDate(0, 0, 50), []int{1, 40, 79, 81}},
		"Microseconds": {time.UnixMilli(now.UnixMicro()), []int{1, 40, 400}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeliveries(t, 30*24*time.Hour)
			d.release(now)
			for _, day := range second.days {
				d.goOnTo(day)
				d.release(second.stamp)
			}
			if held := d.held(); held != 7 {
				t.Errorf("%d of 10 are held, want 7", held)
			}
		})
	}
}

// What the inbox still points at stays in the log: a repeat is answered with it, however late.
func TestTheAnswerToARecordFromAheadIsKeptWithItsID(t *testing.T) {
	d := newDeliveries(t, 30*24*time.Hour)
	productID := uuid.New()
	body := request("productId", `"`+productID.String()+`"`, "expiresAt", "") // of a product that isn't there: refused, with a fact that can be forgotten
	for _, day := range []int{0, 100} {
		d.goOnTo(day)
		d.deliver(body, TopicRequestStock, time.UnixMilli(time.Now().UnixMicro()))
	}
	events, _ := history(t, d.store, productID)
	if len(events) != 2 || product.TypeOf(events[0]) != "ReservationFailed" || product.TypeOf(events[1]) != "OutcomeResent" {
		t.Errorf("the log has %+v; want the refusal, and that it is sent again", events)
	}
}

// deliveries takes records in a service on which days go by.
type deliveries struct {
	t         *testing.T
	store     *eventstore.Store
	consumer  *Consumer
	retention time.Duration
	day       int
	command   string // the id of the release
	product   uuid.UUID
	buried    []string // the reason of each delivery that became a dead letter, else ""
}

func newDeliveries(t *testing.T, retention time.Duration) *deliveries {
	d := &deliveries{t: t, store: openStore(t), product: uuid.New(), command: uuid.NewString(), retention: retention}
	w := startWriter(t, d.store, quick)
	tell(t, w, uuid.New(), d.product, product.Create{Name: "A", InitialStock: 10})
	tell(t, w, uuid.New(), d.product, product.Reserve{ReservationID: id(reservationX), Quantity: 10})
	consumer, err := NewConsumer(Config{Retention: Duration(retention)}, w, knownVariants{}, Inventory{}, testMetrics(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	consumer.now = func() time.Time { return time.Now().AddDate(0, 0, d.day) }
	d.consumer = consumer
	return d
}

// goOnTo lets days go by, and forgets what is forgotten by then. The database's clock stands still:
// it is looked at from later.
func (d *deliveries) goOnTo(day int) {
	d.t.Helper()
	d.day = day
	var read []eventstore.Cursor
	for shard := range int16(eventstore.Shards) {
		read = append(read, eventstore.Cursor{Shard: shard, Pos: 100})
	}
	for rows := int64(1); rows > 0; {
		var err error
		if rows, err = d.store.Prune(d.t.Context(), d.retention+forgetLater-time.Duration(day)*24*time.Hour, forgettable, read, pruneBite, refusals); err != nil {
			d.t.Fatal(err)
		}
	}
}

// release delivers a record that frees 3 units.
func (d *deliveries) release(stamp time.Time) {
	d.t.Helper()
	d.deliver(releaseOf("commandId", `"`+d.command+`"`, "productId", `"`+d.product.String()+`"`, "sagaId", "", "quantity", "3"), TopicReleaseStock, stamp)
}

// deliver takes a record and waits until it is settled, or about to become a dead letter.
func (d *deliveries) deliver(body, topic string, stamp time.Time) {
	d.t.Helper()
	m := consumed(body)
	m.Topic, m.Timestamp = topic, stamp
	settled := make(chan struct{})
	if err := d.consumer.route(d.t.Context(), m, func() { close(settled) }); err != nil {
		d.t.Fatal(err)
	}
	reason := ""
	if d.consumer.letters.queue.waiting() > 0 {
		for _, l := range d.consumer.letters.queue.take(d.t.Context(), 1) {
			reason = l.reason
			d.consumer.letters.queue.done(1)
		}
	} else {
		<-settled
	}
	d.buried = append(d.buried, reason)
}

func (d *deliveries) held() int64 {
	d.t.Helper()
	key := eventstore.ReservationKey{ProductID: d.product, ReservationID: id(reservationX)}
	var held int64
	err := d.store.Transact(d.t.Context(), eventstore.Keys{Reservations: []eventstore.ReservationKey{key}}, func(s *eventstore.Snapshot, _ *eventstore.Changes) error {
		held = s.Reservations[key].Held
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return held
}
