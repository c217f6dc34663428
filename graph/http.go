package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/generated"
)

// handler speaks GraphQL over HTTP (the 2023 draft of that specification, as the graphql-http audits read it).
type handler struct {
	engine
	config Config
	log    *slog.Logger
	places places
}

// Handler returns what serves /graphql. It fails only where the configuration can't work. It carries the correlation id of
// each request in its context, see [Correlate].
func Handler(c Config, s Services, log *slog.Logger, reg prometheus.Registerer) (http.Handler, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	schema := generated.NewExecutableSchema(generated.Config{Resolvers: &Resolver{services: s}})
	admission, err := newAdmission(schema.Schema(), c)
	if err != nil {
		return nil, err
	}
	return Correlate(&handler{
		engine: engine{schema: schema, admission: admission, levels: s.Levels, presenter: presenter{log}, maxCost: c.MaxCost, metrics: newMetrics(reg)},
		config: c, log: log, places: make(places, c.Concurrency),
	}), nil
}

const allowed = "GET, POST, OPTIONS"

// ServeHTTP answers one request with one response.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.config.Timeout)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			h.refuse(ctx, w, mediaJSON, http.StatusInternalServerError, recovered(ctx, cause))
		}
	}()
	h.cors(w, r)
	media, acceptable := negotiate(r.Header.Values("Accept"))
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		w.Header().Set("Allow", allowed)
		h.refuse(ctx, w, media, http.StatusMethodNotAllowed, badInput("%s isn't allowed here; allowed: GET and POST", r.Method))
	case !acceptable:
		h.refuse(ctx, w, media, http.StatusNotAcceptable, badInput("none of what the request accepts is served here; served: %s, %s", mediaResponse, mediaJSON))
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
	resp, kind, served := h.inTurn(ctx, req)
	if !served {
		w.Header().Set("Retry-After", "1")
		h.refuse(ctx, w, media, http.StatusServiceUnavailable, faultf(InternalServerError, "the service is busy: the request waited in line for %s; try again", h.config.Timeout))
		return
	}
	status = http.StatusOK
	switch {
	case kind == mutationByGet:
		w.Header().Set("Allow", "POST")
		status = http.StatusMethodNotAllowed
	case kind == limited, kind == invalid && media == mediaResponse:
		status = http.StatusBadRequest // clients of plain JSON are told of an invalid document with 200, as they always were
	}
	w.Header().Set("Cache-Control", "no-store")
	if req.get && kind == answered && unchanged(w, r, media, resp) {
		return
	}
	h.write(ctx, w, media, status, resp)
}

// inTurn runs the request when there is a place for it. Reading requests and sending answers takes none: how long that takes is up to clients.
func (h *handler) inTurn(ctx context.Context, req request) (resp *graphql.Response, k kind, served bool) {
	ctx, place, err := h.places.take(ctx)
	if err != nil {
		return nil, "", false
	}
	defer place.leave()
	resp, k = h.run(ctx, req)
	return resp, k, true
}

// unchanged lets caches keep the answer of a GET, if they ask each time whether it still holds: it says so with 304.
func unchanged(w http.ResponseWriter, r *http.Request, media string, resp *graphql.Response) bool {
	sum := sha256.Sum256(resp.Data)
	tag := `W/"` + hex.EncodeToString(sum[:12]) + `"`
	header := w.Header()
	header.Set("Cache-Control", "private, no-cache")
	header.Set("ETag", tag)
	header.Add("Vary", "Accept")
	for given := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if given = strings.TrimSpace(given); given == tag || given == "*" {
			header.Set("Content-Type", media+"; charset=utf-8")
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

// refuse answers a request that isn't one of GraphQL.
func (h *handler) refuse(ctx context.Context, w http.ResponseWriter, media string, status int, err error) {
	h.metrics.refused(err)
	w.Header().Set("Cache-Control", "no-store")
	h.write(ctx, w, media, status, &graphql.Response{Errors: gqlerror.List{h.presenter.present(ctx, err)}})
}

// write sends the response in one piece. A response without data is one of a request that wasn't executed: it has no data key,
// where an executed one that failed has a null.
func (h *handler) write(ctx context.Context, w http.ResponseWriter, media string, status int, resp *graphql.Response) {
	body := make([]byte, 0, len(resp.Data)+64)
	body = append(body, '{')
	if len(resp.Errors) > 0 {
		encoded, err := json.Marshal(resp.Errors)
		if err != nil {
			h.log.ErrorContext(ctx, "errors can't be encoded", "error", err)
			encoded = []byte(`[{"message":"internal error","extensions":{"code":"INTERNAL_SERVER_ERROR"}}]`)
		}
		body = append(body, `"errors":`...)
		body = append(body, encoded...)
	}
	if resp.Data != nil {
		if len(resp.Errors) > 0 {
			body = append(body, ',')
		}
		body = append(body, `"data":`...)
		body = append(body, resp.Data...) // as it was encoded during the execution
	}
	body = append(body, '}')
	header := w.Header()
	header.Set("Content-Type", media+"; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		h.log.DebugContext(ctx, "an answer couldn't be sent", "error", err)
	}
}

// cors lets the pages of the origins that are set, and only them, read answers.
func (h *handler) cors(w http.ResponseWriter, r *http.Request) {
	if len(h.config.CORSOrigins) == 0 {
		return
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(h.config.CORSOrigins, origin) {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", correlationHeader)
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "GET, POST")
		header.Set("Access-Control-Allow-Headers", "content-type, authorization, traceparent, tracestate, "+
			strings.ToLower(correlationHeader)+", "+strings.Join(preflightHeaders, ", "))
		header.Set("Access-Control-Max-Age", "600")
	}
}

// preflightHeaders are headers that a page of another site can't send without asking first.
var preflightHeaders = []string{"graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name"}

// crossSite tells a GET that a browser marked as made by another site, without a header that shows it asked first. A POST needs
// no such test: its content type is application/json, for which browsers ask first, and every other is refused.
func crossSite(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site" &&
		!slices.ContainsFunc(preflightHeaders, func(name string) bool { return r.Header.Get(name) != "" })
}
