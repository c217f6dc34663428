package inventory

import (
	"context"
	"strings"
	"testing"
)

// TestWhatGoesUpstream checks the headers of a call, and that an ill-formed id is left out instead of failing it.
func TestWhatGoesUpstream(t *testing.T) {
	f := newFixture(t, nil)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := WithTraceParent(WithCorrelationID(context.Background(), "page-7"), trace)
	if got := f.reader.Level(ctx, f.stock(1)[0], 0); got.Outcome != Known {
		t.Fatalf("got %+v", got)
	}
	last := f.sim.Stats().Last
	if last["X-Correlation-Id"] != "page-7" || last["Traceparent"] != trace {
		t.Errorf("headers: %v", last)
	}
	logged := f.logs.String()
	for _, part := range []string{`"correlationId":"page-7"`, `"attempt":1`, `"took":`, `"breaker":"closed"`, `"outcome":"ok"`, `"status":200`} {
		if !strings.Contains(logged, part) {
			t.Errorf("the log lacks %s: %s", part, logged)
		}
	}
	bad := WithCorrelationID(context.Background(), "a\r\nX-Evil: 1")
	if got := f.reader.Level(bad, f.stock(1)[0], 0); got.Outcome != Known {
		t.Fatalf("got %+v", got)
	}
	if last := f.sim.Stats().Last; last["X-Correlation-Id"] != nil {
		t.Errorf("headers: %v", last)
	}
}
