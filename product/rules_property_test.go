package product

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// world is a product, its reservations and its stored log, moved on by commands.
type world struct {
	*rapid.T
	now          time.Time
	product      Product
	reservations map[uuid.UUID]Reservation
	log          []stored
}

type stored struct {
	name string
	data []byte
}

// run decides a command, stores its events as they would be, and applies what is read back.
func (w *world) run(id uuid.UUID, c Command) Decision {
	s := State{Product: w.product, Reservation: w.reservations[id], Now: w.now}
	d := Decide(s, c)
	if again := Decide(s, c); !reflect.DeepEqual(d, again) {
		w.Fatalf("%+v decided %+v, then %+v", c, d, again)
	}
	for _, event := range d.Events {
		data, err := Encode(event, Origin{CorrelationID: "c"})
		if err != nil {
			w.Fatal(err)
		}
		e, err := Decode(TypeOf(event), data)
		if err != nil {
			w.Fatal(err)
		}
		before, held := w.product, w.reservations[id]
		w.log = append(w.log, stored{TypeOf(event), data})
		w.product = w.product.Apply(e)
		if r := held.Apply(e); r != held {
			w.reservations[id] = r
		}
		if !e.Versioned() && w.product != before {
			w.Fatalf("the fact %+v made of %+v %+v", e, before, w.product)
		}
		if e.Versioned() && w.product.Version != before.Version+1 {
			w.Fatalf("%+v raised the version from %d to %d", e, before.Version, w.product.Version)
		}
	}
	return d
}

// one is run for a command that is answered with exactly one event.
func (w *world) one(id uuid.UUID, c Command) Event {
	d := w.run(id, c)
	if len(d.Events) != 1 || d.Refusal != nil {
		w.Fatalf("%+v decided %+v, want one event", c, d)
	}
	return d.Events[0]
}

// unchanged runs do, which must leave the product and the reservation as they are.
func (w *world) unchanged(id uuid.UUID, why string, do func()) {
	p, r := w.product, w.reservations[id]
	do()
	w.unchangedSince(p, r, id, why)
}

func (w *world) reserve(t *rapid.T) {
	c := Reserve{ReservationID: w.id(t), SagaID: saga(t), Quantity: rapid.OneOf(rapid.Int64Range(-1, 12), rapid.Int64()).Draw(t, "quantity")}
	if rapid.Bool().Draw(t, "expires") {
		c.ExpiresAt = w.now.Add(time.Duration(rapid.Int64Range(-1e10, 1e11).Draw(t, "expires in")))
	}
	p, r := w.product, w.reservations[c.ReservationID]
	switch e := w.one(c.ReservationID, c).(type) {
	case ReservationFailed:
		w.unchangedSince(p, r, c.ReservationID, "a refusal")
	case Reserved, ReservationRenewed, ReservationConfirmed:
		if got := w.reservations[c.ReservationID]; got.State != StateActive || got.Held != c.Quantity || !got.ExpiresAt.Equal(c.ExpiresAt.Truncate(time.Microsecond)) {
			w.Fatalf("%+v was answered by %+v and made %+v", c, e, got)
		}
		w.unchanged(c.ReservationID, "the same request again", func() {
			if again, ok := w.one(c.ReservationID, c).(ReservationConfirmed); !ok {
				w.Fatalf("%+v, asked again, was answered by %+v", c, again)
			}
		})
	default:
		w.Fatalf("%+v was answered by %T", c, e)
	}
}

func (w *world) unchangedSince(p Product, r Reservation, id uuid.UUID, why string) {
	if p != w.product || r != w.reservations[id] {
		w.Fatalf("%s changed %+v %+v to %+v %+v", why, p, r, w.product, w.reservations[id])
	}
}

func (w *world) release(t *rapid.T) {
	c := Release{ReservationID: w.id(t), SagaID: saga(t), Quantity: rapid.Int64Range(-1, 6).Draw(t, "quantity")}
	p, r := w.product, w.reservations[c.ReservationID]
	switch e := w.one(c.ReservationID, c).(type) {
	case Released:
		if e.Quantity < 1 || e.Quantity > r.Held || (c.Quantity > 0 && e.Quantity > c.Quantity) || p.Reserved-w.product.Reserved != e.Quantity {
			w.Fatalf("%+v of %+v freed %+v", c, r, e)
		}
	case ReleaseIgnored, ReservationCancelled:
		if _, early := e.(ReservationCancelled); early == r.Exists() || p != w.product {
			w.Fatalf("%+v of %+v was answered by %+v", c, r, e)
		}
		w.unchanged(c.ReservationID, "a repeated release", func() { w.one(c.ReservationID, c) })
	default:
		w.Fatalf("%+v was answered by %T", c, e)
	}
}

func (w *world) expire(t *rapid.T) {
	id := w.id(t)
	r := w.reservations[id]
	due := r.State == StateActive && !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(w.now)
	if d := w.run(id, Expire{ReservationID: id}); d.Refusal != nil || (len(d.Events) == 1) != due {
		w.Fatalf("the expiry of %+v at %v decided %+v", r, w.now, d)
	}
	if got := w.reservations[id]; due && (got.State != StateExpired || got.Held != 0) {
		w.Fatalf("it expired and is %+v", got)
	}
	w.unchanged(id, "a second expiry", func() { w.run(id, Expire{ReservationID: id}) })
}

// catalogue is any command of people: whatever it brings, it is refused and leaves nothing, or it holds.
func (w *world) catalogue(t *rapid.T) {
	number := rapid.OneOf(rapid.Int64Range(-5, 30), rapid.SampledFrom([]int64{MaxStock, MaxStock + 1, -1 << 63, 1<<63 - 1}))
	threshold := number.Draw(t, "threshold")
	v := Variant{ID: uuid.New(), SKU: rapid.StringN(0, 5, -1).Draw(t, "sku"), Name: "v", InitialQuantity: number.Draw(t, "quantity")}
	c := rapid.SampledFrom([]Command{
		Create{Name: "p", InitialStock: number.Draw(t, "stock"), Variants: []Variant{v}, Unconfirmed: rapid.Bool().Draw(t, "unconfirmed")},
		Update{LowStockThreshold: &threshold}, AddVariant{Variant: v}, DiscardVariant{VariantID: v.ID}, Discard{Reason: "r"},
		AdjustStock{Delta: number.Draw(t, "delta"), Reason: "r", ExpectedVersion: rapid.Int64Range(0, 3).Draw(t, "expected")},
		NoteInventoryRecord{VariantID: v.ID}, NoteInventoryChange{VariantID: v.ID, Timestamp: w.now},
		Refuse{ReservationID: w.id(t), Fingerprint: "f"},
	}).Draw(t, "command")
	if d := w.run(uuid.Nil, c); d.Refusal != nil && (len(d.Events) != 0 || d.Refusal.Code == "" || d.Refusal.Message == "") {
		w.Fatalf("%+v was refused with %+v and %+v", c, d.Refusal, d.Events)
	}
}

// check holds after every command.
func (w *world) check(t *rapid.T) {
	p := w.product
	if p.Reserved < 0 || p.Reserved > p.StockTotal || p.StockTotal > MaxStock || p.Variants < 0 || p.Variants > MaxVariants {
		t.Fatalf("the product is %+v", p)
	}
	var held int64
	for id, r := range w.reservations {
		if held += r.Held; r.ID != id || (r.Held > 0) != (r.State == StateActive) || r.Held < 0 || r.Held > r.Quantity {
			t.Fatalf("reservation %s is %+v", id, r)
		}
	}
	if held != p.Reserved {
		t.Fatalf("%d units are held by reservations, %d are reserved of the product", held, p.Reserved)
	}
	folded := Product{ID: p.ID}
	for _, row := range w.log {
		e, err := Decode(row.name, row.data)
		if err != nil {
			t.Fatal(err)
		}
		folded = folded.Apply(e)
	}
	if folded != p {
		t.Fatalf("the log folds to %+v, the state is %+v", folded, p)
	}
}

func (w *world) id(t *rapid.T) uuid.UUID {
	return rapid.SampledFrom([]uuid.UUID{{1}, {2}, {3}, {4}}).Draw(t, "reservation")
}

func saga(t *rapid.T) string { return rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(t, "saga") }

func TestRulesHoldForAnySequenceOfCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, now: now, product: Product{ID: productID}, reservations: map[uuid.UUID]Reservation{}}
		if rapid.Bool().Draw(t, "created") {
			w.run(uuid.Nil, Create{Name: "p", InitialStock: rapid.Int64Range(0, 20).Draw(t, "stock")})
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": w.reserve, "reserve more": w.reserve, "release": w.release, "expire": w.expire, "catalogue": w.catalogue, "": w.check,
			"wait": func(t *rapid.T) { w.now = w.now.Add(time.Duration(rapid.Int64Range(0, 1e11).Draw(t, "for"))) },
		})
	})
}
