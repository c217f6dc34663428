package inventory

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/correlation"
	"product-service/dev/simulator"
)

// TestWhatGoesUpstream checks the headers of a call, and that an ill-formed id is left out instead
// of failing it.
func TestWhatGoesUpstream(t *testing.T) {
	f := newFixture(t, nil)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := correlation.WithTraceparent(correlation.WithID(context.Background(), "page-7"), trace)
	if got := f.reader.level(ctx, f.stock(1)[0], 0); got.Outcome != Known {
		t.Fatalf("got %+v", got)
	}
	last := f.sim.Stats().Last
	if last["X-Correlation-Id"] != "page-7" || last["Traceparent"] != trace {
		t.Errorf("headers: %v", last)
	}
	logged := f.logs.String()
	for _, part := range []string{`"correlation_id":"page-7"`, `"attempt":1`, `"took":`, `"breaker":"closed"`, `"outcome":"ok"`, `"status":200`} {
		if !strings.Contains(logged, part) {
			t.Errorf("the log lacks %s: %s", part, logged)
		}
	}
	bad := correlation.WithID(context.Background(), "a\r\nX-Evil: 1")
	if got := f.reader.level(bad, f.stock(1)[0], 0); got.Outcome != Known {
		t.Fatalf("got %+v", got)
	}
	if last := f.sim.Stats().Last; last["X-Correlation-Id"] != nil {
		t.Errorf("headers: %v", last)
	}
}

// TestFailedCreationNamesItsCause follows the id of what created a variant from the queue into
// header and log.
func TestFailedCreationNamesItsCause(t *testing.T) {
	f := newFixture(t, quick)
	f.fault(simulator.Fault{Mode: simulator.Fail})
	q, id := newQueue(), uuid.New()
	q.add(id, 1)
	f.initialize(q)
	eventually(t, "tried", func() bool { return q.job(id).Tries > 0 })
	cause := "made-" + id.String()[:8]
	if got := f.sim.Stats().Last["X-Correlation-Id"]; got != cause {
		t.Errorf("sent %v, want %s", got, cause)
	}
	if got := f.sim.Stats().Last["Traceparent"]; got != traceOf(id) {
		t.Errorf("sent the trace %v", got)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(f.logs.String()), "\n") {
		if strings.Contains(line, "inventory") && !strings.Contains(line, cause) {
			t.Errorf("a line without the id: %s", line)
		}
	}
}

// TestEveryCallHasACorrelationID: probes have one an episode, what an event makes be asked for has
// the event's.
func TestEveryCallHasACorrelationID(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.BreakerOpen, f.cfg.FailureQuiet, f.cfg.Retries = 50*time.Millisecond, time.Millisecond, 0
	})
	id := f.stock(1)[0]
	levels, cancel := watch(f.reader, []uuid.UUID{id})
	defer cancel()
	e := changed(id, time.Now())
	f.reader.ApplyHeld(context.Background(), e)
	heard(t, levels, []uuid.UUID{id}, 100)
	if got := f.sim.Stats().Last["X-Correlation-Id"]; got != e.ID.String() {
		t.Errorf("for event %s sent %v", e.ID, got)
	}
	f.fault(simulator.Fault{Mode: simulator.Fail})
	asked := correlation.WithID(context.Background(), "asked")
	eventually(t, "breaker open", func() bool {
		f.reader.level(asked, uuid.New(), 0)
		return !f.client.reads.closed()
	})
	probes := func() map[string]int {
		ids := map[string]int{}
		for line := range strings.SplitSeq(f.logs.String(), "\n") {
			var call struct {
				Msg, Operation string
				CorrelationID  string `json:"correlation_id"`
			}
			if json.Unmarshal([]byte(line), &call) == nil && call.Msg == "inventory call" && call.Operation == "probe" {
				ids[call.CorrelationID]++
			}
		}
		return ids
	}
	eventually(t, "probed", func() bool {
		for _, n := range probes() {
			if n > 2 {
				return true
			}
		}
		return false
	})
	if ids := probes(); len(ids) != 1 || ids[""] > 0 {
		t.Errorf("the probes of one outage went by %v", ids)
	}
}
