package inventory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"product-service/wait"
)

// errRedirect marks a redirect that is not followed.
var errRedirect = errors.New("redirect refused")

// retryBudget keeps retries to a fifth of the calls, with a few in hand for quiet times (Google
// SRE, chapter 21: retries without a budget multiply the load of a service that is already
// failing).
type retryBudget struct {
	mu     sync.Mutex
	tokens float64
}

const (
	retryShare = 0.2
	retryFloor = 3
	retryMost  = 20

	longestRetryWait = 250 * time.Millisecond
)

func newRetryBudget() *retryBudget { return &retryBudget{tokens: retryFloor} }

func (b *retryBudget) earn() {
	b.mu.Lock()
	b.tokens = min(retryMost, b.tokens+retryShare)
	b.mu.Unlock()
}

func (b *retryBudget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// leftForAnswer is what a retry must leave of the deadline after its wait to be worth making.
const leftForAnswer = 50 * time.Millisecond

// retrier decides about the retries of one call. The retrying client asks "again?" and then "after
// how long?"; the first answer depends on the second, so both are decided together.
type retrier struct {
	client *Client
	call   *call
	wait   time.Duration
}

func (r *retrier) again(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	asked, hasAsked := retryAfter(resp, time.Now())
	if hasAsked {
		asked = min(asked, r.client.cfg.RetryAfterMax)
	}
	if !retryable(resp, err) {
		return false, nil
	}
	if r.call.ids > 1 && !hasAsked && r.call.blame(resp, err).divisible() {
		return false, nil // asked again in halves instead, which finds out more
	}
	r.wait = wait.Jitter(r.client.cfg.RetryBase, longestRetryWait, r.call.attempt-1)
	if hasAsked {
		r.wait = asked
	}
	deadline, bounded := ctx.Deadline()
	fits := !bounded || time.Until(deadline) > r.wait+leftForAnswer
	if fits && r.call.attempt <= r.call.retries && r.client.budget.spend() {
		r.client.metrics.retries.Inc()
		return true, nil
	}
	if hasAsked {
		r.client.holdUntil(time.Now().Add(asked))
	}
	return false, nil
}

func (r *retrier) backoff(time.Duration, time.Duration, int, *http.Response) time.Duration {
	return r.wait
}

// retryable says whether the same call may do better: connection trouble, timeouts, a broken body,
// 408, 425, 429, 5xx.
func retryable(resp *http.Response, err error) bool {
	if err != nil {
		var badCert *tls.CertificateVerificationError
		var unknownCA x509.UnknownAuthorityError
		switch {
		case refusedByBreaker(err), errors.Is(err, errItem), errors.Is(err, errTooLarge), errors.Is(err, errForeign),
			errors.Is(err, errRedirect), errors.Is(err, errToken),
			errors.As(err, &badCert), errors.As(err, &unknownCA):
			return false
		}
		return true
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the Retry-After header (RFC 9110 §10.2.3: seconds or a date) of a 429 or 503.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	if resp == nil || (resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable) {
		return 0, false
	}
	header := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}
