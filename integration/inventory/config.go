package inventory

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Secret is a string that prints as stars, so that a logged configuration gives nothing away.
type Secret string

const stars = "*****"

// String hides the secret; convert to string to use it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return stars
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Policy says what becomes of a new variant whose record cannot be created.
type Policy string

// The policies of initialization.
const (
	PolicyRetry        Policy = "retry"         // try for ever
	PolicyRollback     Policy = "rollback"      // try until the queue's owner discards the product after its deadline
	PolicyNotOrderable Policy = "not-orderable" // stop after Config.InitTries until an operator replays
)

// Config is how the Inventory Service is reached and how far its absence is tolerated.
type Config struct {
	// URL is the base of the Inventory Service, such as https://inventory.example; /inventory is
	// appended. Plain http is refused with credentials, unless the host is loopback.
	URL string `env:"INVENTORY_URL,required,notEmpty"`

	// Token is a static bearer token for the Inventory Service. It excludes the OAuth settings.
	Token Secret `env:"INVENTORY_TOKEN"`

	// OAuthTokenURL is where to get tokens by the client credentials grant of OAuth 2 (RFC 6749,
	// section 4.4), in place of [Config.Token].
	OAuthTokenURL string `env:"INVENTORY_OAUTH_TOKEN_URL"`

	// OAuthClientID is the client's id for [Config.OAuthTokenURL].
	OAuthClientID string `env:"INVENTORY_OAUTH_CLIENT_ID"`

	// OAuthClientSecret is the client's secret for [Config.OAuthTokenURL]. It is never printed.
	OAuthClientSecret Secret `env:"INVENTORY_OAUTH_CLIENT_SECRET"`

	// OAuthScopes are the scopes to ask [Config.OAuthTokenURL] for, separated by commas.
	OAuthScopes []string `env:"INVENTORY_OAUTH_SCOPES"`

	// ClientCert is a PEM file with the certificate that the service is shown (mTLS). The token
	// endpoint is shown none. A change of the file is noticed.
	ClientCert string `env:"INVENTORY_CLIENT_CERT"`

	// ClientKey is a PEM file with the private key of [Config.ClientCert]. A change of the file is
	// noticed.
	ClientKey string `env:"INVENTORY_CLIENT_KEY"`

	// CA is a PEM file with the certificates to trust instead of the system's. The token endpoint
	// may use either. A change of the file is noticed.
	CA string `env:"INVENTORY_CLIENT_CA"`

	// InitPolicy is what becomes of a new variant whose record can't be created: retry tries for
	// ever; not-orderable stops after [Config.InitTries] until an operator replays; rollback
	// discards the product.
	InitPolicy Policy `env:"INVENTORY_INIT_POLICY" envDefault:"retry"`

	// WebhookURL is where each inventory event is delivered as a signed POST (Standard Webhooks).
	// Where it is empty nothing is delivered.
	WebhookURL string `env:"INVENTORY_WEBHOOK_URL"`

	// WebhookSecret is the secret that deliveries are signed with: whsec_ and the key in base64, or
	// any other text, which is the key itself. It is never printed.
	WebhookSecret Secret `env:"INVENTORY_WEBHOOK_SECRET"`

	// Tuning.

	// Fresh is the age up to which a level is served without asking the service.
	Fresh time.Duration `env:"INVENTORY_FRESH" envDefault:"5s"`

	// Revalidate is the age up to which a level is served at once and refreshed in the background.
	Revalidate time.Duration `env:"INVENTORY_REVALIDATE" envDefault:"30s"`

	// StaleMax is the age up to which a level is served, marked stale, while the service can't be
	// asked.
	StaleMax time.Duration `env:"INVENTORY_STALE_MAX" envDefault:"24h"`

	// StaleWait is how long a reader waits for the service while a stale level is at hand.
	StaleWait time.Duration `env:"INVENTORY_STALE_WAIT" envDefault:"250ms"`

	// AbsentFor is how long the answer "no such record" holds. Two such answers this far apart end
	// a level that was known.
	AbsentFor time.Duration `env:"INVENTORY_ABSENT_FOR" envDefault:"3s"`

	// FailureQuiet is how long the service isn't asked again about a variant that it failed to
	// answer for. Each further failure doubles the time, up to [Config.BreakerOpen].
	FailureQuiet time.Duration `env:"INVENTORY_FAILURE_QUIET" envDefault:"1s"`

	// Budget bounds one read with all its attempts.
	Budget time.Duration `env:"INVENTORY_BUDGET" envDefault:"800ms"`

	// AttemptTimeout bounds one attempt, up to the last byte of the answer.
	AttemptTimeout time.Duration `env:"INVENTORY_ATTEMPT_TIMEOUT" envDefault:"250ms"`

	// Retries is how often a read is repeated at most.
	Retries int `env:"INVENTORY_RETRIES" envDefault:"2"`

	// RetryBase is the longest wait before the first repetition. It doubles with each repetition,
	// up to 250 ms, and the wait is random below it.
	RetryBase time.Duration `env:"INVENTORY_RETRY_BASE" envDefault:"50ms"`

	// RetryAfterMax bounds the rest that the service can ask for by a Retry-After header.
	RetryAfterMax time.Duration `env:"INVENTORY_RETRY_AFTER_MAX" envDefault:"30s"`

	// BreakerOpen is how long the circuit breaker stays open until it probes the service; a random
	// part of up to 20 % is taken off.
	BreakerOpen time.Duration `env:"INVENTORY_BREAKER_OPEN" envDefault:"3s"`

	// BreakerCalls is the least number of calls within 10 s after which a half of them that failed
	// opens the breaker.
	BreakerCalls int `env:"INVENTORY_BREAKER_CALLS" envDefault:"20"`

	// BreakerRow is how many failures in a row open the breaker, however few calls there were.
	BreakerRow int `env:"INVENTORY_BREAKER_ROW" envDefault:"5"`

	// Concurrency bounds the calls under way at once. Five times as many wait for their turn;
	// further ones are shed.
	Concurrency int `env:"INVENTORY_CONCURRENCY" envDefault:"20"`

	// ChunkIDs bounds the variants that one call asks for.
	ChunkIDs int `env:"INVENTORY_CHUNK_IDS" envDefault:"100"`

	// ChunkBytes bounds the list of variants in one call's URL, in bytes. Common proxies refuse
	// URLs longer than 8,000 bytes.
	ChunkBytes int `env:"INVENTORY_CHUNK_BYTES" envDefault:"4000"`

	// MaxBody bounds an answer, in bytes.
	MaxBody int64 `env:"INVENTORY_MAX_BODY" envDefault:"1048576"`

	// CacheSize is how many levels are kept in memory, about 400 bytes each.
	CacheSize int `env:"INVENTORY_CACHE_SIZE" envDefault:"100000"`

	// SaveEvery is how often the time of the last answer about an unchanged level is saved in
	// MongoDB.
	SaveEvery time.Duration `env:"INVENTORY_SAVE_EVERY" envDefault:"1m"`

	// SaveDelay is how long changed levels are gathered before they are saved in MongoDB.
	SaveDelay time.Duration `env:"INVENTORY_SAVE_DELAY" envDefault:"500ms"`

	// InitTries is after how many tries the policy not-orderable stops.
	InitTries int `env:"INVENTORY_INIT_TRIES" envDefault:"10"`

	// InitTimeout bounds one POST of a record.
	InitTimeout time.Duration `env:"INVENTORY_INIT_TIMEOUT" envDefault:"2s"`

	// InitBackoff is the longest random part of the wait after a record's first failure. It doubles
	// with each failure.
	InitBackoff time.Duration `env:"INVENTORY_INIT_BACKOFF" envDefault:"500ms"`

	// InitBackoffMax bounds the random part of the wait after any failure of a record.
	InitBackoffMax time.Duration `env:"INVENTORY_INIT_BACKOFF_MAX" envDefault:"30s"`

	// InitConcurrency bounds the POSTs of records under way at once.
	InitConcurrency int `env:"INVENTORY_INIT_CONCURRENCY" envDefault:"16"`

	// InitPoll is how often the queue of records is looked at when no new product wakes it.
	InitPoll time.Duration `env:"INVENTORY_INIT_POLL" envDefault:"1s"`

	// WebhookTimeout bounds one delivery.
	WebhookTimeout time.Duration `env:"INVENTORY_WEBHOOK_TIMEOUT" envDefault:"5s"`

	// WebhookTries is how often an event is delivered that the receiver refuses while it takes
	// others.
	WebhookTries int `env:"INVENTORY_WEBHOOK_TRIES" envDefault:"10"`

	// WebhookBackoff is the longest random part of the wait after the first failed delivery. It
	// doubles with each failure.
	WebhookBackoff time.Duration `env:"INVENTORY_WEBHOOK_BACKOFF" envDefault:"1s"`

	// WebhookBackoffMax bounds the random part of the wait after any failed delivery.
	WebhookBackoffMax time.Duration `env:"INVENTORY_WEBHOOK_BACKOFF_MAX" envDefault:"1m"`

	// Now is the clock of ages; nil is time.Now.
	Now func() time.Time

	// Wrap decorates the transport of each attempt, for spans say; nil leaves it alone.
	Wrap func(http.RoundTripper) http.RoundTripper
}

func (c Config) clock() func() time.Time {
	if c.Now != nil {
		return c.Now
	}
	return time.Now
}

// Validate names every fault of the configuration at once; secrets are never part of a message.
func (c Config) Validate() error {
	var query error
	if strings.Contains(c.URL, "?") {
		query = errors.New("INVENTORY_URL must hold no query: paths are appended to it")
	}
	return errors.Join(
		query,
		c.checkEndpoint("INVENTORY_URL", c.URL, c.Token != "" || c.OAuthTokenURL != "", true),
		c.checkCredentials(),
		c.checkFiles(),
		c.checkAges(),
		c.checkLimits(),
		c.checkInit(),
		c.checkWebhook(),
	)
}

func (c Config) checkEndpoint(name, raw string, credentials, required bool) error {
	if raw == "" {
		if required {
			return fmt.Errorf("%s is missing: the base URL of the Inventory Service, such as https://inventory.example", name)
		}
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("%s is not a URL: allowed is https://host[:port][/path]", name)
	}
	if u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%s must hold no user and no fragment: credentials have variables of their own", name)
	}
	if u.Scheme == "http" && credentials && !loopback(u.Hostname()) {
		return fmt.Errorf("%s is plain http to %s: credentials go over https only (or to a loopback address)", name, u.Hostname())
	}
	return nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func (c Config) checkCredentials() error {
	var faults []error
	if c.Token != "" && c.OAuthTokenURL != "" {
		faults = append(faults, errors.New("INVENTORY_TOKEN and INVENTORY_OAUTH_TOKEN_URL are both set: allowed is one of them"))
	}
	if c.OAuthTokenURL != "" {
		faults = append(faults, c.checkEndpoint("INVENTORY_OAUTH_TOKEN_URL", c.OAuthTokenURL, true, true))
		if c.OAuthClientID == "" || c.OAuthClientSecret == "" {
			faults = append(faults, errors.New("INVENTORY_OAUTH_CLIENT_ID and INVENTORY_OAUTH_CLIENT_SECRET are needed with INVENTORY_OAUTH_TOKEN_URL"))
		}
	} else if c.OAuthClientID != "" || c.OAuthClientSecret != "" {
		faults = append(faults, errors.New("INVENTORY_OAUTH_TOKEN_URL is missing: client credentials are useless without it"))
	}
	return errors.Join(faults...)
}

func (c Config) checkFiles() error {
	var faults []error
	if (c.ClientCert == "") != (c.ClientKey == "") {
		faults = append(faults, errors.New("INVENTORY_CLIENT_CERT and INVENTORY_CLIENT_KEY go together: set both or neither"))
	}
	for _, file := range []struct{ name, path string }{
		{"INVENTORY_CLIENT_CERT", c.ClientCert}, {"INVENTORY_CLIENT_KEY", c.ClientKey}, {"INVENTORY_CLIENT_CA", c.CA},
	} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w: a readable PEM file is needed", file.name, err))
		}
	}
	return errors.Join(faults...)
}
