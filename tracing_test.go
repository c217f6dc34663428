package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestSpansGoToTheCollectorThatTheStandardVariablesName(t *testing.T) {
	got := make(chan []byte, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.URL.Path == "/v1/traces" {
			got <- body
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	life := newLifecycle(slog.New(slog.DiscardHandler))
	s := &server{log: life.log}
	if err := s.trace(t.Context(), life); err != nil {
		t.Fatal(err)
	}
	handler := span("graphql", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/graphql", nil))
	if err := life.stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	select {
	case body := <-got:
		if !bytes.Contains(body, []byte("product-service")) || !bytes.Contains(body, []byte("graphql")) {
			t.Errorf("the collector got %q", body)
		}
	default:
		t.Error("the collector got nothing")
	}
	if s.Inventory.Wrap == nil {
		t.Error("calls to the Inventory Service have no spans")
	}
}

func TestNothingIsTracedUnlessACollectorIsNamed(t *testing.T) {
	for name, vars := range map[string]map[string]string{
		"no collector": {}, "disabled": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		"no exporter": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"} {
				t.Setenv(v, vars[v])
			}
			if traced() {
				t.Error("spans would be exported")
			}
		})
	}
}
