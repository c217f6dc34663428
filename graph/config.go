// Package graph serves the GraphQL API: it reads the projection, merges in what the Inventory
// Service says, and hands mutations to the command side.
//
// A request passes five gates: the HTTP rules and its token ([Handler], package auth), the
// admission of its document in linear time before anything quadratic looks at it (admission.go),
// the coercion of its variables (variables.go), the weight of what it asks for (cost.go), and the
// scopes that its fields need (scopes.go). Resolvers are one line each; the work is in reads.go,
// levels.go and mutations.go.
package graph

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"
)

// Config is what an operator can set of the GraphQL API.
type Config struct {
	// CORSOrigins are the exact origins, such as https://shop.example, whose pages may read
	// answers, separated by commas.
	CORSOrigins []string `env:"CORS_ORIGINS"`

	// CORSHeaders are further headers that pages of [Config.CORSOrigins] may send, separated by
	// commas. The headers of GraphQL clients (Apollo, urql) and of tracers are always allowed.
	CORSHeaders []string `env:"CORS_HEADERS"`

	// Introspection is whether clients can ask for the schema, which the explorer needs: on or off.
	Introspection string `env:"GRAPHQL_INTROSPECTION" envDefault:"off"`

	// Documents is a file of trusted documents: Apollo's persisted query manifest, or the object of
	// ids and texts that Relay's compiler writes. A change of the file is noticed.
	Documents string `env:"GRAPHQL_DOCUMENTS"`

	// DocumentsMode is what becomes of a document that isn't trusted: open executes it, log
	// executes and logs it, enforce refuses it.
	DocumentsMode string `env:"GRAPHQL_DOCUMENTS_MODE" envDefault:"open"`

	RateLimit RateLimitConfig

	// Tuning.

	// MaxAge is how long caches may use the answer of a GET without asking whether it still holds;
	// an inventory level in it shortens that. 0s makes caches ask each time.
	MaxAge time.Duration `env:"GRAPHQL_MAX_AGE" envDefault:"1s"`

	// Timeout bounds a request from its first byte to its answer.
	Timeout time.Duration `env:"GRAPHQL_TIMEOUT" envDefault:"10s"`

	// Concurrency bounds the requests that are served at once. Further ones wait in line, at next
	// to no cost, until [Config.Timeout] is over, then get 503. Without such a bound a crowd of
	// requests would hold the memory of all of them, and would be so slow that calls to other
	// services ran into their timeouts.
	Concurrency int `env:"GRAPHQL_CONCURRENCY" envDefault:"64"`

	// MaxBody bounds a request's body, in bytes.
	MaxBody int64 `env:"GRAPHQL_MAX_BODY" envDefault:"102400"`

	// MaxTokens bounds a document, in tokens.
	MaxTokens int `env:"GRAPHQL_MAX_TOKENS" envDefault:"1000"`

	// MaxDepth bounds how many levels of fields an operation has.
	MaxDepth int `env:"GRAPHQL_MAX_DEPTH" envDefault:"10"`

	// MaxFields bounds how many fields an operation selects, with its fragments expanded.
	MaxFields int `env:"GRAPHQL_MAX_FIELDS" envDefault:"300"`

	// MaxAliases bounds how many fields of an operation have an alias.
	MaxAliases int `env:"GRAPHQL_MAX_ALIASES" envDefault:"15"`

	// MaxCost bounds the weight of an operation, which is about the number of fields that its
	// answer can have.
	MaxCost int `env:"GRAPHQL_MAX_COST" envDefault:"100000"`

	// DocumentCache bounds what is kept of valid documents, in bytes.
	DocumentCache int64 `env:"GRAPHQL_DOCUMENT_CACHE" envDefault:"16777216"`

	// Plan is whether queries run as compiled plans, as far as a plan can run them: on or off.
	// Others run in the generated code.
	Plan string `env:"GRAPHQL_PLAN" envDefault:"on"`

	// MaxSockets bounds the WebSockets and event streams that are open at once, about 20 KB each.
	// Further ones get 503.
	MaxSockets int `env:"GRAPHQL_MAX_SOCKETS" envDefault:"20000"`

	// MaxSocketsPerAddress bounds the WebSockets and event streams of one address. Addresses of
	// this host don't count, because they are a proxy's. Raise it where a proxy on another host is
	// in front.
	MaxSocketsPerAddress int `env:"GRAPHQL_MAX_SOCKETS_PER_ADDRESS" envDefault:"1000"`

	// MaxSocketOperations bounds the operations that run on one WebSocket at once.
	MaxSocketOperations int `env:"GRAPHQL_MAX_SOCKET_OPERATIONS" envDefault:"50"`

	// SubscriptionInterval is the least time between two values of one product or variant that a
	// subscriber gets. Where changes come faster the latest one is sent.
	SubscriptionInterval time.Duration `env:"GRAPHQL_SUBSCRIPTION_INTERVAL" envDefault:"50ms"`
}

// Validate returns every fault of the configuration, joined.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	if c.Introspection != "on" && c.Introspection != "off" {
		fault("GRAPHQL_INTROSPECTION=%q is neither; allowed: on, off", c.Introspection)
	}
	if c.Plan != "on" && c.Plan != "off" {
		fault("GRAPHQL_PLAN=%q is neither; allowed: on, off", c.Plan)
	}
	for _, origin := range c.CORSOrigins {
		if !exactOrigin(origin) {
			fault("CORS_ORIGINS has %q; allowed: exact origins, such as https://shop.example or http://localhost:3000, without a path or *", origin)
		}
	}
	faults = append(faults, c.checkDocuments()...)
	for _, name := range c.CORSHeaders {
		if !headerName.MatchString(name) {
			fault("CORS_HEADERS has %q; allowed: names of headers, such as x-tenant", name)
		}
	}
	if c.MaxAge < 0 {
		fault("GRAPHQL_MAX_AGE=%s is below 0; allowed: 0s and more", c.MaxAge)
	}
	if c.Timeout <= 0 {
		fault("GRAPHQL_TIMEOUT=%s gives no request any time; allowed: a duration above 0, such as 10s", c.Timeout)
	}
	if c.SubscriptionInterval < time.Millisecond || c.SubscriptionInterval > time.Minute {
		fault("GRAPHQL_SUBSCRIPTION_INTERVAL=%s; allowed: 1ms to 1m", c.SubscriptionInterval)
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"GRAPHQL_CONCURRENCY", int64(c.Concurrency)}, {"GRAPHQL_DOCUMENT_CACHE", c.DocumentCache}, {"GRAPHQL_MAX_BODY", c.MaxBody}, {"GRAPHQL_MAX_TOKENS", int64(c.MaxTokens)}, {"GRAPHQL_MAX_DEPTH", int64(c.MaxDepth)},
		{"GRAPHQL_MAX_FIELDS", int64(c.MaxFields)}, {"GRAPHQL_MAX_ALIASES", int64(c.MaxAliases)}, {"GRAPHQL_MAX_COST", int64(c.MaxCost)},
		{"GRAPHQL_MAX_SOCKETS", int64(c.MaxSockets)}, {"GRAPHQL_MAX_SOCKETS_PER_ADDRESS", int64(c.MaxSocketsPerAddress)}, {"GRAPHQL_MAX_SOCKET_OPERATIONS", int64(c.MaxSocketOperations)},
	} {
		if limit.value < 1 {
			fault("%s=%d would refuse every request; allowed: 1 and more", limit.name, limit.value)
		}
	}
	return errors.Join(append(faults, c.RateLimit.Validate())...)
}

// headerName tells the name of a header (RFC 9110, section 5.6.2).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// exactOrigin tells an origin as browsers send it (RFC 6454, section 6.2).
func exactOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && s == u.Scheme+"://"+u.Host
}
