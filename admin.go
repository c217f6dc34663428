package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health answers whether the process lives and whether it should get traffic.
type health struct {
	checks  map[string]func(context.Context) error // what must work for this instance to be of use
	started atomic.Bool
	leaving atomic.Bool
}

// routes adds the probes: alive as long as it answers; ready when every check passes.
func (h *health) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
}

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	report := h.report(ctx)
	status := http.StatusOK
	for _, says := range report {
		if says != "ok" {
			status = http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, err := json.Marshal(report)
	if err != nil { // a map of strings has none
		body = []byte("{}")
	}
	_, _ = w.Write(append(body, '\n')) // the prober may have gone
}

// report runs the checks side by side. What it says is for the probes' log: short, and without addresses or secrets.
func (h *health) report(ctx context.Context) map[string]string {
	report := map[string]string{"server": "ok"}
	switch {
	case h.leaving.Load():
		report["server"] = "stopping"
	case !h.started.Load():
		report["server"] = "starting"
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, check := range h.checks {
		wg.Go(func() {
			says := "ok"
			if err := check(ctx); err != nil {
				says = "not available"
			}
			mu.Lock()
			defer mu.Unlock()
			report[name] = says
		})
	}
	wg.Wait()
	return report
}

// adminHandler serves what is for the people who run the service.
func adminHandler(h *health, r prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	h.routes(mux)
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// listen binds an address and returns a part that serves on it until it is told to stop; then it finishes what is under way.
func listen(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) (func(context.Context) error, net.Addr, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	serve := func(ctx context.Context) error {
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(listener) }()
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
