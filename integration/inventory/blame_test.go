package inventory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sony/gobreaker/v2"
)

func TestBlame(t *testing.T) {
	wrapped := func(err error) error {
		return fmt.Errorf("list: %w", &url.Error{Op: "Get", URL: "http://x/inventory", Err: err})
	}
	cases := []struct {
		name   string
		status int
		err    error
		want   blame
	}{
		{"an answer", 200, nil, blameNobody},
		{"a record that isn't there", 200, nil, blameNobody},
		{"a level that can't be read", 0, fmt.Errorf("%w: status", errItem), blameNobody},
		{"a request it doesn't take", 400, nil, blameRequest},
		{"a list with an unknown variant", 404, nil, blameRequest},
		{"too many variants", 413, nil, blameRequest},
		{"too long a URL", 414, nil, blameRequest},
		{"no right to ask", 401, nil, blameRefusal},
		{"no right to this", 403, nil, blameRefusal},
		{"too many requests", 429, nil, blameRefusal},
		{"a failure", 500, nil, blameUnclear},
		{"a failure as it comes from a call", 0, wrapped(statusError{500}), blameUnclear},
		{"a refusal as it comes from a call", 0, wrapped(statusError{400}), blameRequest},
		{"a gateway without its service", 502, nil, blameUnclear},
		{"a gateway that waited", 504, nil, blameUnclear},
		{"no answer in time", 0, wrapped(context.DeadlineExceeded), blameUnclear},
		{"a connection that ends", 0, wrapped(io.EOF), blameUnclear},
		{"half a body", 0, fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF), blameUnclear},
		{"a reset", 0, wrapped(&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}), blameUnclear},
		{"another's page", 0, fmt.Errorf("%w: not a list", errUndecodable), blameUnclear},
		{"another's 404", 0, errForeign, blameUnclear},
		{"too long a body", 0, errTooLarge, blameUnclear},
		{"nobody listens", 0, wrapped(&net.OpError{Op: "dial", Err: errors.New("connection refused")}), blameService},
		{"no such host", 0, wrapped(&net.OpError{Op: "dial", Err: &net.DNSError{}}), blameService},
		{"a certificate of another", 0, wrapped(&tls.CertificateVerificationError{Err: errors.New("x")}), blameService},
		{"no token", 0, wrapped(errToken), blameService},
		{"a redirect elsewhere", 0, wrapped(errRedirect), blameService},
		{"our own end", 0, wrapped(context.Canceled), blameOurs},
		{"an open breaker", 0, gobreaker.ErrOpenState, blameOurs},
		{"a line that is too long", 0, errShed, blameOurs},
	}
	for _, c := range cases {
		if got := blameOf(c.status, c.err); got != c.want {
			t.Errorf("%s: the fault is %s, want %s", c.name, got, c.want)
		}
	}
}

// TestBreakerIsConvincedByControl: failures that may be the variants' open it only when a control call
// fails too.
func TestBreakerIsConvincedByControl(t *testing.T) {
	f := newFixture(t, nil)
	b := f.client.reads
	answers, controls := true, 0
	b.control = func() bool { controls++; return answers }
	fail := func(n int, whose blame) {
		for range n {
			if err := b.do(func() blame { return whose }); err != nil {
				t.Fatal(err)
			}
		}
	}
	fail(3*f.cfg.BreakerRow, blameUnclear)
	if !b.closed() || controls != 1 {
		t.Fatalf("closed: %v after %d control calls that were answered", b.closed(), controls)
	}
	fail(3*f.cfg.BreakerRow, blameRequest)
	fail(3*f.cfg.BreakerRow, blameOurs)
	if !b.closed() {
		t.Fatal("opened over answers")
	}
	b.controlled.Store(0)
	answers = false
	for i := 0; b.closed(); i++ {
		if i > f.cfg.BreakerCalls {
			t.Fatal("stays closed")
		}
		fail(1, blameUnclear)
	}
	if controls != 2 {
		t.Errorf("%d control calls", controls)
	}
}

// TestBreakerNeedsNoControlForDeadServices: where nobody listens no variant is the reason.
func TestBreakerNeedsNoControlForDeadServices(t *testing.T) {
	f := newFixture(t, nil)
	b := f.client.reads
	b.control = func() bool { t.Error("a control call"); return true }
	for range f.cfg.BreakerRow {
		_ = b.do(func() blame { return blameService })
	}
	if b.closed() {
		t.Error("stays closed")
	}
}

func TestCanaries(t *testing.T) {
	c := newCanaries()
	id := func(n int) uuid.UUID { return uuid.UUID{15: byte(n)} }
	if _, ok := c.forControl(); ok || c.any() || len(c.forProbe()) != 0 {
		t.Fatal("something of nothing")
	}
	c.failed([]uuid.UUID{id(1)})
	if _, ok := c.forControl(); ok || c.any() {
		t.Error("one that failed is a control")
	}
	c.answered([]uuid.UUID{id(2)})
	c.answered([]uuid.UUID{id(3)})
	if got, _ := c.forControl(); got != id(3) {
		t.Errorf("control is %s", got)
	}
	c.failed([]uuid.UUID{id(3)})
	if got, _ := c.forControl(); got != id(2) {
		t.Errorf("control is %s", got)
	}
	c.failed([]uuid.UUID{id(2)})
	for _, want := range []int{3, 2, 3, 2} { // those that ever answered, in turn, and not the one that never did
		got := c.forProbe()
		if len(got) != 2 || got[0] != id(want) {
			t.Fatalf("probes with %v, want %d first", got, want)
		}
		c.failed(got[:1])
	}
	c.wanted(id(4))
	if got := c.forProbe(); got[0] != id(4) {
		t.Errorf("what is wanted now isn't probed: %v", got)
	}
	for i := range 200 {
		c.wanted(id(i))
	}
	c.answered([]uuid.UUID{id(250)})
	for i := range 200 {
		c.wanted(id(i))
	}
	if len(c.byID) > canariesHeld || len(c.forProbe()) != 1 {
		t.Errorf("%d are held, %d probed", len(c.byID), len(c.forProbe()))
	}
	if got, ok := c.forControl(); !ok || got != id(250) {
		t.Error("one that answers was dropped for those that never did")
	}
}

func TestRests(t *testing.T) {
	cfg := Config{FailureQuiet: time.Second, BreakerOpen: 3 * time.Second}
	for _, c := range []struct {
		alone, among int
		longest      time.Duration
	}{{0, 0, time.Second}, {1, 0, time.Second}, {1, 1, time.Second}, {2, 1, 2 * time.Second}, {3, 1, 3 * time.Second}, {90, 1, 3 * time.Second}, {0, 40, time.Second / 4}} {
		for range 50 {
			if got := cfg.rest(c.alone, c.among); got < c.longest/2 || got > c.longest {
				t.Errorf("after %d failures, among %d, it rests %s; want up to %s", c.alone, c.among, got, c.longest)
			}
		}
	}
}
