package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	testIssuer   = "https://login.example/"
	testAudience = "https://products.example"
)

// issuer publishes keys without a network.
type issuer struct {
	mu     sync.Mutex
	keys   []jwkset.JWKMarshal
	away   bool
	answer func() *http.Response // instead of the keys
	asked  []time.Time
	delay  time.Duration
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	delay := i.delay
	i.asked = append(i.asked, time.Now())
	i.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.away {
		return nil, errors.New("connection refused")
	}
	if i.answer != nil {
		return i.answer(), nil
	}
	body, err := json.Marshal(jwkset.JWKSMarshal{Keys: i.keys})
	if err != nil {
		return nil, err
	}
	return response(http.StatusOK, string(body)), nil
}

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) askedTimes() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// signer is a key of an issuer's, with the half that it doesn't publish.
type signer struct {
	kid, alg string
	private  crypto.Signer
}

func newSigner(t testing.TB, kid, alg string) signer {
	t.Helper()
	var private crypto.Signer
	var err error
	switch {
	case alg == "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case alg == "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case alg == "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case alg == "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private = rsaKey()
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{kid: kid, alg: alg, private: private}
}

// rsaKey is the same for all tests, because it takes long to make.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return mustRSA(2048) })

func mustRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// published is the key as the issuer shows it, with its algorithm.
func (s signer) published(t testing.TB, changes ...func(*jwkset.JWKMarshal)) jwkset.JWKMarshal {
	t.Helper()
	k, err := jwkset.NewJWKFromKey(s.private.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: s.kid, ALG: jwkset.ALG(s.alg), USE: jwkset.UseSig}})
	if err != nil {
		t.Fatal(err)
	}
	m := k.Marshal()
	for _, change := range changes {
		change(&m)
	}
	return m
}

type claims = map[string]any

// claimsNow are those of a token that is in order, with changes; nil takes one out.
func claimsNow(changes claims) claims {
	c := claims{
		"iss": testIssuer, "aud": testAudience, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "scope": CatalogWrite + " " + StockHistory,
	}
	return changed(c, changes)
}

func changed(c, changes claims) claims {
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// token signs claims as the signer, under a header with changes.
func (s signer) token(t testing.TB, c, header claims) string {
	t.Helper()
	return s.tokenBy(t, s.alg, c, header)
}

func (s signer) tokenBy(t testing.TB, alg string, c, header claims) string {
	t.Helper()
	h := changed(claims{"alg": alg, "typ": "JWT", "kid": s.kid}, header)
	text := segment(t, h) + "." + segment(t, c)
	signature, err := jwt.GetSigningMethod(alg).Sign(text, s.private)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func segment(t testing.TB, v any) string {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

// newVerifier asks the issuer for keys. It is not running yet. What it logs is returned too.
func newVerifier(t testing.TB, from *issuer) (*Verifier, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	v, err := New(Config{Mode: ModeJWT, Issuer: testIssuer, Audience: testAudience, JWKSURL: "https://login.example/keys"},
		slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	v.keys.client.Transport = from
	return v, &log
}

// withKeys is a running verifier that has fetched the issuer's keys.
func withKeys(t testing.TB, published ...jwkset.JWKMarshal) *Verifier {
	t.Helper()
	v, _ := newVerifier(t, &issuer{keys: published})
	if err := v.keys.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, v)
	return v
}

// run keeps the verifier's keys until the test ends.
func run(t testing.TB, v *Verifier) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
}

func hmacSHA256(secret []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func pemOf(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
