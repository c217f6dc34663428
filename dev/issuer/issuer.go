// Package issuer stands in for an identity provider, for developers and tests: it publishes a key
// on loopback, and signs any token it is asked for.
package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Audience is whom the tokens are for.
const Audience = "product-service"

const keysPath = "/.well-known/jwks.json"

// Issuer is one that runs.
type Issuer struct {
	server *http.Server
	url    string
	done   chan struct{}

	mu      sync.Mutex
	keys    int
	kid     string
	private *ecdsa.PrivateKey
	all     jwkset.Storage
}

// Start publishes a new key at an address of loopback, such as 127.0.0.1:0.
func Start(addr string) (*Issuer, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	i := &Issuer{url: "http://" + listener.Addr().String(), done: make(chan struct{}), all: jwkset.NewMemoryStorage()}
	if err := i.Rotate(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+keysPath, i.publish)
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(i.done)
		_ = i.server.Serve(listener) // ends with Stop
	}()
	return i, nil
}

// Stop ends it.
func (i *Issuer) Stop() error {
	err := i.server.Close()
	<-i.done
	return err
}

// URL is what tokens have as iss.
func (i *Issuer) URL() string { return i.url }

// KeysURL is where the keys are published.
func (i *Issuer) KeysURL() string { return i.url + keysPath }

// Rotate signs with a new key from now on. The keys from before stay published.
func (i *Issuer) Rotate() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys++
	i.kid, i.private = fmt.Sprintf("dev-%d", i.keys), private
	k, err := jwkset.NewJWKFromKey(&private.PublicKey, jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{KID: i.kid, ALG: jwkset.AlgES256, USE: jwkset.UseSig},
	})
	if err != nil {
		return err
	}
	return i.all.KeyWrite(context.Background(), k)
}

// Token signs a token for a subject that has scopes.
func (i *Issuer) Token(subject string, lifetime time.Duration, scopes ...string) (string, error) {
	return i.Sign(map[string]any{
		"iss": i.url, "aud": Audience, "sub": subject, "scope": strings.Join(scopes, " "), "exp": time.Now().Add(lifetime).Unix(),
	})
}

// Sign signs any claims.
func (i *Issuer) Sign(claims map[string]any) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(claims))
	t.Header["kid"] = i.kid
	return t.SignedString(i.private)
}

func (i *Issuer) publish(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	body, err := i.all.JSONPublic(r.Context())
	i.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(body) // a client that is gone needs none
}
