package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// call is one logical request with all its attempts; it travels in the request's context.
type call struct {
	op      string // list, one, create: a label of logs and metrics
	ids     int    // how many variants it is about
	retries int
	timeout time.Duration
	breaker *breaker
	decode  func(status int, body []byte) error // runs inside the breaker: what cannot be read is a failure

	attempt int
}

type callKey struct{}

// attempts is the transport of one attempt: breaker, timeout, bounded body, decoding, log and metrics. It has no
// CloseIdleConnections on purpose: the retrying client would call it after each failure and drop the whole pool.
type attempts struct {
	next    http.RoundTripper
	maxBody int64
	log     *slog.Logger
	metrics *clientMetrics
}

// failedStatus makes a status count as a failure for the breaker while the response itself goes on to the retry rules.
type failedStatus struct{ code int }

func (f failedStatus) Error() string { return "status " + strconv.Itoa(f.code) }

func (a *attempts) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := req.Context().Value(callKey{}).(*call)
	if !ok {
		return nil, errors.New("request without a call")
	}
	c.attempt++
	start := time.Now()
	resp, err := c.breaker.do(func() (*http.Response, error) { return a.once(req, c) })
	a.report(req.Context(), c, resp, err, time.Since(start))
	if failed := (failedStatus{}); errors.As(err, &failed) {
		return resp, nil
	}
	return resp, err
}

func (a *attempts) once(req *http.Request, c *call) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()
	clone := req.Clone(ctx)
	clone.Header.Set("X-Request-Attempt", strconv.Itoa(c.attempt))
	if deadline, ok := ctx.Deadline(); ok {
		clone.Header.Set("X-Request-Timeout-Ms", strconv.FormatInt(time.Until(deadline).Milliseconds(), 10))
	}
	resp, err := a.next.RoundTrip(clone)
	if err != nil {
		return nil, err
	}
	body, err := readBounded(resp.Body, a.maxBody)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.StatusCode >= http.StatusInternalServerError {
		return resp, failedStatus{resp.StatusCode}
	}
	if err := c.decode(resp.StatusCode, body); err != nil {
		return nil, err
	}
	return resp, nil
}

// readBounded reads the whole body, so that the connection can be used again, unless it is longer than allowed.
func readBounded(body io.ReadCloser, most int64) ([]byte, error) {
	defer func() { _ = body.Close() }()
	read, err := io.ReadAll(io.LimitReader(body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(read)) > most {
		return nil, errTooLarge
	}
	return read, nil
}

// report logs one attempt, with its context, and counts it. Attempts the breaker refused were no calls: they are counted, not logged.
func (a *attempts) report(ctx context.Context, c *call, resp *http.Response, err error, took time.Duration) {
	outcome := outcomeOf(resp, err)
	a.metrics.calls.WithLabelValues(c.op, outcome).Inc()
	if outcome == "refused" {
		return
	}
	a.metrics.seconds.WithLabelValues(c.op).Observe(took.Seconds())
	level := slog.LevelInfo
	if outcome != "ok" && outcome != "absent" && outcome != "exists" {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("operation", c.op), slog.Int("variants", c.ids), slog.Int("attempt", c.attempt),
		slog.String("outcome", outcome), slog.Duration("took", took), slog.String("breaker", c.breaker.name()),
	}
	if resp != nil {
		attrs = append(attrs, slog.Int("status", resp.StatusCode))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", bare(err).Error()))
	}
	a.log.LogAttrs(ctx, level, "inventory call", attrs...)
}

// bare takes the method and URL off an error of net/http: the URL names every variant, the log line has the rest.
func bare(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
