package graph

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/dev/simulator"
	"product-service/integration/inventory"
)

// newUpstream reads the levels of a catalogue from a simulated Inventory Service, over a socket.
func newUpstream(t *testing.T, c catalogue) (*fakes, *inventory.Reader, *simulator.Simulator) {
	t.Helper()
	sim, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	client, err := inventory.NewClient(defaults[inventory.Config](t, map[string]string{"INVENTORY_URL": server.URL,
		"INVENTORY_ATTEMPT_TIMEOUT": "5s", "INVENTORY_BUDGET": "6s", // calls are counted here: a slow machine must not make one of two
	}), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := inventory.NewReader(client, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close(); client.Close() })
	for _, p := range c {
		for _, v := range p.Variants {
			if _, err := sim.Set(v.ID, 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	sim.ResetStats()
	return fakesOf(c), reader, sim
}

const pageOfLevels = `{products(first:20){nodes{name variants{inventory{availableQuantity source}}}}}`

// A page of 20 products with 2 variants each costs one call of the Inventory Service, and none
// while its levels are fresh.
func TestAPageCostsOneUpstreamCall(t *testing.T) {
	f, reader, sim := newUpstream(t, newCatalogue(20))
	h, err := Handler(testConfig(t), Services{Reads: f, Levels: reader, Commands: f, Gate: everybody(t)}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 { // as many clients at once as one
		all.Go(func() {
			if got := post(t, h, pageOfLevels, ""); len(got.Errors) > 0 || strings.Count(got.body, `"availableQuantity":100`) != 40 {
				t.Error(got.body)
			}
		})
	}
	all.Wait()
	if calls := sim.Stats().Total(); calls != 1 {
		t.Errorf("%d calls for a cold page, want 1", calls)
	}
	sim.ResetStats()
	if got := post(t, h, pageOfLevels, ""); strings.Count(got.body, `"source":"CACHE"`) != 40 || sim.Stats().Total() != 0 {
		t.Errorf("%d calls for a warm page, want 0: %s", sim.Stats().Total(), got.body)
	}
}

// With the Inventory Service away, products are answered all the same, and no level is invented.
func TestTheInventoryServiceIsAway(t *testing.T) {
	f, reader, sim := newUpstream(t, newCatalogue(20))
	h, err := Handler(testConfig(t), Services{Reads: f, Levels: reader, Commands: f, Gate: everybody(t)}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.SetFault(simulator.Fault{Mode: simulator.Fail, Status: 500}); err != nil {
		t.Fatal(err)
	}
	got := post(t, h, pageOfLevels, "")
	if strings.Count(got.body, `"name":"Product`) != 20 || strings.Count(got.body, `"inventory":null`) != 40 || len(got.Errors) != 40 {
		t.Fatalf("want 20 products without levels, got %s", got.body)
	}
	paths := map[string]bool{}
	for _, e := range got.Errors {
		if e.Extensions["code"] != "INVENTORY_UNAVAILABLE" {
			t.Errorf("%v", e)
		}
		paths[fmt.Sprint(e.Path)] = true
	}
	if len(paths) != 40 {
		t.Errorf("%d paths, want 40", len(paths))
	}
}
