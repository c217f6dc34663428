package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	leeway     = 30 * time.Second // how far clocks may be apart
	maxToken   = 16 << 10         // bytes: more than a token with many claims has
	maxSubject = 255              // characters (OpenID Connect Core, section 2)
	maxKept    = 10_000           // tokens that were accepted, of which a hash is kept
)

// algorithms are those that a token may be signed with (RFC 7518, section 3; RFC 8037). None of
// them has a secret that is shared.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Verifier says who callers are.
type Verifier struct {
	keys   *keys // nil where nobody is asked
	parser *jwt.Parser
	tokens *prometheus.CounterVec

	// kept has what was found out about tokens, by their hash: callers send the same token again
	// and again, and to verify a signature takes as long as to answer a query.
	kept *lru.Cache[[sha256.Size]byte, verified]
}

// verified is a token that was accepted, by keys that were the issuer's then.
type verified struct {
	caller Caller
	by     *keySet
}

// New makes a verifier. [Verifier.Run] keeps its keys.
func New(c Config, log *slog.Logger, reg prometheus.Registerer) (*Verifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Mode == ModeNone {
		log.Warn("AUTH_MODE=none: every caller may do everything, and read every history. It is for a developer's machine, or behind a gateway that asks who callers are")
		return &Verifier{}, nil
	}
	kept, err := lru.New[[sha256.Size]byte, verified](maxKept)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		kept: kept,
		keys: newKeys(c.JWKSURL, log, reg),
		parser: jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithLeeway(leeway),
			jwt.WithExpirationRequired(), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience)),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "product_service_auth_tokens_total", Help: "Tokens that were looked at, by what came of it.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(v.tokens)
	return v, nil
}

// Run keeps the issuer's keys up to date until ctx ends, unless nobody is asked for tokens. Nothing
// but tokens fails while they can't be had.
func (v *Verifier) Run(ctx context.Context) {
	if v.keys != nil {
		v.keys.run(ctx)
	}
	<-ctx.Done()
}

// Request says who sent a request, by its header Authorization. The error is a *Refusal.
func (v *Verifier) Request(r *http.Request) (Caller, error) {
	switch given := r.Header.Values("Authorization"); len(given) {
	case 0:
		return v.Authorization(r.Context(), "")
	case 1:
		return v.Authorization(r.Context(), given[0])
	}
	return v.outcome(Caller{}, errMalformed)
}

// Authorization says who a caller is by the value of a header Authorization; "" stands for none. A
// token that isn't accepted is an error, never a caller without a token. The error is a *Refusal.
func (v *Verifier) Authorization(ctx context.Context, value string) (Caller, error) {
	switch {
	case v.keys == nil:
		return Caller{allowed: true}, nil
	case value == "":
		return Caller{}, nil
	}
	return v.outcome(v.verify(ctx, value))
}

func (v *Verifier) verify(ctx context.Context, value string) (Caller, error) {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
		return Caller{}, errMalformed
	}
	token = strings.TrimLeft(token, " ")
	hash := sha256.Sum256([]byte(token))
	if known, ok := v.kept.Get(hash); ok && known.by == v.keys.current.Load() && time.Now().Before(known.caller.Expires) {
		return known.caller, nil
	}
	var by *keySet
	parsed, err := v.parser.Parse(token, func(t *jwt.Token) (key any, err error) {
		key, by, err = v.key(ctx, t)
		return key, err
	})
	if err != nil {
		return Caller{}, err
	}
	claims, _ := parsed.Claims.(jwt.MapClaims) // as Parse makes them
	c, err := callerOf(claims)
	if err == nil {
		v.kept.Add(hash, verified{c, by})
	}
	return c, err
}

// key returns the key that a token must have been signed with. It comes from the issuer's address
// alone: what a token itself says of keys (jwk, jku, x5c, x5u: RFC 7515, section 4.1) counts for
// nothing.
func (v *Verifier) key(ctx context.Context, t *jwt.Token) (key any, in *keySet, err error) {
	if _, has := t.Header["crit"]; has {
		return nil, nil, errMalformed // none of its extensions is understood here (RFC 7515, section 4.1.11)
	}
	if !accessToken(t.Header["typ"]) {
		return nil, nil, errMalformed
	}
	kid, isText := t.Header["kid"].(string)
	if _, has := t.Header["kid"]; has && !isText {
		return nil, nil, errMalformed
	}
	found, in, err := v.keys.find(ctx, kid, t.Method.Alg())
	if err != nil {
		return nil, nil, err
	}
	return jwt.VerificationKeySet{Keys: found}, in, nil
}

// accessToken says whether a token's typ is one of an access token, or of none that it names: a
// token of another kind, such as one that ends a session, may have the same issuer and audience
// (RFC 8725, section 3.11).
func accessToken(typ any) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(text), "application/") {
	case "jwt", "at+jwt":
		return true
	}
	return false
}

func callerOf(claims jwt.MapClaims) (c Caller, err error) {
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return c, errMalformed
	}
	c.Expires = expires.Add(leeway)
	if c.Subject, err = claims.GetSubject(); err != nil || !plainText(c.Subject) {
		return Caller{}, errMalformed
	}
	scopes := claims["scope"]
	if scopes == nil {
		scopes = claims["scp"]
	}
	if c.scopes, err = scopesIn(scopes); err != nil {
		return Caller{}, err
	}
	return c, nil
}

// scopesIn reads scopes: texts with spaces between (RFC 8693, section 4.2), or a list.
func scopesIn(claim any) ([]string, error) {
	switch it := claim.(type) {
	case nil:
		return nil, nil
	case string:
		return strings.Split(it, " "), nil
	case []any:
		var all []string
		for _, one := range it {
			text, ok := one.(string)
			if !ok {
				return nil, errMalformed
			}
			all = append(all, text)
		}
		return all, nil
	}
	return nil, errMalformed
}

// plainText says whether a subject can be stored and shown as it is.
func plainText(subject string) bool {
	return utf8.RuneCountInString(subject) <= maxSubject && !strings.ContainsFunc(subject, unicode.IsControl)
}

var (
	errMalformed = errors.New("no bearer token, or not one of a kind that is taken")
	errNoKeys    = errors.New("the issuer's keys were never had")
	errNoKey     = errors.New("no key of the issuer fits")
)

// outcome counts what came of a token, and says it in words for its bearer: in detail only where
// the issuer did sign it.
func (v *Verifier) outcome(c Caller, err error) (Caller, error) {
	name, message := "accepted", ""
	switch {
	case err == nil:
	case errors.Is(err, errNoKeys):
		name, message = "no_keys", "tokens can't be checked yet; try again in a moment"
	case errors.Is(err, errNoKey):
		name, message = "unknown_key", "the token isn't valid"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		name, message = "bad_signature", "the token isn't valid"
	case errors.Is(err, jwt.ErrTokenExpired):
		name, message = "expired", "the token has expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		name, message = "not_yet_valid", "the token isn't valid yet"
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		name, message = "other_issuer", "the token is of another issuer"
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		name, message = "other_audience", "the token is for another audience"
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		name, message = "incomplete", "the token lacks exp, iss or aud"
	default:
		name, message = "malformed", "the token isn't valid"
	}
	v.tokens.WithLabelValues(name).Inc()
	if err != nil {
		return Caller{}, refusedToken(message)
	}
	return c, nil
}
