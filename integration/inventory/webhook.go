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
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"product-service/wait"
)

// Webhook tells internal teams about inventory events: a POST of the event's JSON, signed as
// standardwebhooks.com says (webhook-id, webhook-timestamp, webhook-signature: v1 and HMAC-SHA256
// in base64). Whoever calls it may have to repeat an event, after a crash: a receiver that must
// know for certain drops repeated webhook-ids.
type Webhook struct {
	cfg     Config
	key     []byte
	client  *http.Client
	log     *slog.Logger
	results *prometheus.CounterVec
	waiting atomic.Int64

	delivered atomic.Int64 // how often; a receiver that takes others is up
}

// NewWebhook makes the sender. Errors: a secret that cannot be used. reg may be nil.
func NewWebhook(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Webhook, error) {
	key, err := webhookKey(cfg.WebhookSecret)
	if err != nil {
		return nil, err
	}
	w := &Webhook{
		cfg: cfg, key: key, log: log,
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 8, IdleConnTimeout: 30 * time.Second},
			Timeout:       cfg.WebhookTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	f := promauto.With(reg)
	w.results = counter(f, "webhook_total", "Events for the webhook, by outcome.", "outcome")
	gauge(f, "webhook_waiting", "Events whose delivery has begun and not ended.", nil, func() float64 { return float64(w.waiting.Load()) })
	return w, nil
}

// webhookKey is the signing key: the bytes after whsec_ in base64, or the secret itself.
func webhookKey(secret Secret) ([]byte, error) {
	key := []byte(secret)
	if encoded, isEncoded := strings.CutPrefix(string(secret), "whsec_"); isEncoded {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("INVENTORY_WEBHOOK_SECRET starts with whsec_ but what follows is not base64")
		}
	}
	if len(key) == 0 {
		return nil, errors.New("INVENTORY_WEBHOOK_SECRET has nothing in it to sign with")
	}
	return key, nil
}

// Deliver repeats the event with backoff until the receiver has it. It gives up, and says so in the
// log, on one that the receiver answers with 410, and on one that fails Config.WebhookTries times
// while others are taken: as long as the receiver takes none, it waits for it. Error: the
// context's, when that ends first.
func (w *Webhook) Deliver(ctx context.Context, e Event) error {
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	others := w.delivered.Load()
	for try := 1; ; try++ {
		err := w.post(ctx, e)
		switch {
		case err == nil:
			w.delivered.Add(1)
			w.results.WithLabelValues("delivered").Inc()
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrRefused), try >= w.cfg.WebhookTries && w.delivered.Load() > others:
			w.results.WithLabelValues("failed").Inc()
			w.log.ErrorContext(ctx, "webhook not delivered", "event_id", e.ID, "variant_id", e.VariantID, "attempt", try, "error", err)
			return nil
		}
		w.results.WithLabelValues("retried").Inc()
		if try == 1 {
			w.log.WarnContext(ctx, "the receiver of the webhook doesn't take an event; it is tried again", "event_id", e.ID, "variant_id", e.VariantID, "error", err)
		}
		if !wait.For(ctx, w.cfg.WebhookBackoff/2+wait.Jitter(w.cfg.WebhookBackoff, w.cfg.WebhookBackoffMax, try-1)) {
			return context.Cause(ctx)
		}
	}
}

// Close ends idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

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
