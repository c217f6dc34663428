package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// deaths are where the server dies, in turn: anywhere, or at one of the places where it is worst.
var deaths = []string{"", "committed", "", "relaying", "relayed", "", "projected"}

// The server is killed again and again in the middle of its work, and restarted at once: nothing is
// lost, doubled or oversold.
func TestKill(t *testing.T) {
	commands, kills, products := counts(3000, 20_000), counts(10, 24), counts(4, 8)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d commands, %d kills, seed %d", commands, kills, seed)
	w := newWorld(t)
	w.many = true
	s := w.start()
	ids := w.newProducts(products, commands/products*2/3)
	p := newPlan(seed, commands, ids)
	client := w.sagas()
	r := rand.New(rand.NewPCG(seed, 1))

	s.kill()
	w.evict()
	for i := range kills {
		w.die(deaths[i%len(deaths)], r, func() { client.send(p.slice(i, kills+1)...) })
	}
	w.start()
	client.send(p.slice(kills, kills+1)...)
	w.finished(p)
	before := w.checked(time.Minute)
	if err := p.check(client.seen(), before); err != nil {
		t.Fatal(err)
	}
	w.replayed(p, before)
	w.audited()
}

// die starts the server, gives it work, and has it die in the middle: at the n-th time it passes a
// place, or anywhere.
func (w *world) die(place string, r *rand.Rand, work func()) {
	w.t.Helper()
	var crash []string
	if place != "" {
		crash = []string{fmt.Sprintf("CRASH_AT=%s:%d", place, 1+r.IntN(3))}
	}
	s := w.launch(crash...)
	client := w.sagas()
	before := client.answered()
	work()
	if place == "" {
		enough := before + 1 + r.IntN(50)
		within(w.t, startLimit, "commands are answered", func() error {
			if n := client.answered(); n < enough {
				return fmt.Errorf("%d of %d", n, enough)
			}
			return nil
		})
		s.kill()
	} else {
		s.awaitDeath(startLimit)
		if code := exitCode(s.process.Err()); code != -1 {
			w.t.Fatalf("the server ended with %d, it must be killed at %q", code, place)
		}
	}
	w.evict()
}

// finished waits until all of a plan is decided and answered, and every hold that expires has expired.
func (w *world) finished(p *plan) {
	w.t.Helper()
	within(w.t, 2*time.Minute, "every expiry is past", func() error {
		open, err := w.value(`select count(*) from reservation where state = 'ACTIVE' and expires_at is not null`)
		if err == nil && open > 0 {
			err = fmt.Errorf("%d are open", open)
		}
		return errors.Join(err, w.consumed())
	})
	w.settled(time.Minute)
}

// replayed sends everything that was ever sent once more: nothing changes, and the requests get
// their outcomes again.
func (w *world) replayed(p *plan, before *ledger) {
	w.t.Helper()
	client := w.sagas()
	answers, err := distinct(client.seen())
	if err != nil {
		w.t.Fatal(err)
	}
	if n := client.resend(requests) + client.resend(releases); n < len(p.messages) {
		w.t.Fatalf("the input topics hold %d messages of %d", n, len(p.messages))
	}
	w.settled(2 * time.Minute)
	after := w.checked(time.Minute)
	if after.versions != before.versions {
		w.t.Fatalf("the replay added %d events", after.versions-before.versions)
	}
	if err := p.check(client.seen(), after); err != nil {
		w.t.Fatalf("after the replay: %v", err)
	}
	again, err := distinct(client.seen())
	if err != nil {
		w.t.Fatal(err)
	}
	asked, _ := p.commands()
	if len(again) != len(answers) || after.repeats < before.repeats+asked {
		w.t.Fatalf("%d commands are answered, it was %d; %d outcomes were sent again, it must be %d at least", len(again), len(answers), after.repeats-before.repeats, asked)
	}
}
