package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
)

// plan is a load of commands, and what is known of it without asking the service.
type plan struct {
	messages []message
	asked    map[[2]string][]message // by product and reservation: the requests for it, in order, each once
	freed    map[[2]string][]message // … and its releases, each once
	twins    map[string]bool         // commands whose id comes again with another content
	expiries map[string]string       // by command: the same command is the same content each time
	unknown  string                  // a product that doesn't exist
}

// newPlan mixes what sagas do, n commands of it: requests, whole, partial, early and foreign
// releases, duplicates, renewals, holds that expire, and command ids spent twice. The seed makes it
// the same again.
func newPlan(seed uint64, n int, products []string) *plan {
	r := rand.New(rand.NewPCG(seed, seed))
	p := &plan{
		asked: map[[2]string][]message{}, freed: map[[2]string][]message{}, twins: map[string]bool{}, expiries: map[string]string{},
		unknown: uuid.NewString(),
	}
	type placed struct {
		at float64
		m  message
	}
	var all []placed
	for len(all) < n {
		product := products[r.IntN(len(products))]
		if r.IntN(50) == 0 {
			product = p.unknown
		}
		at := r.Float64()
		for i, m := range p.saga(r, product) {
			all = append(all, placed{at + float64(i)*r.Float64()*0.02, m})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	for _, m := range all {
		p.messages = append(p.messages, m.m)
	}
	p.index()
	return p
}

// soon stands for an expiry a few seconds after the command is sent.
const soon = "soon"

func (p *plan) saga(r *rand.Rand, product string) []message {
	reservation := uuid.NewString()
	first := reserve(product, reservation, 1+r.Int64N(5))
	whole, part := release(product, reservation, 0), release(product, reservation, 1)
	switch r.IntN(20) {
	case 0, 1, 2, 3:
		return []message{first, whole}
	case 4, 5:
		return []message{first, part, part, whole, whole}
	case 6:
		return []message{first, part, release(product, reservation, 2)}
	case 7, 8:
		return []message{first, first, first}
	case 9:
		return []message{whole, first} // early
	case 10:
		return []message{part, first, whole} // an early part cancels too
	case 11:
		foreign := release(product, reservation, 0)
		foreign.SagaID = "saga of somebody else"
		return []message{first, foreign}
	case 12:
		first.ExpiresAt = soon
		return []message{first}
	case 13:
		first.ExpiresAt = soon
		renewed := reserve(product, reservation, first.Quantity)
		return []message{first, renewed, first}
	case 14:
		first.ExpiresAt = soon
		return []message{first, whole, part}
	case 15:
		other := reserve(product, reservation, first.Quantity+1)
		return []message{first, other}
	case 16:
		twin := first
		twin.Quantity++
		p.twins[first.CommandID] = true
		return []message{first, twin, first}
	}
	return []message{first}
}

// index gathers each reservation's distinct commands in the order in which they stand. Those of one
// product and topic keep it.
func (p *plan) index() {
	known := map[string]bool{}
	for _, m := range p.messages {
		if known[m.CommandID] {
			continue
		}
		known[m.CommandID] = true
		key := [2]string{m.ProductID, m.ReservationID}
		if m.Topic == requests {
			p.asked[key] = append(p.asked[key], m)
		} else {
			p.freed[key] = append(p.freed[key], m)
		}
	}
}

// slice is the i-th of n equal parts, with the expiries of now.
func (p *plan) slice(i, n int) []message {
	part := slices.Clone(p.messages[i*len(p.messages)/n : (i+1)*len(p.messages)/n])
	for j := range part {
		if part[j].ExpiresAt == soon {
			part[j].ExpiresAt = p.expiry(part[j].CommandID)
		}
	}
	return part
}

func (p *plan) expiry(command string) string {
	if _, ok := p.expiries[command]; !ok {
		p.expiries[command] = time.Now().UTC().Add(3 * time.Second).Format(time.RFC3339Nano)
	}
	return p.expiries[command]
}

// commands counts the distinct requests and releases.
func (p *plan) commands() (asked, freed int) {
	for _, m := range p.asked {
		asked += len(m)
	}
	for _, m := range p.freed {
		freed += len(m)
	}
	return asked, freed
}

// held is what a reservation must hold when everything is done and every expiry past, given which
// of its requests were answered with yes. Releases come on a topic of their own, so which request
// is refused depends on who was faster; what follows doesn't: an early release refuses every
// request, so that a granted one was followed by all of its releases.
func (p *plan) held(key [2]string, granted func(command string) bool) int64 {
	var last *message
	for _, m := range p.asked[key] {
		if granted(m.CommandID) {
			last = &m
		}
	}
	if last == nil || last.ExpiresAt != "" {
		return 0
	}
	left := last.Quantity
	for _, m := range p.freed[key] {
		switch {
		case m.SagaID != last.SagaID:
		case m.Quantity == 0:
			left = 0
		default:
			left = max(0, left-m.Quantity)
		}
	}
	return left
}

// check compares every command's outcomes, and what is held, with what must be.
func (p *plan) check(outcomes []outcome, l *ledger) error {
	answers, err := distinct(outcomes)
	if err != nil {
		return err
	}
	granted := func(command string) bool {
		return slices.ContainsFunc(answers[command], func(o outcome) bool { return o.Topic == reserved })
	}
	sum := map[string]int64{}
	for key, asked := range p.asked {
		for _, m := range asked {
			if err := p.answeredOnce(m, answers[m.CommandID], l); err != nil {
				return err
			}
		}
		want := p.held(key, granted)
		sum[key[0]] += want
		if got := l.holds[key].Held; got != want {
			return fmt.Errorf("reservation %s of %s holds %d, it must hold %d; it was asked for by %+v and released by %+v", key[1], key[0], got, want, asked, p.freed[key])
		}
	}
	for _, freed := range p.freed {
		for _, m := range freed {
			if n := l.decided[m.CommandID]; n != 1 {
				return fmt.Errorf("release %+v is decided %d times", m, n)
			}
			if len(answers[m.CommandID]) > 0 {
				return fmt.Errorf("release %+v is answered: %+v", m, answers[m.CommandID])
			}
		}
	}
	for product, want := range sum {
		if got := l.levels[product].Reserved; got != want {
			return fmt.Errorf("product %s has %d reserved, it must be %d", product, got, want)
		}
	}
	return nil
}

func (p *plan) answeredOnce(m message, answers []outcome, l *ledger) error {
	want := 1
	if p.twins[m.CommandID] {
		want = 2 // its own, and INVALID_COMMAND for the other content
	}
	if len(answers) != want || l.decided[m.CommandID] != 1 {
		return fmt.Errorf("%+v has %d outcomes, it must have %d, and is decided %d times: %+v", m, len(answers), want, l.decided[m.CommandID], answers)
	}
	invalid := 0
	for _, a := range answers {
		if a.Reason == "INVALID_COMMAND" {
			invalid++
		} else if a.ReservationID != m.ReservationID || a.ProductID != m.ProductID || a.Quantity != m.Quantity || a.Key != m.ProductID {
			return fmt.Errorf("%+v is answered by another's outcome: %+v", m, a)
		}
		if (m.ProductID == p.unknown) != (a.Reason == "UNKNOWN_PRODUCT") && a.Reason != "INVALID_COMMAND" && a.Reason != "ALREADY_RELEASED" {
			return fmt.Errorf("%+v is answered by %+v", m, a)
		}
	}
	if invalid != want-1 {
		return fmt.Errorf("%+v is answered with INVALID_COMMAND %d times: %+v", m, invalid, answers)
	}
	return nil
}

// distinct are the outcomes by command, without repeats. A repeat is the same to the byte, but for
// the answer to a command id that was spent on another content: nothing is recorded of that, so its
// repeat tells what is available now. What isn't a repeat comes in the order of its product's
// versions.
func distinct(outcomes []outcome) (map[string][]outcome, error) {
	byEvent, byCommand, version := map[string]outcome{}, map[string][]outcome{}, map[string]int64{}
	for _, o := range outcomes {
		if first, ok := byEvent[o.EventID]; ok {
			spent := o.Reason == "INVALID_COMMAND" && first.Reason == o.Reason && first.CommandID == o.CommandID
			if first.Body != o.Body && !spent || first.Topic != o.Topic || first.Key != o.Key {
				return nil, fmt.Errorf("the same eventId has two contents: %s and %s", first.Body, o.Body)
			}
			continue
		}
		byEvent[o.EventID] = o
		byCommand[o.CommandID] = append(byCommand[o.CommandID], o)
		if o.Topic == reserved {
			if o.StreamVersion < version[o.ProductID] {
				return nil, fmt.Errorf("version %d comes after %d: %s", o.StreamVersion, version[o.ProductID], o.Body)
			}
			version[o.ProductID] = o.StreamVersion
		}
	}
	return byCommand, nil
}
