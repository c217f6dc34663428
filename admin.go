package main

import (
	"context"
	"encoding/json"
	"fmt"
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

// report runs the checks side by side. What it says is for the probes' log: short, and without
// addresses or secrets.
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
