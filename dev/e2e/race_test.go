package e2e

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Many sagas race for few units, and many of their requests come twice: exactly what is there is
// given away.
func TestRace(t *testing.T) {
	const units, racers, repeats = 1000, 3000, 600
	w := newWorld(t)
	w.start()
	product, _ := w.newProduct(units)

	var messages []message
	for range racers {
		messages = append(messages, reserve(product, uuid.NewString(), 1))
	}
	sent := slices.Clone(messages)
	for range repeats {
		i := rand.IntN(racers)
		sent = slices.Insert(sent, i+rand.IntN(len(sent)-i)+1, messages[i])
	}
	s := w.sagas()
	var producers sync.WaitGroup
	const lanes = 6
	for lane := range lanes {
		producers.Go(func() { s.send(sent[lane*len(sent)/lanes : (lane+1)*len(sent)/lanes]...) })
	}
	producers.Wait()
	w.settled(time.Minute)

	answers, err := distinct(s.seen())
	if err != nil {
		t.Fatal(err)
	}
	won, lost, events := 0, 0, map[string]bool{}
	for _, m := range messages {
		got := answers[m.CommandID]
		if len(got) != 1 {
			t.Fatalf("%+v has %d outcomes: %+v", m, len(got), got)
		}
		events[got[0].EventID] = true
		switch {
		case got[0].Topic == reserved && got[0].Type == "ProductReserved":
			won++
		case got[0].Reason == "INSUFFICIENT_STOCK" && got[0].Type == "ProductReservationFailed":
			lost++
		default:
			t.Fatalf("%+v is answered by %+v", m, got[0])
		}
	}
	if won != units || lost != racers-units || len(events) != racers {
		t.Fatalf("%d won, %d lost, %d different events; it must be %d, %d, %d", won, lost, len(events), units, racers-units, racers)
	}
	if n := len(s.seen()); n < racers+repeats {
		t.Errorf("there are %d outcomes; a repeated command gets its outcome again, so it must be at least %d", n, racers+repeats)
	}
	l := w.checked(time.Minute)
	if got := l.levels[product]; got.Total != units || got.Reserved != units {
		t.Fatalf("the log adds up to %+v", got)
	}
	w.audited()
}
