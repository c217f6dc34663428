package inventory

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

// authority is a certificate authority of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t}
	a.cert, a.key, a.pem, _ = a.issue(name, true)
	return a
}

// issue makes a certificate signed by a, or by itself for the authority.
func (a *authority) issue(name string, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if isCA {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

func (a *authority) pair(name string) tls.Certificate {
	_, _, cert, key := a.issue(name, false)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mtlsServer serves sim, wants a client certificate and tells who called last.
func mtlsServer(t *testing.T, sim http.Handler, ca *authority, version uint16) (*httptest.Server, *atomic.Value) {
	var caller atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
		w.Header().Set("Connection", "close") // each call shows its certificate
		sim.ServeHTTP(w, r)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.pair("server")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: version,
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, &caller
}

func TestMutualTLSWithRotation(t *testing.T) {
	ca := newAuthority(t, "first")
	dir := t.TempDir()
	paths := map[string]string{}
	for _, file := range []string{"cert", "key", "ca"} {
		paths[file] = filepath.Join(dir, file+".pem")
	}
	rotate := func(name string) {
		_, _, cert, key := ca.issue(name, false)
		write(t, paths["cert"], cert)
		write(t, paths["key"], key)
	}
	rotate("product-1")
	write(t, paths["ca"], ca.pem)
	var server *httptest.Server
	var caller *atomic.Value
	f := newFixture(t, func(f *fixture) {
		f.clock = newClock()
		f.cfg.ClientCert, f.cfg.ClientKey, f.cfg.CA = paths["cert"], paths["key"], paths["ca"]
	})
	server, caller = mtlsServer(t, f.sim, ca, 0)
	f.close()
	f.cfg.URL = server.URL
	f.open()
	id := f.stock(1)[0]
	ask := func() Result {
		f.clock.Advance(time.Minute)
		return f.read(id)[0]
	}
	if got := ask(); got.Level.Source != Live || caller.Load() != "product-1" {
		t.Fatalf("got %+v as %v", got, caller.Load())
	}
	rotate("product-2") // the size changes with the signature or the time does
	eventually(t, "the new certificate is shown", func() bool { ask(); return caller.Load() == "product-2" })

	write(t, paths["key"], []byte("half a fi"))
	if got := ask(); got.Level.Source != Live || caller.Load() != "product-2" {
		t.Fatalf("while rotating: got %+v as %v", got, caller.Load())
	}
	// Another authority takes over: the server changes first and is refused, then the bundle follows.
	ca = newAuthority(t, "second, with a longer name")
	server, caller = mtlsServer(t, f.sim, ca, 0)
	f.cfg.URL, f.client.base = server.URL, server.URL+"/inventory"
	if got := ask(); got.Level.Source != StaleFallback {
		t.Fatalf("a stranger was trusted: %+v", got)
	}
	rotate("product-3")
	write(t, paths["ca"], ca.pem)
	eventually(t, "the new authority is trusted", func() bool { return ask().Level.Source == Live && caller.Load() == "product-3" })
}

// TestTokenEndpointIsAnybodys: it is trusted as the public is, and by our own CA, and shown no
// client certificate.
func TestTokenEndpointIsAnybodys(t *testing.T) {
	ca := newAuthority(t, "ours")
	dir := t.TempDir()
	_, _, cert, key := ca.issue("product", false)
	tokens := &tokenServer{expires: 100}
	var shown atomic.Int64
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Add(int64(len(r.TLS.PeerCertificates)))
		tokens.endpoint(w, r)
	}))
	endpoint.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair("tokens")}, ClientAuth: tls.RequestClientCert}
	endpoint.StartTLS()
	t.Cleanup(endpoint.Close)
	f := newFixture(t, func(f *fixture) {
		f.cfg.ClientCert, f.cfg.ClientKey, f.cfg.CA = filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")
		write(t, f.cfg.ClientCert, cert)
		write(t, f.cfg.ClientKey, key)
		write(t, f.cfg.CA, ca.pem)
		f.cfg.OAuthTokenURL, f.cfg.OAuthClientID, f.cfg.OAuthClientSecret = endpoint.URL, "product", "hush-secret"
		f.cfg.OAuthScopes = []string{"inventory:read", "inventory:write"}
	})
	server, caller := mtlsServer(t, tokens.guard(f.sim), ca, 0)
	f.close()
	f.cfg.URL = server.URL
	f.open()
	if got := f.read(f.stock(1)[0])[0]; got.Outcome != Known || caller.Load() != "product" || shown.Load() != 0 {
		t.Fatalf("got %+v as %v, the token endpoint was shown %d certificates", got, caller.Load(), shown.Load())
	}
	creds, err := loadCredentials(f.cfg, f.client.log)
	if err != nil {
		t.Fatal(err)
	}
	public, own := systemRoots(), x509.NewCertPool()
	public.AddCert(ca.cert)
	own.AddCert(ca.cert)
	if !creds.tokenConfig("x").RootCAs.Equal(public) || !creds.config("x").RootCAs.Equal(own) {
		t.Error("the token endpoint isn't trusted by the system's roots and the CA, or the service by more than the CA")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := newAuthority(t, "old")
	path := filepath.Join(t.TempDir(), "ca.pem")
	write(t, path, ca.pem)
	f := newFixture(t, func(f *fixture) { f.cfg.CA = path })
	server := httptest.NewUnstartedServer(f.sim)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair("server")}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	f.close()
	f.cfg.URL = server.URL
	f.open()
	if got := f.read(uuid.New())[0]; got.Outcome != Unavailable {
		t.Fatalf("got %+v", got)
	}
}

func TestStaticTokenStaysAtHome(t *testing.T) {
	var leaked atomic.Value
	leaked.Store("never called")
	elsewhere := newHTTP(t, func(_ http.ResponseWriter, r *http.Request) { leaked.Store(r.Header.Get("Authorization")) })
	sim, err := simulator.New(simulator.Options{Token: "hush-token"})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(f *fixture) { f.sim, f.cfg.Token = sim, "hush-token" })
	ids := f.stock(2)
	if got := f.read(ids[0])[0]; got.Outcome != Known {
		t.Fatalf("got %+v", got)
	}
	f.server.Config.Handler = http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect)
	got := f.read(ids[1])[0]
	if got.Outcome != Unavailable || !errors.Is(got.Err, errRedirect) {
		t.Fatalf("got %+v", got)
	}
	if leaked.Load() != "never called" {
		t.Fatalf("the other host got %v", leaked.Load())
	}
	if strings.Contains(f.logs.String()+got.Err.Error(), "hush") {
		t.Error("the token is in a log or an error")
	}
}

// tokenServer is an OAuth2 token endpoint and the service behind it, which takes only the token
// issued last.
type tokenServer struct {
	mu      sync.Mutex
	issued  int
	expires int
	fail    bool
	current string
}

func (s *tokenServer) endpoint(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, secret, ok := r.BasicAuth()
	if s.fail || !ok || id != "product" || secret != "hush-secret" || r.FormValue("scope") != "inventory:read inventory:write" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s hush-echo"}`, secret)
		return
	}
	s.issued++
	s.current = fmt.Sprintf("hush-%d", s.issued)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": s.current, "token_type": "Bearer", "expires_in": s.expires})
}

func (s *tokenServer) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		ok := s.current != "" && r.Header.Get("Authorization") == "Bearer "+s.current
		s.mu.Unlock()
		if !ok {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *tokenServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

func TestClientCredentials(t *testing.T) {
	tokens := &tokenServer{expires: 100}
	endpoint := newHTTP(t, tokens.endpoint)
	f := newFixture(t, func(f *fixture) {
		f.cfg.OAuthTokenURL, f.cfg.OAuthClientID, f.cfg.OAuthClientSecret = endpoint, "product", "hush-secret"
		f.cfg.OAuthScopes = []string{"inventory:read", "inventory:write"}
	})
	f.server.Config.Handler = tokens.guard(f.sim)
	oauth := f.client.http.Transport.(*attempts).next.(*authorizer).oauth
	var offset atomic.Int64
	oauth.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	mustRead := func(what string) {
		t.Helper()
		if got := f.read(f.stock(1)[0])[0]; got.Outcome != Known {
			t.Fatalf("%s: %+v\n%s", what, got, f.logs)
		}
	}
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() { mustRead("first") })
	}
	done.Wait()
	if n := tokens.count(); n != 1 {
		t.Fatalf("%d tokens for 20 concurrent reads, want 1", n)
	}
	offset.Store(int64(85 * time.Second)) // valid, but past 80 % of its life: renewed behind
	mustRead("at 85 %")
	eventually(t, "renewed", func() bool {
		oauth.mu.Lock()
		defer oauth.mu.Unlock()
		return oauth.token == "hush-2"
	})
	revoke := func() {
		offset.Add(int64(2 * time.Second))
		tokens.mu.Lock()
		tokens.current = "revoked"
		tokens.mu.Unlock()
	}
	revoke()
	mustRead("after a 401")
	if n := tokens.count(); n != 3 {
		t.Fatalf("%d tokens after a 401, want 3", n)
	}
	if _, err := f.client.create(context.Background(), Record{VariantID: uuid.New()}); err != nil {
		t.Fatal(err)
	}
	revoke()
	if _, err := f.client.create(context.Background(), Record{VariantID: uuid.New()}); err != nil {
		t.Fatalf("a POST after a 401: %v", err) // its body has to be sent again
	}
	f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	for range 10 { // a service that refuses every token
		f.read(uuid.New())
	}
	if n := tokens.count(); n > 5 {
		t.Errorf("%d tokens, want no flood", n)
	}
	f.server.Config.Handler = tokens.guard(f.sim)
	tokens.mu.Lock()
	tokens.fail = true
	tokens.mu.Unlock()
	revoke()
	got := f.read(uuid.New())[0]
	if got.Outcome != Unavailable {
		t.Fatalf("got %+v", got)
	}
	offset.Store(int64(time.Hour))
	again := f.read(uuid.New())[0]
	if !errors.Is(again.Err, errToken) {
		t.Fatalf("got %v", again.Err)
	}
	if all := f.logs.String() + got.Err.Error() + again.Err.Error(); strings.Contains(all, "hush") {
		t.Errorf("a secret is in a log or an error: %s", all)
	}
}
