package inventory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// credentials are the PEM files of mTLS, read again when one of them changed: a rotation needs no
// restart. While the new files cannot be read (half written, say) the old ones stay in use.
type credentials struct {
	cert, key, ca string
	log           *slog.Logger

	mu     sync.Mutex
	stamps [3]fileStamp
	loaded loaded
}

// loaded is what the files hold. A nil pool is the system's.
type loaded struct {
	pair   *tls.Certificate
	roots  *x509.CertPool // the CA alone: the service is ours
	public *x509.CertPool // the system's and the CA: the token endpoint may be anybody's
}

type fileStamp struct {
	size    int64
	changed time.Time
}

func loadCredentials(cfg Config, log *slog.Logger) (*credentials, error) {
	c := &credentials{cert: cfg.ClientCert, key: cfg.ClientKey, ca: cfg.CA, log: log}
	c.stamps = c.stat()
	return c, c.load()
}

func (c *credentials) stat() (stamps [3]fileStamp) {
	for i, path := range []string{c.cert, c.key, c.ca} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			stamps[i] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return stamps
}

func (c *credentials) load() error {
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return fmt.Errorf("load the client certificate: %w", err)
		}
		c.loaded.pair = &pair
	}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return fmt.Errorf("load the CA: %w", err)
		}
		roots, public := x509.NewCertPool(), systemRoots()
		if !roots.AppendCertsFromPEM(pem) {
			return errors.New("load the CA: no certificate in INVENTORY_CLIENT_CA")
		}
		public.AppendCertsFromPEM(pem)
		c.loaded.roots, c.loaded.public = roots, public
	}
	return nil
}

// systemRoots are the system's, or none where it has none to offer.
func systemRoots() *x509.CertPool {
	if pool, err := x509.SystemCertPool(); err == nil {
		return pool
	}
	return x509.NewCertPool()
}

// current returns what the files hold now.
func (c *credentials) current() loaded {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.stat(); now != c.stamps {
		if err := c.load(); err != nil {
			c.log.Warn("certificates changed but cannot be read: keeping the old ones", "error", err)
		} else {
			c.stamps = now
			c.log.Info("certificates reloaded")
		}
	}
	return c.loaded
}

// config is the TLS configuration of one new connection to host.
func (c *credentials) config(host string) *tls.Config {
	now := c.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: now.roots}
	if now.pair != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return now.pair, nil }
	}
	return cfg
}

// tokenConfig is that of one to the token endpoint, which the client certificate is no business of:
// who has the client's secret needs none.
func (c *credentials) tokenConfig(host string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: c.current().public}
}

// proxied is the TLS configuration of connections through a proxy, which the transport makes by
// itself: there a changed client certificate is noticed, a changed CA only after a restart.
func (c *credentials) proxied() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: c.current().roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if pair := c.current().pair; pair != nil {
				return pair, nil
			}
			return &tls.Certificate{}, nil // the way to say "none"
		},
	}
}

// newTransport makes the pooled HTTP/1.1 transport. Not HTTP/2: there a dead connection is shared
// by all calls until a ping notices, here each timed out attempt takes its own connection with it.
// direct is the TLS configuration of a connection to a host, proxied that of one through a proxy.
func newTransport(cfg Config, direct func(host string) *tls.Config, proxied *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: cfg.InitTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, fmt.Errorf("dial: %w", err)
			}
			return (&tls.Dialer{NetDialer: dialer, Config: direct(host)}).DialContext(ctx, network, address)
		},
		TLSClientConfig:        proxied,
		MaxIdleConns:           2 * cfg.Concurrency,
		MaxIdleConnsPerHost:    2 * cfg.Concurrency,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              http1Only(),
	}
}

func http1Only() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
