package product

import (
	"testing"
	"time"
)

func TestRelease(t *testing.T) {
	freed := func(quantity, left int64) Event {
		return Released{ReservationID: holdID, SagaID: "saga", Quantity: quantity, Held: left, Reason: "paid back", StockTotal: 10, Reserved: 4 - quantity}
	}
	for name, test := range map[string]struct {
		c     Release
		want  Event
		state ReservationState
	}{
		"without a quantity":       {Release{SagaID: "saga"}, freed(4, 0), StateReleased},
		"with all":                 {Release{SagaID: "saga", Quantity: 4}, freed(4, 0), StateReleased},
		"with more than is held":   {Release{SagaID: "saga", Quantity: 5}, freed(4, 0), StateReleased},
		"with the most there is":   {Release{SagaID: "saga", Quantity: MaxStock}, freed(4, 0), StateReleased},
		"with a part":              {Release{SagaID: "saga", Quantity: 1}, freed(1, 3), StateActive},
		"without naming its saga":  {Release{Quantity: 3}, freed(3, 1), StateActive},
		"past the expiry, in time": {Release{SagaID: "saga"}, freed(4, 0), StateReleased},
	} {
		t.Run(name, func(t *testing.T) {
			test.c.ReservationID, test.c.Reason = holdID, "paid back"
			decides(t, State{Product: shop(), Reservation: hold(), Now: muchLater}, test.c, test.want)
			if r := hold().Apply(test.want); r.State != test.state {
				t.Errorf("then the reservation is %s, want %s", r.State, test.state)
			}
		})
	}
}

func TestReleaseInParts(t *testing.T) {
	s := State{Product: shop(), Reservation: hold(), Now: now}
	for _, step := range []struct{ ask, freed, left int64 }{{1, 1, 3}, {2, 2, 1}, {2, 1, 0}} {
		d := Decide(s, Release{ReservationID: holdID, Quantity: step.ask})
		got, ok := d.Events[0].(Released)
		if !ok || got.Quantity != step.freed || got.Held != step.left || got.Reserved != step.left {
			t.Fatalf("releasing %d decided %+v, want %d freed and %d left", step.ask, d, step.freed, step.left)
		}
		s.Product, s.Reservation = s.Product.Apply(got), s.Reservation.Apply(got)
	}
	decides(t, s, Release{ReservationID: holdID, Quantity: 1}, ReleaseIgnored{ReservationID: holdID, Quantity: 1})
}

func TestReleaseThatChangesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		r Reservation
		c Release
	}{
		"repeated":                 {ended(StateReleased), Release{SagaID: "saga"}},
		"after the expiry":         {ended(StateExpired), Release{SagaID: "saga", Quantity: 2}},
		"cancelled already":        {Reservation{ID: holdID, State: StateCancelled}, Release{}},
		"of another saga":          {hold(), Release{SagaID: "other"}},
		"of another saga, partial": {hold(), Release{SagaID: "other", Quantity: 1}},
		"with a negative quantity": {hold(), Release{SagaID: "saga", Quantity: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			test.c.ReservationID, test.c.Reason = holdID, "why"
			want := ReleaseIgnored{ReservationID: holdID, SagaID: test.c.SagaID, Quantity: test.c.Quantity, Reason: "why"}
			decides(t, State{Product: shop(), Reservation: test.r, Now: now}, test.c, want)
			if r := test.r.Apply(want); r != test.r {
				t.Errorf("it made of the reservation %+v", r)
			}
		})
	}
}

func TestReleaseBeforeItsRequest(t *testing.T) {
	for name, p := range map[string]Product{"of a product": shop(), "before its product": {ID: productID}} {
		for _, quantity := range []int64{-1, 0, 3, MaxStock} {
			t.Run(name, func(t *testing.T) {
				cancelled := ReservationCancelled{ReservationID: holdID, SagaID: "saga", Reason: "gave up"}
				decides(t, State{Product: p, Now: now}, Release{ReservationID: holdID, SagaID: "saga", Quantity: quantity, Reason: "gave up"}, cancelled)
				s := State{Product: p.Apply(cancelled), Reservation: Reservation{}.Apply(cancelled), Now: now}
				if s.Product != p || s.Reservation.State != StateCancelled {
					t.Fatalf("the state is %+v", s)
				}
				decides(t, s, reserve(same), refused(reserve(same), AlreadyReleased, visible(p)))
				decides(t, s, reserve(func(c *Reserve) { c.SagaID = "other" }), refused(reserve(func(c *Reserve) { c.SagaID = "other" }), AlreadyReleased, visible(p)))
			})
		}
	}
}

func TestExpire(t *testing.T) {
	half := with(hold(), func(r *Reservation) { r.Held = 2 })
	freed := Released{ReservationID: holdID, SagaID: "saga", Quantity: 4, Reason: "EXPIRED", Expired: true, StockTotal: 10, Reserved: 0}
	rest := freed
	rest.Quantity, rest.Reserved = 2, 2
	for name, test := range map[string]struct {
		r    Reservation
		now  time.Time
		want []Event
	}{
		"at its expiry":                 {hold(), later, []Event{freed}},
		"after its expiry":              {hold(), muchLater, []Event{freed}},
		"what a partial release left":   {half, later, []Event{rest}},
		"before its expiry":             {hold(), later.Add(-time.Microsecond), nil},
		"one that never expires":        {with(hold(), func(r *Reservation) { r.ExpiresAt = time.Time{} }), muchLater, nil},
		"released since":                {ended(StateReleased), muchLater, nil},
		"expired already":               {ended(StateExpired), muchLater, nil},
		"renewed since":                 {with(hold(), func(r *Reservation) { r.ExpiresAt = muchLater }), later, nil},
		"one that was never asked for":  {Reservation{}, muchLater, nil},
		"one that was cancelled before": {Reservation{ID: holdID, State: StateCancelled}, muchLater, nil},
	} {
		t.Run(name, func(t *testing.T) {
			decides(t, State{Product: shop(), Reservation: test.r, Now: test.now}, Expire{ReservationID: holdID}, test.want...)
			for _, e := range test.want {
				if r := test.r.Apply(e); r.State != StateExpired || r.Held != 0 {
					t.Errorf("then the reservation is %+v", r)
				}
			}
		})
	}
}
