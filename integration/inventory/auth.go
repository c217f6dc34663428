package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
)

// errToken marks a failure to get an access token.
var errToken = errors.New("no access token")

// authorizer adds the bearer token, to the service's own origin only: a redirect elsewhere never
// carries it.
type authorizer struct {
	next   http.RoundTripper
	origin *url.URL
	static Secret
	oauth  *tokens // nil without OAuth2
}

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	if (a.static == "" && a.oauth == nil) || req.URL.Scheme != a.origin.Scheme || req.URL.Host != a.origin.Host {
		return a.next.RoundTrip(req)
	}
	if a.oauth == nil {
		return a.next.RoundTrip(withBearer(req, string(a.static)))
	}
	token, err := a.oauth.get(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := a.next.RoundTrip(withBearer(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	return a.again(req, resp, token)
}

// again repeats a call once with a new token after a 401 for the old one.
func (a *authorizer) again(req *http.Request, refused *http.Response, used string) (*http.Response, error) {
	body := io.ReadCloser(nil)
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return refused, nil
		}
		fresh, err := req.GetBody()
		if err != nil {
			return refused, nil //nolint:nilerr // the 401 says more than the failure to do better
		}
		body = fresh
	}
	token, err := a.oauth.replace(req.Context(), used)
	if err != nil {
		return refused, nil //nolint:nilerr // as above
	}
	_, _ = io.CopyN(io.Discard, refused.Body, 4<<10)
	_ = refused.Body.Close()
	repeat := withBearer(req, token)
	if body != nil {
		repeat.Body = body
	}
	return a.next.RoundTrip(repeat)
}

func withBearer(req *http.Request, token string) *http.Request {
	clone := req.Clone(req.Context())
	clone.Header.Set("Authorization", "Bearer "+token)
	return clone
}

// tokens holds the access token of the client credentials grant: renewed behind once 80 % of its
// life has passed, waited for only when there is none that is valid, and fetched once however many
// callers need it.
type tokens struct {
	config *clientcredentials.Config
	client *http.Client
	now    func() time.Time
	wait   time.Duration

	flight singleflight.Group
	mu     sync.Mutex
	token  string
	issued time.Time
	renew  time.Time
	expiry time.Time // zero: never
}

// tokenPause is how long a new token must have been in use before a 401 makes it be replaced: a
// service that refuses every token must not become a flood at the token endpoint.
const tokenPause = time.Second

func newTokens(cfg Config, transport http.RoundTripper) *tokens {
	return &tokens{
		config: &clientcredentials.Config{
			ClientID: cfg.OAuthClientID, ClientSecret: string(cfg.OAuthClientSecret),
			TokenURL: cfg.OAuthTokenURL, Scopes: cfg.OAuthScopes,
		},
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now:  cfg.clock(),
		wait: cfg.InitTimeout,
	}
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	token, now := t.token, t.now()
	valid := token != "" && (t.expiry.IsZero() || now.Before(t.expiry))
	due := valid && !t.renew.IsZero() && !now.Before(t.renew)
	t.mu.Unlock()
	if valid {
		if due {
			t.fetch()
		}
		return token, nil
	}
	select {
	case got := <-t.fetch():
		token, _ := got.Val.(string)
		return token, got.Err
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %w", errToken, ctx.Err())
	}
}

// replace returns a token other than used, fetching one unless another caller already has.
func (t *tokens) replace(ctx context.Context, used string) (string, error) {
	t.mu.Lock()
	tooNew := t.token == used && t.now().Sub(t.issued) < tokenPause
	if t.token == used && !tooNew {
		t.token = ""
	}
	t.mu.Unlock()
	if tooNew {
		return "", fmt.Errorf("%w: a new one was refused", errToken)
	}
	return t.get(ctx)
}

// fetch starts getting a token unless that is under way. It outlives its caller, bounded by a time
// of its own.
func (t *tokens) fetch() <-chan singleflight.Result {
	return t.flight.DoChan("token", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), oauth2.HTTPClient, t.client), t.wait)
		defer cancel()
		got, err := t.config.Token(ctx)
		if err != nil {
			return "", safeTokenError(err)
		}
		t.keep(got)
		return got.AccessToken, nil
	})
}

func (t *tokens) keep(got *oauth2.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.token, t.issued, t.expiry, t.renew = got.AccessToken, now, got.Expiry, time.Time{}
	if !got.Expiry.IsZero() {
		t.renew = now.Add(got.Expiry.Sub(now) * 8 / 10)
	}
}

// safeTokenError drops what a token endpoint wrote into its answer: it may echo the request.
func safeTokenError(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil {
		return fmt.Errorf("%w: the token endpoint answered %d", errToken, refused.Response.StatusCode)
	}
	return fmt.Errorf("%w: %w", errToken, bare(err))
}
