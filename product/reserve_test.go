package product

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
)

var (
	now       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	later     = now.Add(time.Hour)
	muchLater = now.Add(2 * time.Hour)
	productID = uuid.MustParse("0b9f3c52-6a1e-4c11-9a53-0d6a1f0e7c01")
	holdID    = uuid.MustParse("5f0b8a6e-2f4d-4f0a-8c8e-1a2b3c4d5e6f")
	variantID = uuid.MustParse("9d3c1b2a-7e6f-4a5b-8c9d-0e1f2a3b4c5d")
)

// shop is a product with 10 units, 4 of them reserved.
func shop() Product {
	return Product{ID: productID, Version: 7, Status: StatusActive, StockTotal: 10, Reserved: 4, LowStockThreshold: 2, Variants: 1}
}

// hold is the reservation that holds the 4 units of shop.
func hold() Reservation {
	return Reservation{ID: holdID, SagaID: "saga", Quantity: 4, Held: 4, State: StateActive, ExpiresAt: later}
}

func with[T any](value T, change func(*T)) T {
	change(&value)
	return value
}

func ended(state ReservationState) Reservation {
	return with(hold(), func(r *Reservation) { r.Held, r.State = 0, state })
}

func reserve(change func(*Reserve)) Reserve {
	return with(Reserve{ReservationID: holdID, SagaID: "saga", Quantity: 4, ExpiresAt: later}, change)
}

func same(*Reserve) {}

func refused(c Reserve, why Reason, available int64) Event {
	return ReservationFailed{ReservationID: c.ReservationID, SagaID: c.SagaID, Quantity: c.Quantity, Reason: why, Available: available}
}

func decides(t *testing.T, s State, c Command, want ...Event) {
	t.Helper()
	if got, want := Decide(s, c), (Decision{Events: want}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v decided\n%+v, want\n%+v", c, got, want)
	}
}

func TestReserve(t *testing.T) {
	held := func(quantity, reserved int64, expires *time.Time) Event {
		return Reserved{ReservationID: holdID, SagaID: "saga", Quantity: quantity, ExpiresAt: expires, StockTotal: 10, Reserved: reserved}
	}
	past := now.Add(-time.Nanosecond)
	for name, test := range map[string]struct {
		change func(*Reserve)
		want   Event
	}{
		"all that is available":              {func(c *Reserve) { c.Quantity = 6 }, held(6, 10, &later)},
		"one unit":                           {func(c *Reserve) { c.Quantity = 1 }, held(1, 5, &later)},
		"without an expiry":                  {func(c *Reserve) { c.ExpiresAt = time.Time{} }, held(4, 8, nil)},
		"one more than available":            {func(c *Reserve) { c.Quantity = 7 }, refused(reserve(func(c *Reserve) { c.Quantity = 7 }), InsufficientStock, 6)},
		"the most there can be":              {func(c *Reserve) { c.Quantity = MaxStock }, refused(reserve(func(c *Reserve) { c.Quantity = MaxStock }), InsufficientStock, 6)},
		"an expiry that is now":              {func(c *Reserve) { c.ExpiresAt = now }, refused(reserve(same), Expired, 6)},
		"an expiry in the past":              {func(c *Reserve) { c.ExpiresAt = past }, refused(reserve(same), Expired, 6)},
		"an expiry to the nanosecond":        {func(c *Reserve) { c.ExpiresAt = later.Add(999) }, held(4, 8, &later)},
		"an expiry in this very microsecond": {func(c *Reserve) { c.ExpiresAt = now.Add(999) }, refused(reserve(same), Expired, 6)},
	} {
		t.Run(name, func(t *testing.T) { decides(t, State{Product: shop(), Now: now}, reserve(test.change), test.want) })
	}
}

// Every case gives all the later reasons to refuse as well, so that it fails if one of them is
// looked for first.
func TestReserveRefusesForTheFirstReason(t *testing.T) {
	none, soldOut := Product{ID: productID}, with(shop(), func(p *Product) { p.Reserved = 10 })
	pending, discarded := with(soldOut, func(p *Product) { p.Status = StatusPending }), with(soldOut, func(p *Product) { p.Status = StatusDiscarded })
	stale := reserve(func(c *Reserve) { c.Quantity, c.ExpiresAt = 5, now })
	for name, test := range map[string]struct {
		p    Product
		r    Reservation
		c    Reserve
		want Reason
		left int64
	}{
		"no quantity":                 {none, ended(StateReleased), with(stale, func(c *Reserve) { c.Quantity = 0 }), InvalidCommand, 0},
		"a negative quantity":         {none, ended(StateReleased), with(stale, func(c *Reserve) { c.Quantity = -1 }), InvalidCommand, 0},
		"more than there can be":      {none, ended(StateReleased), with(stale, func(c *Reserve) { c.Quantity = MaxStock + 1 }), InvalidCommand, 0},
		"no reservation id":           {none, Reservation{}, with(stale, func(c *Reserve) { c.ReservationID = uuid.Nil }), InvalidCommand, 0},
		"released":                    {none, ended(StateReleased), stale, AlreadyReleased, 0},
		"expired":                     {soldOut, ended(StateExpired), stale, AlreadyReleased, 0},
		"cancelled before the start":  {none, Reservation{ID: holdID, State: StateCancelled}, stale, AlreadyReleased, 0},
		"released, by another saga":   {shop(), ended(StateReleased), with(stale, func(c *Reserve) { c.SagaID = "other" }), AlreadyReleased, 6},
		"held with another quantity":  {soldOut, hold(), stale, ReservationConflict, 0},
		"held, of a product no more":  {discarded, hold(), stale, ReservationConflict, 0},
		"held after a partial return": {soldOut, with(hold(), func(r *Reservation) { r.Held = 3 }), with(stale, func(c *Reserve) { c.Quantity = 4 }), ReservationConflict, 0},
		"what is left of it":          {soldOut, with(hold(), func(r *Reservation) { r.Held = 3 }), with(stale, func(c *Reserve) { c.Quantity = 3 }), ReservationConflict, 0},
		"held by another saga":        {soldOut, hold(), with(stale, func(c *Reserve) { c.Quantity, c.SagaID = 4, "other" }), ReservationConflict, 0},
		"an absent product":           {none, Reservation{}, stale, UnknownProduct, 0},
		"a pending product":           {with(pending, func(p *Product) { p.Reserved = 0 }), Reservation{}, stale, UnknownProduct, 0},
		"a discarded product":         {discarded, Reservation{}, stale, UnknownProduct, 0},
		"past its expiry":             {soldOut, Reservation{}, stale, Expired, 0},
		"out of stock":                {soldOut, Reservation{}, reserve(same), InsufficientStock, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := State{Product: test.p, Reservation: test.r, Now: now}
			decides(t, s, test.c, refused(test.c, test.want, test.left))
			event := Decide(s, test.c).Events[0]
			if r := test.r.Apply(event); r != test.r {
				t.Errorf("the refusal made of the reservation %+v: it must not spend the id", r)
			}
			if p := test.p.Apply(event); p != test.p {
				t.Errorf("the refusal made of the product %+v", p)
			}
		})
	}
}

func TestReserveAgain(t *testing.T) {
	renewed := func(expires *time.Time) Event {
		return ReservationRenewed{ReservationID: holdID, SagaID: "saga", Quantity: 4, ExpiresAt: expires, StockTotal: 10, Reserved: 4}
	}
	confirmed := ReservationConfirmed{ReservationID: holdID, SagaID: "saga", Quantity: 4, StockTotal: 10, Reserved: 4, StreamVersion: 7}
	forEver := with(hold(), func(r *Reservation) { r.ExpiresAt = time.Time{} })
	nanosecondsOff := later.Add(400 * time.Nanosecond)
	for name, test := range map[string]struct {
		r    Reservation
		c    Reserve
		want Event
	}{
		"with the same expiry":          {hold(), reserve(same), confirmed},
		"in another time zone":          {hold(), reserve(func(c *Reserve) { c.ExpiresAt = later.In(time.FixedZone("", 7200)) }), confirmed},
		"with the same nanoseconds":     {hold(), reserve(func(c *Reserve) { c.ExpiresAt = nanosecondsOff }), confirmed},
		"with no expiry, twice":         {forEver, reserve(func(c *Reserve) { c.ExpiresAt = time.Time{} }), confirmed},
		"without naming its saga":       {hold(), reserve(func(c *Reserve) { c.SagaID = "" }), confirmed},
		"with a later expiry":           {hold(), reserve(func(c *Reserve) { c.ExpiresAt = muchLater }), renewed(&muchLater)},
		"with an earlier expiry":        {with(hold(), func(r *Reservation) { r.ExpiresAt = muchLater }), reserve(same), renewed(&later)},
		"with no expiry, which clears":  {hold(), reserve(func(c *Reserve) { c.ExpiresAt = time.Time{} }), renewed(nil)},
		"with an expiry, which is new":  {forEver, reserve(same), renewed(&later)},
		"too late, but nobody released": {with(hold(), func(r *Reservation) { r.ExpiresAt = now.Add(-time.Hour) }), reserve(same), renewed(&later)},
		"with an expiry already past":   {hold(), reserve(func(c *Reserve) { c.ExpiresAt = now }), renewed(&now)},
	} {
		t.Run(name, func(t *testing.T) {
			s := State{Product: shop(), Reservation: test.r, Now: now}
			decides(t, s, test.c, test.want)
			s.Product, s.Reservation = s.Product.Apply(test.want), s.Reservation.Apply(test.want)
			if want := test.c.ExpiresAt.Truncate(time.Microsecond); !s.Reservation.ExpiresAt.Equal(want) || s.Reservation.Held != 4 || s.Product.Reserved != 4 {
				t.Errorf("then it is %+v of %+v, want the expiry %v and the same units", s.Reservation, s.Product, want)
			}
			again := confirmed
			again.StreamVersion = s.Product.Version
			decides(t, s, test.c, again)
		})
	}
}

func TestASagaThatAsksForAHoldWithoutOneIsAnsweredByItsNameAndGetsItWithARenewal(t *testing.T) {
	nobodys := with(hold(), func(r *Reservation) { r.SagaID = "" })
	s := State{Product: shop(), Reservation: nobodys, Now: now}
	decides(t, s, reserve(same), ReservationConfirmed{ReservationID: holdID, SagaID: "saga", Quantity: 4, StockTotal: 10, Reserved: 4, StreamVersion: 7})
	renewal := ReservationRenewed{ReservationID: holdID, SagaID: "saga", Quantity: 4, ExpiresAt: &muchLater, StockTotal: 10, Reserved: 4}
	decides(t, s, reserve(func(c *Reserve) { c.ExpiresAt = muchLater }), renewal)
	s.Reservation = nobodys.Apply(renewal)
	decides(t, s, Release{ReservationID: holdID, SagaID: "another"}, ReleaseIgnored{ReservationID: holdID, SagaID: "another"})
}

func TestRefuse(t *testing.T) {
	c := Refuse{ReservationID: holdID, SagaID: "saga", Quantity: -3, Fingerprint: "f00d"}
	want := ReservationFailed{ReservationID: holdID, SagaID: "saga", Quantity: -3, Reason: InvalidCommand, Available: 6, Fingerprint: "f00d"}
	decides(t, State{Product: shop(), Reservation: hold(), Now: now}, c, want)
	want.Available = 0
	decides(t, State{Product: Product{ID: productID}, Now: now}, c, want)
	decides(t, State{Product: with(shop(), func(p *Product) { p.Status = StatusPending }), Now: now}, c, want)
}
