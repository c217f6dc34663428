package inventory

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestWebhook(t *testing.T) {
	type delivery struct {
		header http.Header
		body   string
	}
	var mu sync.Mutex
	var got []delivery
	failures := 2
	hook := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if failures--; failures >= 0 {
			http.Error(w, "not yet", http.StatusBadGateway)
			return
		}
		got = append(got, delivery{r.Header.Clone(), readAll(t, r)})
	})
	f := newFixture(t, func(f *fixture) {
		f.cfg.WebhookURL, f.cfg.WebhookSecret = hook, "hush-3"
		f.cfg.WebhookBackoff, f.cfg.WebhookQueue = time.Millisecond, 3
	})
	w, err := NewWebhook(f.cfg, f.client.log, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := make([]Event, 4)
	for i := range events {
		events[i] = Event{ID: uuid.New(), Type: LowStockEvent, At: noon, VariantID: uuid.New(), Available: new(int64(2))}
	}
	for _, e := range slices.Concat(events[:3], events[:3]) {
		if err := w.Notify(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Notify(events[3]); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("a full queue took one more: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { w.Run(ctx) })
	count := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == n }
	}
	eventually(t, "three deliveries", count(3))
	if err := w.Notify(events[3]); err != nil { // refused before, so not remembered
		t.Fatal(err)
	}
	eventually(t, "four deliveries", count(4))
	cancel()
	done.Wait()
	for _, d := range got {
		want := Sign([]byte("hush-3"), d.header.Get("Webhook-Id"), d.header.Get("Webhook-Timestamp"), []byte(d.body))
		if d.header.Get("Webhook-Signature") != want || !strings.Contains(d.body, `"availableQuantity":2`) {
			t.Errorf("delivery %+v, want signature %s", d, want)
		}
	}
	if logged := f.logs.String(); strings.Contains(logged, "hush") {
		t.Error("the secret is in the log")
	}
	var nobody *Webhook
	if err := nobody.Notify(events[0]); err != nil {
		t.Error(err)
	}
	nobody.Run(ctx)
}

// TestWebhookEndsWithALastTry ends the sender while its receiver refuses, which then comes round.
func TestWebhookEndsWithALastTry(t *testing.T) {
	var tried, delivered atomic.Int64
	var well atomic.Bool
	hook := newHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		tried.Add(1)
		if !well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		delivered.Add(1)
	})
	cfg := defaults(t, hook)
	cfg.WebhookURL, cfg.WebhookSecret, cfg.WebhookBackoff = hook, "hush", time.Hour
	w, err := NewWebhook(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	const events = 10
	for range events {
		if err := w.Notify(Event{ID: uuid.New(), Type: OutOfStockEvent, At: noon, VariantID: uuid.New()}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { w.Run(ctx) })
	eventually(t, "each worker waits for its next try", func() bool { return tried.Load() == webhookWorkers })
	well.Store(true)
	cancel()
	done.Wait()
	if n := delivered.Load(); n != events {
		t.Fatalf("%d of %d delivered", n, events)
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
}
