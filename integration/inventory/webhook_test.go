package inventory

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

func newWebhook(t *testing.T, handler http.HandlerFunc, set func(*Config)) (*Webhook, *fixture) {
	t.Helper()
	f := newFixture(t, func(f *fixture) {
		f.cfg.WebhookURL, f.cfg.WebhookSecret = newHTTP(t, handler), "hush-3"
		f.cfg.WebhookBackoff, f.cfg.WebhookBackoffMax = time.Millisecond, 5*time.Millisecond
		if set != nil {
			set(&f.cfg)
		}
	})
	w, err := NewWebhook(f.cfg, f.client.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w, f
}

func lowStock() Event {
	return Event{ID: uuid.New(), Type: LowStockEvent, At: noon, VariantID: uuid.New(), Available: new(int64(2))}
}

func TestWebhook(t *testing.T) {
	type delivery struct {
		header http.Header
		body   string
	}
	var mu sync.Mutex
	var got []delivery
	failures := 2
	w, f := newWebhook(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if failures--; failures >= 0 {
			http.Error(w, "not yet", http.StatusBadGateway)
			return
		}
		got = append(got, delivery{r.Header.Clone(), readAll(t, r)})
	}, nil)
	event := lowStock()
	if err := w.Deliver(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("delivered %d times", len(got))
	}
	d := got[0]
	want := Sign([]byte("hush-3"), event.ID.String(), d.header.Get("Webhook-Timestamp"), []byte(d.body))
	if d.header.Get("Webhook-Id") != event.ID.String() || d.header.Get("Webhook-Signature") != want || !strings.Contains(d.body, `"availableQuantity":2`) {
		t.Errorf("delivery %+v, want signature %s", d, want)
	}
	if logged := f.logs.String(); strings.Contains(logged, "hush") || !strings.Contains(logged, event.ID.String()) {
		t.Errorf("the log must name the event that had to be tried again, and no secret: %s", logged)
	}
}

// TestWebhookWaitsForItsReceiver has a receiver that takes nothing for longer than an event is tried.
func TestWebhookWaitsForItsReceiver(t *testing.T) {
	var tried atomic.Int64
	w, _ := newWebhook(t, func(w http.ResponseWriter, _ *http.Request) {
		if tried.Add(1) < 10 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, func(c *Config) { c.WebhookTries = 2 })
	if err := w.Deliver(t.Context(), lowStock()); err != nil || tried.Load() != 10 {
		t.Fatalf("after %d tries: %v", tried.Load(), err)
	}
}

// TestWebhookGivesUp has a receiver that fails at one event and takes the others, and one that has
// gone for good.
func TestWebhookGivesUp(t *testing.T) {
	poison, refused := lowStock(), lowStock()
	w, f := newWebhook(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Webhook-Id") {
		case poison.ID.String():
			w.WriteHeader(http.StatusInternalServerError)
		case refused.ID.String():
			w.WriteHeader(http.StatusGone)
		}
	}, func(c *Config) { c.WebhookTries = 3 })
	ended := make(chan error)
	go func() { ended <- w.Deliver(t.Context(), poison) }()
	eventually(t, "the first try", func() bool { return strings.Contains(f.logs.String(), poison.ID.String()) })
	if err := w.Deliver(t.Context(), lowStock()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := w.Deliver(t.Context(), refused); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(f.logs.String(), "webhook not delivered"); n != 2 {
		t.Errorf("the log tells of %d that were given up: %s", n, f.logs.String())
	}
}

func TestWebhookEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, _ := newWebhook(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		cancel()
	}, func(c *Config) { c.WebhookBackoff, c.WebhookBackoffMax = time.Hour, time.Hour })
	if err := w.Deliver(ctx, lowStock()); !errors.Is(err, context.Canceled) {
		t.Fatalf("it ended with %v", err)
	}
}

// TestSignature checks against the example of the Standard Webhooks specification.
func TestSignature(t *testing.T) {
	key, err := webhookKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if _, err := webhookKey("whsec_"); err == nil {
		t.Error("an empty key was taken")
	}
}
