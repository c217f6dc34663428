package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
)

// patient is for leases that are given to nobody else while a test lasts.
const patient = "LEASE_TTL=1m"

// An instance that is killed is back at work as soon as it is started again, if it has an id of its
// own: it takes its member's place in the group and its leases over. What is measured here is less
// than what the group waits for a lost member (7 s), let alone a lease; how fast it is on a machine
// that does nothing else is for the benchmarks.
func TestAKilledInstanceWithAFixedIDIsBackAtOnce(t *testing.T) {
	w := newWorld(t, "INSTANCE_ID=one", patient)
	w.many = true
	w.start()
	product, _ := w.newProduct(100)
	client := w.sagas()
	for n := range int64(4) {
		m := reserve(product, uuid.NewString(), 1)
		client.send(m)
		client.await(m.CommandID, startLimit)
		w.latest.kill()
		m = reserve(product, uuid.NewString(), 1)
		client.send(m)
		started := time.Now()
		s := w.launch()
		client.await(m.CommandID, 5500*time.Millisecond)
		answered := time.Since(started)
		within(t, 5500*time.Millisecond, "it is projected", func() error {
			shown, err := s.stock(product)
			if err == nil && (shown == nil || shown.Reserved != 2*n+2) {
				err = fmt.Errorf("it shows %+v", shown)
			}
			return err
		})
		t.Logf("answered %s after the start, shown %s after it", answered.Round(time.Millisecond), time.Since(started).Round(time.Millisecond))
	}
}

// Without an id of its own it waits until its dead self is out of the group and its leases have run out.
func TestAKilledInstanceWithoutAFixedIDIsBackInSeconds(t *testing.T) {
	w := newWorld(t, "LEASE_TTL=5s")
	w.many = true
	w.start()
	product, _ := w.newProduct(100)
	client := w.sagas()
	m := reserve(product, uuid.NewString(), 1)
	client.send(m)
	client.await(m.CommandID, startLimit)
	w.latest.kill()
	m = reserve(product, uuid.NewString(), 1)
	client.send(m)
	w.launch()
	client.await(m.CommandID, 15*time.Second)
}

// Two processes with one id by mistake: both say so, both work, and nothing is done twice.
func TestTwoProcessesWithOneIDShareTheWorkAndSaySo(t *testing.T) {
	const parts = 3
	w := newWorld(t, "INSTANCE_ID=one")
	first := w.start()
	products := w.newProducts(8, 1000)
	p := newPlan(uint64(time.Now().UnixNano()), counts(600, 5000), products)
	client := w.sagas()
	client.send(p.slice(0, parts)...)
	second := w.start()
	client.send(p.slice(1, parts)...)
	within(t, 30*time.Second, "both take part", func() error {
		if err := first.takesPart(0, 0); err != nil {
			return err
		}
		return second.takesPart(0, 0)
	})
	within(t, 30*time.Second, "the first says that its place in the group was taken", func() error {
		if !first.says(`"level":"ERROR"`, "is a member of the consumer group with the INSTANCE_ID of this one") {
			return fmt.Errorf("it says\n%s", first.complaints())
		}
		return nil
	})
	for _, s := range []*server{first, second} {
		within(t, 30*time.Second, "each says that there is another", func() error {
			if !s.says(`"level":"ERROR"`, "another process is running with the INSTANCE_ID of this one") {
				return fmt.Errorf("it says\n%s", s.complaints())
			}
			return nil
		})
	}
	client.send(p.slice(2, parts)...)
	w.finished(p)
	if err := p.check(client.seen(), w.checked(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if code := first.stop(); code != 0 {
		t.Errorf("the first ended with %d", code)
	}
	m := reserve(products[0], uuid.NewString(), 1)
	client.send(m)
	client.await(m.CommandID, startLimit)
}
