package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/graph/generated"
)

// handler speaks GraphQL over HTTP (the 2023 draft of that specification, as the graphql-http
// audits read it).
type handler struct {
	engine
	config      Config
	places      places
	gate        *Gate
	connections *connections
	timings     timings
}

// API serves /graphql.
type API struct {
	http.Handler
	inner         *handler
	subscriptions *subscriptions
}

// Handler returns what serves /graphql. It fails only where the configuration can't work. It
// carries the correlation id of each request in its context, see [Correlate].
func Handler(c Config, s Services, log *slog.Logger, reg prometheus.Registerer) (*API, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if s.Gate == nil {
		return nil, errors.New("nothing says who callers are")
	}
	s.Levels = agingLevels{s.Levels, s.LevelsFresh}
	resolver, err := NewResolver(s)
	if err != nil {
		return nil, err
	}
	present := presenter{log}
	resolver.subscriptions = newSubscriptions(s, c.SubscriptionInterval, present)
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: resolver})
	metrics := newMetrics(reg)
	admission, err := newAdmission(c, metrics, log)
	if err != nil {
		return nil, err
	}
	h := &handler{
		engine: engine{schema: schema, admission: admission, scopes: resolver.scopes, source: source{resolver}, planned: c.Plan == "on",
			levels: s.Levels, presenter: present, maxCost: c.MaxCost, metrics: metrics},
		config: c, gate: s.Gate, places: make(places, c.Concurrency), timings: standardTimings, connections: newConnections(c, s.Gate, metrics),
	}
	return &API{Handler: edge(c, s.Gate, "", present, h, http.MethodGet, http.MethodHead, http.MethodPost), inner: h, subscriptions: resolver.subscriptions}, nil
}

// Connections is how many WebSockets and event streams are open.
func (a *API) Connections() int { return a.inner.connections.count() }

// Run lets clients follow what changes until ctx ends. Then it completes what they follow and
// closes their connections, within some seconds. Without it subscriptions begin, and nothing comes.
func (a *API) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.subscriptions.run(work) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(work, a.inner.timings.drain)
	defer cancel()
	a.inner.connections.drain(within)
	stop()
	return <-ended
}

// ServeHTTP answers one request with one response.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler: // the answer has begun
			panic(cause)
		default:
			h.refuse(ctx, w, mediaJSON, http.StatusInternalServerError, recovered(ctx, cause))
		}
	}()
	if wantsSocket(r) {
		h.upgrade(w, r)
		return
	}
	w.Header().Add("Vary", "Accept, Authorization")
	media, acceptable := negotiate(r.Header.Values("Accept"))
	switch {
	case !acceptable:
		h.refuse(ctx, w, media, http.StatusNotAcceptable, badInput("none of what the request accepts is served here; served: %s, %s, %s", mediaResponse, mediaJSON, mediaEvents))
	case crossSite(r):
		h.refuse(ctx, w, media, http.StatusForbidden, faultf(Forbidden,
			"a request that another site's page can make by itself is refused; set the header GraphQL-Require-Preflight to show that it may"))
	default:
		h.serve(ctx, w, r, media)
	}
}

func (h *handler) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, media string) {
	req, status, err := readRequest(w, r, h.config.MaxBody)
	if err != nil {
		h.refuse(ctx, w, media, status, err)
		return
	}
	news := make(chan struct{}, 1)
	if takesEvents(r.Header.Values("Accept")) {
		req.wake = func() {
			select {
			case news <- struct{}{}:
			default: // it has yet to look
			}
		}
	}
	var keeps *lifetime
	if req.get {
		ctx, keeps = withLifetime(ctx, h.config.MaxAge)
	}
	a, served := h.inTurn(ctx, req)
	if !served {
		w.Header().Set("Retry-After", "1")
		h.refuse(ctx, w, media, http.StatusServiceUnavailable, h.busy())
		return
	}
	resp, kind := a.resp, a.kind
	status = http.StatusOK
	switch {
	case kind == follows:
		h.stream(w, r, a.feed, news)
		return
	case kind == unfollowable:
		h.refuse(ctx, w, media, http.StatusNotAcceptable, badInput("a subscription has more than one answer: accept %s, or send it over a WebSocket (%s)", mediaEvents, subprotocol))
		return
	case kind == throttled:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", fmt.Sprint(resp.Errors[0].Extensions["retryAfter"]))
	case kind == mutationByGet:
		w.Header().Set("Allow", "POST")
		status = http.StatusMethodNotAllowed
	case kind == limited, kind == invalid && media == mediaResponse:
		status = http.StatusBadRequest // clients of plain JSON are told of an invalid document with 200, as they always were
	}
	if media == mediaEvents && status == http.StatusOK {
		h.event(ctx, w, resp)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if keeps != nil && kind == answered && keepable(w, r, resp, keeps.lasts()) {
		return
	}
	h.presenter.write(ctx, w, media, status, resp)
}

// inTurn runs the request when there is a place for it. Reading requests and sending answers takes
// none: how long that takes is up to clients.
func (h *handler) inTurn(ctx context.Context, req request) (a answer, served bool) {
	ctx, place, err := h.places.take(ctx)
	if err != nil {
		return a, false
	}
	defer place.leave()
	return h.run(ctx, req), true
}

// busy is what a request is told for which there was no place in time.
func (h *handler) busy() error {
	return faultf(InternalServerError, "the service is busy: the request waited in line for %s; try again", h.config.Timeout)
}

// refuse answers a request that isn't one of GraphQL.
func (h *handler) refuse(ctx context.Context, w http.ResponseWriter, media string, status int, err error) {
	h.metrics.refused(err)
	h.presenter.refuse(ctx, w, media, status, err)
}
