package projection

import (
	"testing"

	"product-service/projection/projectiontest"
)

// Ensure that no row is skipped for having been read ahead: where the page before it wasn't
// written, or shards have gone and come meanwhile.
func TestReadingAhead(t *testing.T) {
	s := projectiontest.Open(t)
	s.Config.MinPage, s.Config.MaxPage = 5, 5
	l, own := projectiontest.Stocked(t, 12), &projectiontest.Leases{Epoch: 1}
	p := project(t, s, l, own)
	sweep := func() {
		if _, full, err := p.Poll(t.Context()); err != nil || !full || p.live.ahead == nil {
			t.Fatalf("full %v, reading ahead %v, %v", full, p.live.ahead != nil, err)
		}
	}
	sweep()
	if r := p.live.read(t.Context()); r.err != nil || p.live.ahead == nil { // and it is lost
		t.Fatal(r.err)
	}
	sweep()
	for n := range 12 {
		own.Of = append(own.Of, l.Of(projectiontest.ID(0xaa, n))[0].Shard)
	}
	own.Of = own.Of[:6]
	sweep()
	own.Of, own.Epoch = nil, 2
	if err := projectiontest.Drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	projectiontest.Compare(t, s, l)
}
