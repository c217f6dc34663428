package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// maxStreams is how many requests one HTTP/2 connection may have under way.
const maxStreams = 100

// maxHeaderTime is how long the headers of a request may take.
const maxHeaderTime = 5 * time.Second

// listen binds an address and returns a part that serves on it until it is told to stop; then it
// finishes what is under way. A request must have come to its end so long after its first byte: who
// reads the rest of its body gets [os.ErrDeadlineExceeded]. It speaks HTTP/1.1 and HTTP/2: by TLS
// where it is given a configuration of that, else in the clear to proxies that know it does (RFC
// 9113, section 3.3).
func listen(ctx context.Context, addr string, secure *tls.Config, within time.Duration, handler http.Handler,
	log *slog.Logger) (func(context.Context) error, net.Addr, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         secure,
		ReadHeaderTimeout: min(maxHeaderTime, within),
		ReadTimeout:       within,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, SendPingTimeout: time.Minute, WriteByteTimeout: 30 * time.Second,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(secure != nil)
	server.Protocols.SetUnencryptedHTTP2(secure == nil)
	serve := func(ctx context.Context) error {
		failed := make(chan error, 1)
		go func() {
			if secure != nil {
				failed <- server.ServeTLS(listener, "", "")
			} else {
				failed <- server.Serve(listener)
			}
		}()
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	}
	return serve, listener.Addr(), nil
}

// certificate is what clients are shown: PEM files, read again when one of them changed. While the
// new files can't be read (half written, say) the old certificate stays in use.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  string
}

// config is nil where no files are set.
func (c *certificate) config() *tls.Config {
	if c.cert == "" {
		return nil
	}
	current := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current() }
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: current}
}

func (c *certificate) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp := stampOf(c.cert) + stampOf(c.key)
	if stamp == c.stamp {
		return c.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	switch {
	case err == nil:
		c.loaded, c.stamp = &pair, stamp
	case c.loaded == nil:
		return nil, fmt.Errorf("load the server's certificate: %w", err)
	default:
		c.log.Warn("the certificate changed but can't be read; the old one stays in use", "error", err)
	}
	return c.loaded, nil
}

// stampOf tells one content of a file from another.
func stampOf(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime(), ";")
}

func checkTLS(cert, key string) error {
	switch {
	case cert == "" && key == "":
		return nil
	case cert == "":
		return errors.New("HTTP_TLS_CERT: it must be set with HTTP_TLS_KEY: both, or neither")
	case key == "":
		return errors.New("HTTP_TLS_KEY: it must be set with HTTP_TLS_CERT: both, or neither")
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return fmt.Errorf("HTTP_TLS_CERT, HTTP_TLS_KEY: they can't be used: %w", err)
	}
	return nil
}
