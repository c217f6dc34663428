package projection

import "testing"

// Ensure that no row is skipped for having been read ahead: where the page before it wasn't written, or shards have gone and come meanwhile.
func TestReadingAhead(t *testing.T) {
	s := open(t)
	s.config.MinPage, s.config.MaxPage = 5, 5
	l, own := stocked(t, 12), &leases{epoch: 1}
	p := project(t, s, l, own)
	sweep := func() {
		if _, full, err := p.sweep(t.Context()); err != nil || !full || p.live.ahead == nil {
			t.Fatalf("full %v, reading ahead %v, %v", full, p.live.ahead != nil, err)
		}
	}
	sweep()
	if r := p.live.read(t.Context()); r.err != nil || p.live.ahead == nil { // and it is lost
		t.Fatal(r.err)
	}
	sweep()
	for n := range 12 {
		own.of = append(own.of, l.of(testID(0xaa, n))[0].Shard)
	}
	own.of = own.of[:6]
	sweep()
	own.of, own.epoch = nil, 2
	if err := drain(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	compare(t, s, l)
}
