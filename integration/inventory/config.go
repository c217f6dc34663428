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
	// URL is the base, such as https://inventory.example: /inventory is appended. Plain http is for loopback, or without credentials.
	URL string `env:"INVENTORY_URL"`

	// Token is a static bearer token; not together with OAuth.
	Token Secret `env:"INVENTORY_TOKEN"`
	// OAuthTokenURL and the next three are the OAuth2 client credentials grant (RFC 6749 §4.4).
	OAuthTokenURL     string   `env:"INVENTORY_OAUTH_TOKEN_URL"`
	OAuthClientID     string   `env:"INVENTORY_OAUTH_CLIENT_ID"`
	OAuthClientSecret Secret   `env:"INVENTORY_OAUTH_CLIENT_SECRET"`
	OAuthScopes       []string `env:"INVENTORY_OAUTH_SCOPES"`

	// ClientCert and ClientKey are PEM files for mTLS, CA a PEM bundle to trust instead of the system's. All are read again when they change.
	// The token endpoint is shown no certificate, and trusted by the system's roots and the CA.
	ClientCert string `env:"INVENTORY_CLIENT_CERT"`
	ClientKey  string `env:"INVENTORY_CLIENT_KEY"`
	CA         string `env:"INVENTORY_CLIENT_CA"`

	// Fresh is the age up to which a level is served without asking.
	Fresh time.Duration `env:"INVENTORY_FRESH" envDefault:"5s"`
	// Revalidate is the age up to which a level is served at once and refreshed behind.
	Revalidate time.Duration `env:"INVENTORY_REVALIDATE" envDefault:"30s"`
	// StaleMax is the age up to which a level is served when the service cannot be asked.
	StaleMax time.Duration `env:"INVENTORY_STALE_MAX" envDefault:"24h"`
	// AbsentFor is how long "no such record" is believed, and how far apart two such answers must be to end a known level.
	AbsentFor time.Duration `env:"INVENTORY_ABSENT_FOR" envDefault:"3s"`
	// FailureQuiet is how long a variant rests that the service failed to answer for; twice as long with each further failure of its
	// own, up to BreakerOpen.
	FailureQuiet time.Duration `env:"INVENTORY_FAILURE_QUIET" envDefault:"1s"`

	// Budget bounds one read with all its attempts, AttemptTimeout each attempt up to the last byte of its body.
	Budget         time.Duration `env:"INVENTORY_BUDGET" envDefault:"800ms"`
	AttemptTimeout time.Duration `env:"INVENTORY_ATTEMPT_TIMEOUT" envDefault:"250ms"`
	// StaleWait is how long a reader waits for the service while a stale level is at hand.
	StaleWait time.Duration `env:"INVENTORY_STALE_WAIT" envDefault:"250ms"`
	// Retries is how often a read is repeated at most, RetryBase and RetryCap bound the full jitter in between.
	Retries   int           `env:"INVENTORY_RETRIES" envDefault:"2"`
	RetryBase time.Duration `env:"INVENTORY_RETRY_BASE" envDefault:"50ms"`
	RetryCap  time.Duration `env:"INVENTORY_RETRY_CAP" envDefault:"250ms"`
	// RetryAfterMax caps what a Retry-After header may ask for.
	RetryAfterMax time.Duration `env:"INVENTORY_RETRY_AFTER_MAX" envDefault:"30s"`

	// BreakerOpen is how long the breaker stays open between probes (up to 20 % shorter).
	BreakerOpen time.Duration `env:"INVENTORY_BREAKER_OPEN" envDefault:"3s"`
	// BreakerCalls is how many calls within 10 s are needed before half of them failing opens the breaker, BreakerRow how many in a row open it regardless.
	BreakerCalls int `env:"INVENTORY_BREAKER_CALLS" envDefault:"20"`
	BreakerRow   int `env:"INVENTORY_BREAKER_ROW" envDefault:"5"`

	// Concurrency bounds calls at a time; five times as many wait for their turn, more are shed.
	Concurrency int `env:"INVENTORY_CONCURRENCY" envDefault:"20"`
	// ChunkIDs and ChunkBytes bound one call's list of variants (URLs over 8,000 bytes are refused by common proxies).
	ChunkIDs   int `env:"INVENTORY_CHUNK_IDS" envDefault:"100"`
	ChunkBytes int `env:"INVENTORY_CHUNK_BYTES" envDefault:"4000"`
	// MaxBody bounds an answer, in bytes.
	MaxBody int64 `env:"INVENTORY_MAX_BODY" envDefault:"1048576"`

	// CacheSize is how many last known levels are held in memory (about 400 bytes each).
	CacheSize int `env:"INVENTORY_CACHE_SIZE" envDefault:"100000"`
	// SaveEvery is how often an unchanged level's new FetchedAt is made durable; SaveDelay how long changed ones are gathered.
	SaveEvery time.Duration `env:"INVENTORY_SAVE_EVERY" envDefault:"1m"`
	SaveDelay time.Duration `env:"INVENTORY_SAVE_DELAY" envDefault:"500ms"`
	// LastKnownTimeout bounds reading durable levels.
	LastKnownTimeout time.Duration `env:"INVENTORY_LAST_KNOWN_TIMEOUT" envDefault:"500ms"`

	// InitPolicy says what becomes of a new variant whose record cannot be created.
	InitPolicy Policy `env:"INVENTORY_INIT_POLICY" envDefault:"retry"`
	// InitTries is after how many tries PolicyNotOrderable stops.
	InitTries int `env:"INVENTORY_INIT_TRIES" envDefault:"10"`
	// InitTimeout bounds one POST; InitBackoff and InitBackoffMax bound the full jitter between a record's tries.
	InitTimeout    time.Duration `env:"INVENTORY_INIT_TIMEOUT" envDefault:"2s"`
	InitBackoff    time.Duration `env:"INVENTORY_INIT_BACKOFF" envDefault:"500ms"`
	InitBackoffMax time.Duration `env:"INVENTORY_INIT_BACKOFF_MAX" envDefault:"30s"`
	// InitConcurrency bounds POSTs at a time; InitPoll is how often the queue is looked at when nothing wakes it.
	InitConcurrency int           `env:"INVENTORY_INIT_CONCURRENCY" envDefault:"16"`
	InitPoll        time.Duration `env:"INVENTORY_INIT_POLL" envDefault:"1s"`

	// WebhookURL gets each inventory event as a POST signed with WebhookSecret (Standard Webhooks). Empty: nobody is told.
	WebhookURL    string `env:"INVENTORY_WEBHOOK_URL"`
	WebhookSecret Secret `env:"INVENTORY_WEBHOOK_SECRET"`
	// WebhookTimeout bounds one delivery, WebhookTries how often an event is tried that fails while others are taken, WebhookBackoff and -Max the jitter between.
	WebhookTimeout    time.Duration `env:"INVENTORY_WEBHOOK_TIMEOUT" envDefault:"5s"`
	WebhookTries      int           `env:"INVENTORY_WEBHOOK_TRIES" envDefault:"10"`
	WebhookBackoff    time.Duration `env:"INVENTORY_WEBHOOK_BACKOFF" envDefault:"1s"`
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
