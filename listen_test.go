package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/graph"
	"product-service/graph/auth"
)

// serveOn serves a handler that answers with the protocol, and returns its address.
func serveOn(t *testing.T, secure *tls.Config) string {
	t.Helper()
	return serveHandler(t, secure, 10*time.Second, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
}

// serveHandler serves, until the test ends, requests that come within a time, and returns its address.
func serveHandler(t *testing.T, secure *tls.Config, within time.Duration, handler http.Handler) string {
	t.Helper()
	part, addr, err := listen(t.Context(), "127.0.0.1:0", secure, within, handler, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return addr.String()
}

func ask(t *testing.T, url string, secure *tls.Config, protocols func(*http.Protocols)) (proto string, cert *x509.Certificate) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: secure, Protocols: new(http.Protocols)}
	defer transport.CloseIdleConnections()
	protocols(transport.Protocols)
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.TLS != nil {
		cert = resp.TLS.PeerCertificates[0]
	}
	return string(body), cert
}

var (
	one     = func(p *http.Protocols) { p.SetHTTP1(true) }
	two     = func(p *http.Protocols) { p.SetHTTP2(true) }
	clearly = func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }
)

func TestHTTP2IsSpokenInTheClear(t *testing.T) {
	url := "http://" + serveOn(t, nil)
	for want, protocols := range map[string]func(*http.Protocols){"HTTP/1.1": one, "HTTP/2.0": clearly} {
		if got, _ := ask(t, url, nil, protocols); got != want {
			t.Errorf("it answers by %s, want %s", got, want)
		}
	}
}

func TestTheCertificateIsReadAgainWhenItChanges(t *testing.T) {
	dir := t.TempDir()
	c := &certificate{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), log: slog.New(slog.DiscardHandler)}
	roots := x509.NewCertPool()
	write := func(serial int64) {
		cert, key := selfSigned(t, serial)
		roots.AppendCertsFromPEM(cert)
		for file, content := range map[string][]byte{c.cert: cert, c.key: key} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(time.Duration(serial) * time.Second) // file systems keep times coarsely
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1)
	if err := checkTLS(c.cert, c.key); err != nil {
		t.Fatal(err)
	}
	url := "https://" + serveOn(t, c.config())
	shown := func() int64 {
		proto, cert := ask(t, url, &tls.Config{RootCAs: roots}, two)
		if proto != "HTTP/2.0" {
			t.Errorf("it answers by %s", proto)
		}
		return cert.SerialNumber.Int64()
	}
	if got := shown(); got != 1 {
		t.Errorf("certificate %d is shown", got)
	}
	write(2)
	if got := shown(); got != 2 {
		t.Errorf("after the change certificate %d is shown", got)
	}
	if err := os.WriteFile(c.key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != 2 {
		t.Errorf("while the new one can't be read certificate %d is shown", got)
	}
}

func TestTLSFilesAreCheckedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.pem")
	if err := os.WriteFile(file, []byte("secret words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ cert, key, names string }{
		{file, "", "HTTP_TLS_KEY"}, {"", file, "HTTP_TLS_CERT"}, {file, file, "HTTP_TLS_CERT, HTTP_TLS_KEY"}, {dir + "/none", file, "HTTP_TLS_CERT, HTTP_TLS_KEY"},
	} {
		if err := checkTLS(test.cert, test.key); err == nil || !strings.HasPrefix(err.Error(), test.names+":") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", test, err)
		}
	}
}

func selfSigned(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("product-service ", serial)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: fmt.Sprint("product-service ", serial)}}, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	var c, k bytes.Buffer
	if err := pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	if err := pem.Encode(&k, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}); err != nil {
		t.Fatal(err)
	}
	return c.Bytes(), k.Bytes()
}

// drip sends a text byte by byte until nobody takes it any more, and returns the answer and how
// long it took.
func drip(t *testing.T, addr, atOnce, slowly string) (answer string, took time.Duration) {
	t.Helper()
	began := time.Now()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(began.Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, atOnce); err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := 0; ; i = (i + 1) % len(slowly) {
			if _, err := io.WriteString(conn, slowly[i:i+1]); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // a pace, not a wait
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Logf("the connection ended with %v", err)
	}
	return string(got), time.Since(began)
}

func TestARequestThatDripsInEndsInTime(t *testing.T) {
	config, err := env.ParseAsWithOptions[graph.Config](env.Options{Environment: map[string]string{"GRAPHQL_TIMEOUT": "500ms"}})
	if err != nil {
		t.Fatal(err)
	}
	callers, err := auth.New(auth.Config{Mode: auth.ModeNone}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	api, err := graph.Handler(config, graph.Services{Gate: &graph.Gate{Verifier: callers}}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	addr := serveHandler(t, nil, config.Timeout, api)
	answer, took := drip(t, addr, "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90000\r\n\r\n", " ")
	if !strings.HasPrefix(answer, "HTTP/1.1 408 ") || !strings.Contains(answer, "in time") || !strings.Contains(answer, "Connection: close") {
		t.Errorf("the answer to a slow body is %q", answer)
	}
	if took < 400*time.Millisecond || took > 10*time.Second {
		t.Errorf("a slow body was given up after %s", took)
	}
	answer, took = drip(t, addr, "POST /graphql HTTP/1.1\r\n", "X-Header: x\r\n")
	if strings.Contains(answer, " 200 ") || took > 10*time.Second {
		t.Errorf("slow headers were given up after %s with %q", took, answer)
	}
}
