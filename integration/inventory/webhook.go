package inventory

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// ErrQueueFull is returned for an event that finds Config.WebhookQueue others waiting.
var ErrQueueFull = errors.New("webhook queue is full")

const (
	webhookWorkers = 4
	webhookMemory  = 10_000 // ids of events remembered against repetition
)

// Webhook tells internal teams about inventory events: a POST of the event's JSON, signed as standardwebhooks.com
// says (webhook-id, webhook-timestamp, webhook-signature: v1 and HMAC-SHA256 in base64), repeated with backoff until it
// is answered with 2xx. Each event id is delivered once by this process while it is remembered; a receiver that must
// know for certain drops repeated webhook-ids. Events don't wait for each other, so they may arrive out of order.
type Webhook struct {
	cfg     Config
	key     []byte
	client  *http.Client
	log     *slog.Logger
	results *prometheus.CounterVec
	queue   chan Event

	mu    sync.Mutex
	known map[uuid.UUID]struct{}
	order []uuid.UUID // ring of the ids in known
	next  int
}

// NewWebhook makes the sender, or returns nil if no URL is configured; all methods of a nil Webhook do nothing.
// Errors: a secret that cannot be used. reg may be nil.
func NewWebhook(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Webhook, error) {
	if cfg.WebhookURL == "" {
		return nil, nil //nolint:nilnil // documented: a nil Webhook is the one that tells nobody
	}
	key, err := webhookKey(cfg.WebhookSecret)
	if err != nil {
		return nil, err
	}
	w := &Webhook{
		cfg: cfg, key: key, log: log, queue: make(chan Event, cfg.WebhookQueue), known: map[uuid.UUID]struct{}{},
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: webhookWorkers, IdleConnTimeout: 30 * time.Second},
			Timeout:       cfg.WebhookTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	f := promauto.With(reg)
	w.results = counter(f, "webhook_total", "Events for the webhook, by outcome.", "outcome")
	gauge(f, "webhook_queue_depth", "Events waiting for delivery.", nil, func() float64 { return float64(len(w.queue)) })
	return w, nil
}

// webhookKey is the signing key: the bytes after whsec_ in base64, or the secret itself.
func webhookKey(secret Secret) ([]byte, error) {
	encoded, isEncoded := strings.CutPrefix(string(secret), "whsec_")
	if !isEncoded {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("INVENTORY_WEBHOOK_SECRET starts with whsec_ but what follows is not base64")
	}
	return key, nil
}

// Notify queues the event; one whose id is known already is dropped. It never blocks. Error: ErrQueueFull.
func (w *Webhook) Notify(e Event) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, repeated := w.known[e.ID]; repeated {
		w.results.WithLabelValues("repeated").Inc()
		return nil
	}
	select {
	case w.queue <- e:
		w.remember(e.ID)
		return nil
	default:
		w.results.WithLabelValues("refused").Inc()
		return ErrQueueFull
	}
}

func (w *Webhook) remember(id uuid.UUID) {
	w.known[id] = struct{}{}
	if len(w.order) < webhookMemory {
		w.order = append(w.order, id)
		return
	}
	delete(w.known, w.order[w.next])
	w.order[w.next] = id
	w.next = (w.next + 1) % webhookMemory
}

// Run delivers until ctx ends; what is queued then is tried once more, for Config.WebhookTimeout in all, and what could
// not be delivered is logged and lost.
func (w *Webhook) Run(ctx context.Context) {
	if w == nil {
		return
	}
	defer w.client.CloseIdleConnections()
	var workers sync.WaitGroup
	for range webhookWorkers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case e := <-w.queue:
					w.deliver(ctx, e)
				}
			}
		})
	}
	workers.Wait()
	w.drain(context.WithoutCancel(ctx))
}

// drain tries what is left once.
func (w *Webhook) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.WebhookTimeout)
	defer cancel()
	for {
		select {
		case e := <-w.queue:
			if err := w.post(ctx, e); err != nil {
				w.results.WithLabelValues("failed").Inc()
				w.log.Error("webhook ends before an event was delivered", "event", e.ID, "variant", e.VariantID, "error", err)
				continue
			}
			w.results.WithLabelValues("delivered").Inc()
		default:
			return
		}
	}
}

// deliver tries until the receiver has the event, refuses it for good, or the tries are used up.
func (w *Webhook) deliver(ctx context.Context, e Event) {
	for try := 1; ; try++ {
		err := w.post(ctx, e)
		if err == nil {
			w.results.WithLabelValues("delivered").Inc()
			return
		}
		if ctx.Err() != nil {
			w.handBack(e)
			return
		}
		if try == w.cfg.WebhookTries || errors.Is(err, ErrRefused) {
			w.results.WithLabelValues("failed").Inc()
			w.log.Error("webhook not delivered", "event", e.ID, "variant", e.VariantID, "tries", try, "error", err)
			return
		}
		w.results.WithLabelValues("retried").Inc()
		if !sleep(ctx, w.cfg.WebhookBackoff/2+fullJitter(w.cfg.WebhookBackoff, w.cfg.WebhookBackoffMax, try-1)) {
			w.handBack(e)
			return
		}
	}
}

// handBack returns an event whose delivery the end interrupted to the queue, for the last try.
func (w *Webhook) handBack(e Event) {
	select {
	case w.queue <- e:
	default:
		w.log.Error("webhook ends before an event was delivered", "event", e.ID, "variant", e.VariantID)
	}
}

func (w *Webhook) post(ctx context.Context, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the event: %w: %w", ErrRefused, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.WebhookURL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w: %w", ErrRefused, bare(err))
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", e.ID.String())
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", Sign(w.key, e.ID.String(), stamp, body))
	resp, err := w.client.Do(req)
	if err != nil {
		return fmt.Errorf("post: %w", bare(err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusGone: // the standard's word for "never again"
		return fmt.Errorf("%w: the receiver answered 410", ErrRefused)
	default:
		return fmt.Errorf("the receiver answered %d", resp.StatusCode)
	}
}

// Sign is the webhook-signature of a delivery: "v1," and the HMAC-SHA256 of "id.timestamp.body" in base64.
func Sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
