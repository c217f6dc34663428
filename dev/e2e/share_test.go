package e2e

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metric is the sum of a metric of an instance over its labels.
func (s *server) metric(name string) (sum float64) {
	s.t.Helper()
	status, body, err := get("http://" + s.admin + "/metrics")
	if err != nil || status != 200 {
		s.t.Fatalf("/metrics: %d %v", status, err)
	}
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if bare, _, _ := strings.Cut(series, "{"); bare == name {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatalf("/metrics: %s: %v", lines.Text(), err)
			}
			sum += n
		}
	}
	return sum
}

// takesPart is nil once an instance consumes and relays.
func (s *server) takesPart(consumed, relayed float64) error {
	c, r := s.metric(consumedTotal), s.metric(relayedTotal)
	if c <= consumed || r <= relayed {
		return fmt.Errorf("%s has consumed %v messages and relayed %v outcomes", s.http, c, r)
	}
	return nil
}

const (
	consumedTotal = "product_service_kafka_consumed_messages_total"
	relayedTotal  = "product_service_relay_messages_total"
)

// Instances share the work. One dies, one is stopped gently, one joins: the others take over within
// seconds, nothing is lost or doubled.
func TestInstances(t *testing.T) {
	const parts = 5
	commands := counts(2000, 20_000)
	w := newWorld(t)
	first := w.start()
	ids := w.newProducts(20, commands/20)
	p := newPlan(uint64(time.Now().UnixNano()), commands, ids)
	client := w.sagas()
	second, third := w.start(), w.start()

	client.send(p.slice(0, parts)...)
	for _, s := range []*server{first, second, third} {
		within(t, 30*time.Second, "every instance takes part", func() error { return s.takesPart(0, 0) })
	}

	// One dies in the middle: its partitions and leases pass on when its time is up.
	client.send(p.slice(1, parts)...)
	third.kill()
	died := time.Now()
	w.settled(40 * time.Second)
	t.Logf("after a kill -9 everything was answered within %v", time.Since(died).Round(100*time.Millisecond))

	// One is stopped: it finishes what it has taken and hands over at once.
	client.send(p.slice(2, parts)...)
	stopped := time.Now()
	if code := second.stop(); code != 0 {
		t.Errorf("after SIGTERM the server ended with %d:\n%s", code, second.complaints())
	}
	ended := time.Since(stopped)
	w.settled(30 * time.Second)
	t.Logf("after SIGTERM the server ended within %v, everything was answered within %v", ended.Round(10*time.Millisecond), time.Since(stopped).Round(100*time.Millisecond))

	// One joins, and gets its part.
	joined := w.start()
	client.send(p.slice(3, parts)...)
	client.send(p.slice(4, parts)...)
	within(t, 30*time.Second, "who joined takes part", func() error { return joined.takesPart(0, 0) })
	if err := first.ready(); err != nil {
		t.Errorf("the one that stayed isn't ready: %v", err)
	}
	w.latest = first
	w.finished(p)
	if err := p.check(client.seen(), w.checked(time.Minute)); err != nil {
		t.Fatal(err)
	}
}
