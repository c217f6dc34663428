package read

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"product-service/dev/stack"
	"product-service/projection"
	"product-service/projection/store"
)

func TestMain(m *testing.M) { stack.Main(m) }

func project(t rapid.TB, s *store.Store, log projection.Log, l projection.Leases) *projection.Projector {
	t.Helper()
	p, err := projection.NewProjector(s, log, l, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return p
}
