package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/wait"
)

const (
	refreshEvery = 5 * time.Minute  // a key that the issuer takes back is refused after this time at the latest
	unknownEvery = 30 * time.Second // how often tokens with an unknown kid may have the keys asked for
	retryFirst   = time.Second      // after a failed fetch, doubling
	retryMost    = 30 * time.Second
	fetchTimeout = 5 * time.Second
	unknownWait  = 2 * time.Second // how long a token with an unknown kid waits for the keys
	maxKeySet    = 512 << 10       // bytes of the issuer's answer
)

// keys are the issuer's, as it last published them. They stay in use while it can't be asked, for
// however long that is.
type keys struct {
	url    string
	client *http.Client
	log    *slog.Logger

	current atomic.Pointer[keySet]

	mu       sync.Mutex
	fetching chan struct{} // closed at the end of the fetch that is under way or about to begin, as the first is; nil where none is
	asked    time.Time     // when an unknown kid last had the keys asked for
	wake     chan struct{}

	fetches *prometheus.CounterVec
	fetched atomic.Int64 // when the keys last came, in Unix seconds
}

func newKeys(address string, log *slog.Logger, reg prometheus.Registerer) *keys {
	k := &keys{
		url: address, log: log, fetching: make(chan struct{}), wake: make(chan struct{}, 1),
		client: &http.Client{
			Timeout:       fetchTimeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // keys come from where the operator said
		},
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "product_service_auth_key_fetches_total", Help: "How often the issuer was asked for its keys, by outcome.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(k.fetches, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "product_service_auth_keys_age_seconds", Help: "How long ago the issuer's keys last came; NaN where they never did.",
	}, k.age))
	return k
}

func (k *keys) age() float64 {
	if at := k.fetched.Load(); at > 0 {
		return time.Since(time.Unix(at, 0)).Seconds()
	}
	return math.NaN()
}

// find returns the keys that a token of this kid and algorithm can have been signed with: one,
// unless the issuer gave a kid twice. A token without a kid is taken where only one key fits. An
// unknown kid has the issuer asked again, at most every 30 s.
func (k *keys) find(ctx context.Context, kid, alg string) (found []jwt.VerificationKey, in *keySet, err error) {
	set := k.current.Load()
	if set == nil || kid != "" && !set.knows(kid) {
		k.await(ctx, set != nil)
		set = k.current.Load()
	}
	if set == nil {
		return nil, nil, errNoKeys
	}
	found = set.fitting(kid, alg)
	if len(found) == 0 || kid == "" && len(found) > 1 {
		return nil, nil, errNoKey
	}
	return found, set, nil
}

// await waits for the issuer's answer, but not for long. Where it isn't being asked, it is asked
// because of an unknown kid, unless that was done a moment ago.
func (k *keys) await(ctx context.Context, unknown bool) {
	k.mu.Lock()
	if now := time.Now(); unknown && k.fetching == nil && now.Sub(k.asked) >= unknownEvery {
		k.asked = now
		k.fetching = make(chan struct{})
		k.wake <- struct{}{} // there is room: fetching was nil
	}
	fetching := k.fetching
	k.mu.Unlock()
	if fetching == nil {
		return
	}
	wait.ForHint(ctx, unknownWait, fetching)
}

// run fetches the keys at once, then again and again, until ctx ends. No fetch is under way beside another.
func (k *keys) run(ctx context.Context) {
	retry := retryFirst
	for ctx.Err() == nil {
		k.begin()
		err := k.fetch(ctx)
		k.end()
		pause := refreshEvery
		if err != nil && ctx.Err() == nil {
			pause = k.failed(ctx, err, &retry)
		}
		wait.ForHint(ctx, pause, k.wake)
	}
}

// failed says how long to wait after a fetch that failed: only a verifier without any keys is in a hurry.
func (k *keys) failed(ctx context.Context, err error, retry *time.Duration) time.Duration {
	if k.current.Load() != nil {
		k.log.WarnContext(ctx, "the issuer's keys can't be fetched; those that it gave before stay in use", "error", err)
		return retryMost
	}
	k.log.WarnContext(ctx, "the issuer's keys can't be fetched; every token is refused until they can", "error", err)
	pause := *retry
	*retry = min(2*pause, retryMost)
	return pause
}

func (k *keys) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetching == nil {
		k.fetching = make(chan struct{})
	}
	select {
	case <-k.wake: // this fetch is the one
	default:
	}
}

func (k *keys) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.fetching)
	k.fetching = nil
}

func (k *keys) fetch(ctx context.Context) error {
	set, err := k.ask(ctx)
	if err != nil {
		k.fetches.WithLabelValues("failed").Inc()
		return err
	}
	k.fetches.WithLabelValues("ok").Inc()
	k.fetched.Store(time.Now().Unix())
	if old := k.current.Swap(set); old == nil || len(old.keys) != len(set.keys) {
		k.log.InfoContext(ctx, "the issuer's keys were fetched", "usable", len(set.keys), "left_out", set.leftOut)
	}
	return nil
}

// ask gets the issuer's keys. Its errors say nothing of what the issuer answered.
func (k *keys) ask(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered with the status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, errors.New("the issuer's answer broke off")
	case len(body) > maxKeySet:
		return nil, fmt.Errorf("the issuer's answer has more than %d bytes", maxKeySet)
	}
	return parseKeySet(body)
}
