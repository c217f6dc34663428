package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/prometheus/client_golang/prometheus"
)

func TestEveryAlgorithmThatMayBeIsTaken(t *testing.T) {
	for _, alg := range algorithms {
		s := newSigner(t, "k1", alg)
		v := withKeys(t, s.published(t))
		c, err := v.Authorization(t.Context(), "Bearer "+s.token(t, claimsNow(nil), nil))
		if err != nil || c.Subject != "ann" || !c.Has(CatalogWrite) || !c.Has(StockHistory) || c.Has(Operations) || c.Anonymous() {
			t.Errorf("%s: %+v, %v", alg, c, err)
		}
		bare := withKeys(t, s.published(t, func(k *jwkset.JWKMarshal) { k.ALG, k.USE = "", "" }))
		if _, err := bare.Authorization(t.Context(), "Bearer "+s.token(t, claimsNow(nil), nil)); err != nil {
			t.Errorf("%s, by a key that names no algorithm and no use: %v", alg, err)
		}
	}
}

// forgery is a token that must not be taken, and what its bearer is told.
type forgery struct {
	name, token, says string
}

func TestForgedTokensAreRefused(t *testing.T) {
	rs, es := newSigner(t, "rsa", "RS256"), newSigner(t, "ec", "ES256")
	ed, ed2 := newSigner(t, "ed", "EdDSA"), newSigner(t, "ed2", "EdDSA")
	thief := newSigner(t, "ec", "ES256") // a key of its own under the issuer's kid
	other := signer{kid: "rsa-enc", alg: "RS256", private: rs.private}
	v := withKeys(t, rs.published(t), es.published(t), ed.published(t), ed2.published(t),
		other.published(t, func(k *jwkset.JWKMarshal) { k.USE = jwkset.UseEnc }))
	now := time.Now().Unix()
	good := es.token(t, claimsNow(nil), nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	public := thief.published(t)
	const no = "the token isn't valid"

	for _, f := range []forgery{
		{"another key under the issuer's kid", thief.token(t, claimsNow(nil), nil), no},
		{"a key that the issuer doesn't have", thief.token(t, claimsNow(nil), claims{"kid": "thief"}), no},
		{"no kid, and several keys that fit", ed.token(t, claimsNow(nil), claims{"kid": nil}), no},
		{"an empty kid", thief.token(t, claimsNow(nil), claims{"kid": ""}), no},
		{"a kid that is a number", es.token(t, claimsNow(nil), claims{"kid": 7}), no},
		{"a kid that is a path", es.token(t, claimsNow(nil), claims{"kid": "../../dev/null"}), no},
		{"alg none", segment(t, claims{"alg": "none", "typ": "JWT", "kid": "ec"}) + "." + payload + ".", no},
		{"alg None", segment(t, claims{"alg": "None", "typ": "JWT", "kid": "ec"}) + "." + payload + ".", no},
		{"alg none with a signature", segment(t, claims{"alg": "none", "kid": "ec"}) + "." + payload + "." + signature, no},
		{"no alg", segment(t, claims{"kid": "ec"}) + "." + payload + "." + signature, no},
		{"alg of a list", segment(t, claims{"alg": []string{"ES256"}, "kid": "ec"}) + "." + payload + "." + signature, no},
		{"HS256 with the public key as its secret", hmacWithPublicKey(t, rs), no},
		{"PS256 where the key is for RS256", rs.tokenBy(t, "PS256", claimsNow(nil), nil), no},
		{"RS384 where the key is for RS256", rs.tokenBy(t, "RS384", claimsNow(nil), nil), no},
		{"RS256 under the kid of a key of another kind", rs.token(t, claimsNow(nil), claims{"kid": "ec"}), no},
		{"EdDSA under the kid of a key of another kind", ed.token(t, claimsNow(nil), claims{"kid": "rsa"}), no},
		{"a key that is for encryption", other.token(t, claimsNow(nil), nil), no},
		{"an embedded key", thief.token(t, claimsNow(nil), claims{"kid": nil, "jwk": public}), no},
		{"an embedded key under the issuer's kid", thief.token(t, claimsNow(nil), claims{"jwk": public}), no},
		{"an address of keys", thief.token(t, claimsNow(nil), claims{"kid": "thief", "jku": "https://thief.example/keys"}), no},
		{"an address of a certificate", thief.token(t, claimsNow(nil), claims{"x5u": "https://thief.example/cert"}), no},
		{"an embedded certificate", thief.token(t, claimsNow(nil), claims{"x5c": []string{"MIIB"}}), no},
		{"crit", es.token(t, claimsNow(nil), claims{"crit": []string{"exp"}, "exp": now + 60}), no},
		{"crit of b64", es.token(t, claimsNow(nil), claims{"crit": []string{"b64"}, "b64": true}), no},
		{"an empty crit", es.token(t, claimsNow(nil), claims{"crit": []string{}}), no},
		{"a token that ends a session", es.token(t, claimsNow(nil), claims{"typ": "logout+jwt"}), no},
		{"a proof of possession", es.token(t, claimsNow(nil), claims{"typ": "dpop+jwt"}), no},
		{"another issuer", es.token(t, claimsNow(claims{"iss": "https://login.example"}), nil), "the token is of another issuer"},
		{"an issuer in another case", es.token(t, claimsNow(claims{"iss": "https://LOGIN.example/"}), nil), "the token is of another issuer"},
		{"no issuer", es.token(t, claimsNow(claims{"iss": nil}), nil), "the token lacks exp, iss or aud"},
		{"a list of issuers", es.token(t, claimsNow(claims{"iss": []string{testIssuer}}), nil), no},
		{"another audience", es.token(t, claimsNow(claims{"aud": "https://shop.example"}), nil), "the token is for another audience"},
		{"other audiences", es.token(t, claimsNow(claims{"aud": []string{"https://shop.example", testAudience + "/"}}), nil), "the token is for another audience"},
		{"no audience", es.token(t, claimsNow(claims{"aud": nil}), nil), "the token lacks exp, iss or aud"},
		{"an empty list of audiences", es.token(t, claimsNow(claims{"aud": []string{}}), nil), "the token lacks exp, iss or aud"},
		{"audiences that aren't texts", es.token(t, claimsNow(claims{"aud": []any{testAudience, 1}}), nil), no},
		{"an audience that is an object", es.token(t, claimsNow(claims{"aud": claims{testAudience: 1}}), nil), "the token lacks exp, iss or aud"},
		{"no end", es.token(t, claimsNow(claims{"exp": nil}), nil), "the token lacks exp, iss or aud"},
		{"an end of zero", es.token(t, claimsNow(claims{"exp": 0}), nil), "the token lacks exp, iss or aud"},
		{"an end that is a text", es.token(t, claimsNow(claims{"exp": "2099-01-01"}), nil), no},
		{"an end in the past", es.token(t, claimsNow(claims{"exp": now - 31}), nil), "the token has expired"},
		{"an end under another name", es.token(t, claimsNow(claims{"exp": nil, "Exp": now + 60}), nil), "the token lacks exp, iss or aud"},
		{"a beginning in the future", es.token(t, claimsNow(claims{"nbf": now + 40}), nil), "the token isn't valid yet"},
		{"a beginning that is a text", es.token(t, claimsNow(claims{"nbf": "now"}), nil), no},
		{"a subject that is no text", es.token(t, claimsNow(claims{"sub": 12}), nil), no},
		{"a subject that is too long", es.token(t, claimsNow(claims{"sub": strings.Repeat("x", maxSubject+1)}), nil), no},
		{"a subject with a control character", es.token(t, claimsNow(claims{"sub": "ann\x00"}), nil), no},
		{"a scope that is a number", es.token(t, claimsNow(claims{"scope": 1}), nil), no},
		{"a list of scopes with a number", es.token(t, claimsNow(claims{"scope": []any{CatalogWrite, 1}}), nil), no},
		{"a changed payload", head + "." + segment(t, claimsNow(claims{"sub": "eve"})) + "." + signature, no},
		{"a changed header", segment(t, claims{"alg": "ES256", "kid": "ec", "x": 1}) + "." + payload + "." + signature, no},
		{"a signature cut short", good[:len(good)-2], no},
		{"no signature", head + "." + payload + ".", no},
		{"a signature in another encoding", head + "." + payload + "." + signature + "=", no},
		{"bits that the encoding leaves over", head + "." + payload + "." + lastBitChanged(signature), no},
		{"an encrypted token", "e30." + payload + ".x.y.z", no},
		{"two parts", head + "." + payload, no},
		{"no token", "", no},
		{"no text", "\x00\xff", no},
		{"a header that is no object", base64.RawURLEncoding.EncodeToString([]byte("[]")) + "." + payload + "." + signature, no},
		{"claims that are no object", head + "." + base64.RawURLEncoding.EncodeToString([]byte(`"x"`)) + "." + signature, no},
		{"a token in a token", es.token(t, claimsNow(nil), claims{"cty": "JWT"}) + "." + good, no},
		{"too long a token", es.token(t, claimsNow(claims{"groups": strings.Repeat("x", maxToken)}), nil), no},
	} {
		t.Run(f.name, func(t *testing.T) {
			c, err := v.Authorization(t.Context(), "Bearer "+f.token)
			refused, ok := errors.AsType[*Refusal](err)
			if !ok || refused.Status != http.StatusUnauthorized || refused.Error() != f.says {
				t.Fatalf("it is taken, or refused in other words: %+v, %v; want %q", c, err, f.says)
			}
			if c.Subject != "" || c.Has(CatalogWrite) || !strings.HasPrefix(refused.Challenge, `Bearer realm="product-service", error="invalid_token"`) {
				t.Errorf("caller %+v, challenge %s", c, refused.Challenge)
			}
		})
	}
}

// hmacWithPublicKey is a token whose signature is a hash with the published key as the secret.
func hmacWithPublicKey(t testing.TB, s signer) string {
	t.Helper()
	text := segment(t, claims{"alg": "HS256", "typ": "JWT", "kid": s.kid}) + "." + segment(t, claimsNow(nil))
	return text + "." + base64.RawURLEncoding.EncodeToString(hmacSHA256(pemOf(t, s.private.Public()), text))
}

// lastBitChanged is another text for the same bytes, to a decoder that doesn't look.
func lastBitChanged(signature string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, signature[len(signature)-1])
	return signature[:len(signature)-1] + string(digits[last^1])
}

func TestTokensWithinBoundsAreTaken(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	v := withKeys(t, s.published(t), newSigner(t, "k2", "EdDSA").published(t))
	now := time.Now().Unix()
	for name, token := range map[string]string{
		"an end within the leeway":                s.token(t, claimsNow(claims{"exp": now - 28}), nil),
		"a beginning within the leeway":           s.token(t, claimsNow(claims{"nbf": now + 28}), nil),
		"an end with a fraction":                  s.token(t, claimsNow(claims{"exp": float64(now) + 60.5}), nil),
		"one of several audiences":                s.token(t, claimsNow(claims{"aud": []string{"https://shop.example", testAudience}}), nil),
		"no kid, and one key that fits":           s.token(t, claimsNow(nil), claims{"kid": nil}),
		"no typ":                                  s.token(t, claimsNow(nil), claims{"typ": nil}),
		"the typ of an access token":              s.token(t, claimsNow(nil), claims{"typ": "at+jwt"}),
		"the same as a media type":                s.token(t, claimsNow(nil), claims{"typ": "application/AT+JWT"}),
		"a thumbprint, as some issuers have them": s.token(t, claimsNow(nil), claims{"x5t": "abc"}),
		"an address of keys, which isn't asked":   s.token(t, claimsNow(nil), claims{"jku": "https://login.example/other"}),
		"issued in the future":                    s.token(t, claimsNow(claims{"iat": now + 3600}), nil),
	} {
		if c, err := v.Authorization(t.Context(), "Bearer "+token); err != nil || c.Subject != "ann" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if c, err := v.Authorization(t.Context(), "bearer  "+s.token(t, claimsNow(claims{"sub": nil}), nil)); err != nil || c.Anonymous() || c.Subject != "" {
		t.Errorf("a token without a subject, under the scheme in another case: %+v, %v", c, err)
	}
	if _, err := v.Authorization(t.Context(), "Basic YW5uOnB3"); err == nil {
		t.Error("another scheme is taken for no token")
	}
}

func TestWhatEndsWithATokenIsTheLeewayLater(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	exp := time.Now().Add(time.Minute).Truncate(time.Second)
	c, err := withKeys(t, s.published(t)).Authorization(t.Context(), "Bearer "+s.token(t, claimsNow(claims{"exp": exp.Unix()}), nil))
	if err != nil || !c.Expires.Equal(exp.Add(leeway)) {
		t.Errorf("the token is accepted until %s, %v; want %s", c.Expires, err, exp.Add(leeway))
	}
}

func TestScopes(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	v := withKeys(t, s.published(t))
	for _, x := range []struct {
		name   string
		claims claims
		has    []string
	}{
		{"none", claims{"scope": nil}, nil},
		{"a null", claims{"scope": nil, "scp": nil}, nil},
		{"texts with spaces between", claims{"scope": "openid  catalog:write stock:history"}, []string{CatalogWrite, StockHistory}},
		{"a list", claims{"scope": []string{"operations"}}, []string{Operations}},
		{"scp", claims{"scope": nil, "scp": []string{"stock:history"}}, []string{StockHistory}},
		{"scp beside scope counts for nothing", claims{"scope": "openid", "scp": "operations"}, nil},
		{"other letters", claims{"scope": "Catalog:Write stock:history2 catalog"}, nil},
		{"tabs don't part them", claims{"scope": "openid\tcatalog:write"}, nil},
		{"everything isn't a scope", claims{"scope": "* catalog:*"}, nil},
	} {
		c, err := v.Authorization(t.Context(), "Bearer "+s.token(t, claimsNow(x.claims), nil))
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		has := 0
		for _, scope := range []string{CatalogWrite, StockHistory, Operations} {
			if c.Has(scope) {
				has++
			}
		}
		for _, scope := range x.has {
			if !c.Has(scope) {
				t.Errorf("%s: it lacks %s", x.name, scope)
			}
		}
		if has != len(x.has) {
			t.Errorf("%s: it has %d scopes, want %v", x.name, has, x.has)
		}
	}
}

func TestWhatACallerLacks(t *testing.T) {
	for _, x := range []struct {
		name      string
		caller    Caller
		status    int
		message   string
		challenge string
	}{
		{"no token", Caller{}, 401, "this needs a token with the scope stock:history", `Bearer realm="product-service", scope="stock:history"`},
		{"a token without the scope", Caller{Expires: time.Now(), scopes: []string{CatalogWrite}}, 403, "the token lacks the scope stock:history",
			`Bearer realm="product-service", error="insufficient_scope", scope="stock:history"`},
		{"a token with it", Caller{Expires: time.Now(), scopes: []string{StockHistory}}, 0, "", ""},
		{"nobody is asked", Caller{allowed: true}, 0, "", ""},
	} {
		err := x.caller.Need([]string{StockHistory})
		if x.status == 0 {
			if err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
			continue
		}
		refused, ok := errors.AsType[*Refusal](err)
		if !ok || refused.Status != x.status || refused.Error() != x.message || refused.Challenge != x.challenge {
			t.Errorf("%s: %+v", x.name, err)
		}
	}
	both := Caller{Expires: time.Now(), scopes: []string{CatalogWrite}}
	if err := both.Need([]string{CatalogWrite, StockHistory}); err == nil {
		t.Error("half of a set is enough")
	}
	if err := both.Need([]string{StockHistory}, []string{CatalogWrite}); err != nil {
		t.Errorf("the second set isn't looked at: %v", err)
	}
}

func TestARequestShowsOneToken(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	v := withKeys(t, s.published(t))
	good := "Bearer " + s.token(t, claimsNow(nil), nil)
	for _, x := range []struct {
		headers   []string
		anonymous bool
		refused   bool
	}{
		{nil, true, false},
		{[]string{""}, true, false},
		{[]string{good}, false, false},
		{[]string{good, good}, false, true},
		{[]string{"", good}, false, true},
		{[]string{good + ", " + good}, false, true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/?access_token="+strings.TrimPrefix(good, "Bearer "), nil)
		for _, h := range x.headers {
			r.Header.Add("Authorization", h)
		}
		if c, err := v.Request(r); (err != nil) != x.refused || c.Anonymous() != (x.anonymous || x.refused) {
			t.Errorf("%d headers: %+v, %v", len(x.headers), c, err)
		}
	}
}

// Ensure that a verifier which looks at no tokens runs until it is told to stop, as any part of the
// server must.
func TestAVerifierWithoutKeysRunsUntilItIsStopped(t *testing.T) {
	v, err := New(Config{Mode: ModeNone}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { v.Run(ctx); close(ended) }()
	select {
	case <-ended:
		t.Error("it ended by itself")
	case <-time.After(20 * time.Millisecond): // a fault would show at once
	}
	stop()
	<-ended
}

// A token is verified once, and again after the issuer's keys came anew; its end counts each time.
func TestATokenThatWasAcceptedEndsWithItsTimeAndItsKey(t *testing.T) {
	s, other := newSigner(t, "k1", "ES256"), newSigner(t, "k2", "ES256")
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{keys: []jwkset.JWKMarshal{s.published(t), other.published(t)}}
		v, _ := newVerifier(t, from)
		run(t, v)
		short := "Bearer " + s.token(t, claimsNow(claims{"exp": time.Now().Add(time.Minute).Unix()}), nil)
		long := "Bearer " + s.token(t, claimsNow(nil), nil)
		for range 3 {
			if c, err := v.Authorization(t.Context(), short); err != nil || c.Subject != "ann" || !c.Has(StockHistory) {
				t.Errorf("%+v, %v", c, err)
			}
		}
		_, _ = v.Authorization(t.Context(), long)
		if n := v.kept.Len(); n != 2 {
			t.Errorf("%d tokens are kept, want 2", n)
		}
		time.Sleep(time.Minute + leeway)
		if _, err := v.Authorization(t.Context(), short); err == nil || err.Error() != "the token has expired" {
			t.Errorf("after its end: %v", err)
		}
		if _, err := v.Authorization(t.Context(), long); err != nil {
			t.Errorf("before its end: %v", err)
		}
		from.set(func(i *issuer) { i.keys = i.keys[1:] })
		time.Sleep(refreshEvery)
		if _, err := v.Authorization(t.Context(), long); err == nil {
			t.Error("a token outlives the key it was signed with")
		}
	})
}
