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
	op        string // list, one, create, probe, control: a label of logs and metrics
	ids       int    // how many variants it is about
	retries   int
	timeout   time.Duration
	breaker   *breaker // nil: the attempts are not counted, and nothing stops them
	uncounted bool     // the breaker doesn't count a failure that may be the variants'

	// decode reads an answer below 500. What can't be read is a failure.
	decode func(resp *http.Response, body []byte) error

	attempt int
}

type callKey struct{}

// attempts is the transport of one attempt: breaker, timeout, bounded body, decoding, log and
// metrics. It has no CloseIdleConnections on purpose: the retrying client would call it after each
// failure and drop the whole pool.
type attempts struct {
	next    http.RoundTripper
	maxBody int64
	log     *slog.Logger
	metrics *clientMetrics
}

func (a *attempts) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := req.Context().Value(callKey{}).(*call)
	if !ok {
		return nil, errors.New("request without a call")
	}
	c.attempt++
	start := time.Now()
	var resp *http.Response
	var err error
	attempt := func() blame {
		resp, err = a.once(req, c) //nolint:bodyclose // its body is in memory, and the caller closes it
		return c.blame(resp, err)
	}
	if c.breaker == nil {
		attempt()
	} else if refusal := c.breaker.do(attempt); refusal != nil {
		resp, err = nil, refusal
	}
	a.report(req.Context(), c, resp, err, time.Since(start))
	return resp, err
}

// blame is whose fault the attempt was, as the breaker counts it.
func (c *call) blame(resp *http.Response, err error) blame {
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	whose := blameOf(status, err)
	if whose == blameUnclear && c.uncounted {
		return blameOurs
	}
	return whose
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
	if resp.StatusCode < http.StatusInternalServerError {
		if err := c.decode(resp, body); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// readBounded reads the whole body, so that the connection can be used again, unless it is longer
// than allowed.
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

// report logs one attempt, with its context, and counts it. Attempts the breaker refused were no
// calls: they are counted, not logged.
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
		slog.String("outcome", outcome), slog.Duration("took", took),
	}
	if c.breaker != nil {
		attrs = append(attrs, slog.String("breaker", c.breaker.name()))
	}
	if resp != nil {
		attrs = append(attrs, slog.Int("status", resp.StatusCode))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", bare(err).Error()))
	}
	a.log.LogAttrs(ctx, level, "inventory call", attrs...)
}

// bare takes the method and URL off an error of net/http: the URL names every variant, the log line
// has the rest.
func bare(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
