package graph

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/graph/auth"
)

// Gate tells for every request its caller, and how much that caller may still ask for.
type Gate struct {
	*auth.Verifier
	limits  *limits // nil where there are none
	proxies proxies
}

// NewGate makes the gate that all routes for clients share.
func NewGate(c Config, callers *auth.Verifier, reg prometheus.Registerer) (*Gate, error) {
	trusted, err := parseProxies(c.RateLimit.TrustedProxies)
	if err != nil {
		return nil, err
	}
	limits, err := newLimits(c.RateLimit, trusted, reg)
	return &Gate{Verifier: callers, limits: limits, proxies: trusted}, err
}

// Admit returns the context in which a caller's request runs. The caller may have shown a token with the
// request or, on a WebSocket, after it.
func (g *Gate) Admit(ctx context.Context, r *http.Request, c auth.Caller) context.Context {
	return withBudget(auth.WithCaller(ctx, c), g.limits.of(r, c))
}

// admitted passes a request on to next, with the caller in its context. A request needs a token that is
// accepted, or none where no scope is needed, and a caller with budget left. Other requests are answered
// with 401 or 403 and a challenge (RFC 6750, section 3), or with 429.
func (g *Gate) admitted(scope string, p presenter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := g.Request(r)
		ctx := g.Admit(r.Context(), r, caller)
		if err == nil && scope != "" {
			err = caller.Need([]string{scope})
		}
		if err != nil {
			charge(ctx)
		}
		if spent := spend(ctx, 0); spent != nil {
			err = spent
		}
		if err == nil {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		media, _ := negotiate(r.Header.Values("Accept"))
		p.refuse(r.Context(), w, media, statusOf(w.Header(), err), err)
	})
}

// statusOf is how HTTP says why a caller isn't served, with the header that goes with it.
func statusOf(header http.Header, err error) int {
	if refused, ok := errors.AsType[*auth.Refusal](err); ok {
		header.Set("WWW-Authenticate", refused.Challenge)
		return refused.Status
	}
	if spent, ok := errors.AsType[*tooMuch](err); ok {
		header.Set("Retry-After", strconv.Itoa(spent.after))
	}
	return http.StatusTooManyRequests
}
