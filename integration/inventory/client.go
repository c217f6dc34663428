package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"product-service/correlation"
	"product-service/ijson"

	"github.com/google/uuid"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/prometheus/client_golang/prometheus"
)

// idBytes is what one variant adds to the URL of a list: 36 characters and a comma.
const idBytes = 37

// ErrRefused marks a request that the service will not take however often it is repeated (a 4xx but 408,
// 425, 429).
var ErrRefused = errors.New("inventory service refused the request")

var (
	errForeign     = errors.New("a 404 that isn't the service's")
	errBreakerOpen = errors.New("breaker open")
	errHeld        = errors.New("held back: the service asked for a pause")
)

// statusError is an answer that is no success.
type statusError struct{ code int }

func (e statusError) Error() string { return "the service answered " + strconv.Itoa(e.code) }

// Is makes a final status ErrRefused.
func (e statusError) Is(target error) bool {
	return target == ErrRefused && e.code < 500 && !retryable(&http.Response{StatusCode: e.code}, nil)
}

// Client makes the calls: GET /inventory, GET /inventory/{id} and POST /inventory, each attempt bounded
// in time and size and watched by a breaker. Reader and Initializer share one. Safe for concurrent use.
type Client struct {
	cfg       Config
	base      string
	origin    *url.URL
	http      *http.Client
	transport *http.Transport
	tokens    *http.Transport // to the token endpoint
	reads     *breaker
	writes    *breaker
	budget    *retryBudget
	heldUntil atomic.Int64 // unix nanoseconds, wall clock: a Retry-After of the service
	answered  atomic.Int64 // unix nanoseconds, wall clock: when the service answered last
	metrics   *clientMetrics
	log       *slog.Logger
}

// NewClient validates cfg and prepares the transport; nothing is dialled yet. Errors: faults of the
// configuration, certificates that cannot be read. reg may be nil.
func NewClient(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	origin, err := url.Parse(strings.TrimRight(cfg.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("parse INVENTORY_URL: %w", err)
	}
	creds, err := loadCredentials(cfg, log)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, base: origin.String() + "/inventory", origin: origin,
		transport: newTransport(cfg, creds.config, creds.proxied()), tokens: newTransport(cfg, creds.tokenConfig, creds.tokenConfig("")),
		reads: newBreaker("read", cfg, log), writes: newBreaker("create", cfg, log), budget: newRetryBudget(), log: log,
	}
	c.metrics = newClientMetrics(reg, c)
	c.http = &http.Client{Transport: c.roundTripper(), CheckRedirect: c.checkRedirect}
	return c, nil
}

func (c *Client) roundTripper() http.RoundTripper {
	auth := &authorizer{next: c.transport, origin: c.origin, static: c.cfg.Token}
	if c.cfg.Wrap != nil {
		auth.next = c.cfg.Wrap(c.transport)
	}
	if c.cfg.OAuthTokenURL != "" {
		auth.oauth = newTokens(c.cfg, c.tokens)
	}
	return &attempts{next: auth, maxBody: c.cfg.MaxBody, log: c.log, metrics: c.metrics}
}

// checkRedirect lets the service move its paths about on its own host, and nothing else.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	answered := 0
	if req.Response != nil {
		answered = req.Response.StatusCode
	}
	switch first := via[0]; {
	case req.URL.Host != c.origin.Host || req.URL.Scheme != c.origin.Scheme:
		return fmt.Errorf("%w: %d to another host", errRedirect, answered)
	case req.Method != first.Method:
		// Followed as browsers do it the request would lose its body, and the answer to the GET pass for
		// the POST's.
		return fmt.Errorf("%w: %d to %s would turn the %s into a %s", errRedirect, answered, req.URL.Path, first.Method, req.Method)
	case len(via) > 3:
		return fmt.Errorf("%w: more than 3 in a row", errRedirect)
	}
	return nil
}

// Close drops idle connections. Readers and initializers that use the client are closed before it.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.tokens.CloseIdleConnections()
}

func (c *Client) holdUntil(at time.Time) { c.heldUntil.Store(at.UnixNano()) }

// available says, without a lock or a call, why nothing may be read on a user's behalf now, or nil.
func (c *Client) available() error {
	if !c.reads.closed() {
		return errBreakerOpen
	}
	return c.held()
}

func (c *Client) held() error {
	if until := c.heldUntil.Load(); until != 0 && time.Now().UnixNano() < until {
		return errHeld
	}
	return nil
}

// answeredSince says whether the service has answered anybody since t.
func (c *Client) answeredSince(t time.Time) bool { return c.answered.Load() > t.UnixNano() }

// chunk is how many variants one call may ask for.
func (c *Client) chunk() int { return min(c.cfg.ChunkIDs, c.cfg.ChunkBytes/idBytes) }

// asking is how a call for levels is made.
type asking struct {
	retries   int
	uncounted bool   // the breaker doesn't count a failure that may be the ids'
	own       string // probe, control: a call of our own, to find out whether the service answers, goes past the breaker
}

func (c *Client) call(op string, ids int, how asking) *call {
	k := &call{op: op, ids: ids, retries: how.retries, uncounted: how.uncounted, timeout: c.cfg.AttemptTimeout, breaker: c.reads}
	if how.own != "" {
		k.op, k.breaker = how.own, nil
	}
	return k
}

// levels asks for the levels of ids (no duplicates, at most one chunk) with one call and its retries.
// blameOf says whose fault an error is.
func (c *Client) levels(ctx context.Context, ids []uuid.UUID, how asking) (answer, error) {
	if len(ids) == 1 {
		return c.level(ctx, ids[0], how)
	}
	var got answer
	k := c.call("list", len(ids), how)
	k.decode = func(resp *http.Response, body []byte) (err error) {
		switch {
		case resp.StatusCode == http.StatusOK:
			got, err = decodeList(body)
		case resp.StatusCode == http.StatusNotFound && !fromService(resp, body):
			err = errForeign
		}
		return err
	}
	status, err := c.do(ctx, k, http.MethodGet, c.base+"?productVariantIds="+joinIDs(ids), nil, nil)
	if err == nil && status != http.StatusOK {
		err = statusError{status} // a 404 of a list too: it says nothing about any of its variants
	}
	return got, err
}

func joinIDs(ids []uuid.UUID) string {
	sorted := slices.Clone(ids) // the same set is the same URL, for whatever caches stand in between
	slices.SortFunc(sorted, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	var list strings.Builder
	list.Grow(len(ids) * idBytes)
	for i, id := range sorted {
		if i > 0 {
			list.WriteByte(',') // as it is: url.Values would write %2C
		}
		list.WriteString(id.String())
	}
	return list.String()
}

func (c *Client) level(ctx context.Context, id uuid.UUID, how asking) (answer, error) {
	var got Level
	k := c.call("one", 1, how)
	k.decode = func(resp *http.Response, body []byte) (err error) {
		switch {
		case resp.StatusCode == http.StatusOK:
			got, err = decodeOne(body, id)
		case resp.StatusCode == http.StatusNotFound && !fromService(resp, body):
			err = errForeign
		}
		return err
	}
	status, err := c.do(ctx, k, http.MethodGet, c.base+"/"+id.String(), nil, nil)
	switch {
	case errors.Is(err, errItem):
		return answer{faulty: map[uuid.UUID]error{id: err}}, nil
	case err != nil:
		return answer{}, err
	case status == http.StatusOK:
		return answer{levels: map[uuid.UUID]Level{id: got}}, nil
	case status == http.StatusNotFound:
		return answer{}, nil
	default:
		return answer{}, statusError{status}
	}
}

// fromService says whether an answer is the service's own: it speaks JSON, and gateways in front of it
// speak HTML or plain text.
func fromService(resp *http.Response, body []byte) bool {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json")) && (len(body) == 0 || ijson.IsObject(body))
}

// do makes the call and returns the final status; 4xx are statuses, everything that got no usable answer
// is an error.
func (c *Client) do(ctx context.Context, k *call, method, target string, body any, header http.Header) (int, error) {
	var raw any
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, fmt.Errorf("encode the request: %w", err)
		}
		raw = encoded
	}
	req, err := retryablehttp.NewRequestWithContext(context.WithValue(ctx, callKey{}, k), method, target, raw)
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	c.setHeaders(ctx, req.Header, header, body != nil)
	c.budget.earn()
	rule := &retrier{client: c, call: k}
	retrying := &retryablehttp.Client{
		HTTPClient: c.http, RetryMax: k.retries, CheckRetry: rule.again, Backoff: rule.backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	resp, err := retrying.Do(req)
	if resp != nil {
		_, _ = io.Copy(io.Discard, resp.Body) // in memory already
		_ = resp.Body.Close()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", k.op, bare(err))
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return 0, fmt.Errorf("%s: %w", k.op, statusError{resp.StatusCode})
	}
	return resp.StatusCode, nil
}

func (c *Client) setHeaders(ctx context.Context, to, extra http.Header, hasBody bool) {
	to.Set("Accept", "application/json")
	if hasBody {
		to.Set("Content-Type", "application/json")
	}
	if id := correlation.ID(ctx); id != "" {
		to.Set(correlation.Header, id)
	}
	if trace := correlation.TraceparentOf(ctx); trace != "" {
		to.Set("traceparent", trace)
	}
	maps.Copy(to, extra)
}

// outcomeOf names what became of an attempt, for logs and metrics.
func outcomeOf(resp *http.Response, err error) string {
	switch {
	case refusedByBreaker(err):
		return "refused"
	case errors.Is(err, errItem):
		return "unreadable"
	case errors.Is(err, errUndecodable), errors.Is(err, errTooLarge):
		return "undecodable"
	case errors.Is(err, errForeign):
		return "foreign"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, errToken):
		return "no_token"
	case errors.Is(err, errRedirect):
		return "redirect"
	case resp == nil:
		return "connection"
	case resp.StatusCode >= http.StatusInternalServerError:
		return "server_error"
	case resp.StatusCode == http.StatusNotFound:
		return "absent"
	case resp.StatusCode == http.StatusConflict:
		return "exists"
	case resp.StatusCode >= http.StatusBadRequest:
		return "refused_by_service"
	default:
		return "ok"
	}
}

// reason names why a variant got no answer, for metrics.
func reason(err error) string {
	var status statusError
	switch {
	case errors.Is(err, errShed):
		return "shed"
	case refusedByBreaker(err):
		return "breaker_open"
	case errors.Is(err, errHeld):
		return "held"
	case errors.As(err, &status) && status.code < http.StatusInternalServerError:
		return "refused_by_service"
	case errors.As(err, &status):
		return "server_error"
	default:
		return outcomeOf(nil, err)
	}
}
