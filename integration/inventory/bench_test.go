package inventory

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/simulator"
)

func benchReader(b *testing.B, change func(*Config)) (*Reader, *simulator.Simulator, []uuid.UUID) {
	b.Helper()
	sim, err := simulator.New(simulator.Options{})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(sim)
	b.Cleanup(server.Close)
	cfg := defaults(b, server.URL)
	change(&cfg)
	client, err := NewClient(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	reader, err := NewReader(client, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { reader.Close(); client.Close() })
	ids := make([]uuid.UUID, 40)
	for i := range ids {
		ids[i] = uuid.New()
		if _, err := sim.Set(ids[i], 100); err != nil {
			b.Fatal(err)
		}
	}
	return reader, sim, ids
}

// BenchmarkWarmRead40 reads 40 fresh levels from memory.
func BenchmarkWarmRead40(b *testing.B) {
	reader, _, ids := benchReader(b, func(c *Config) { c.Fresh, c.Revalidate = time.Hour, time.Hour })
	reader.Levels(context.Background(), ids, 0)
	b.ReportAllocs()
	for b.Loop() {
		reader.Levels(context.Background(), ids, 0)
	}
}

// BenchmarkWarmRead40Parallel is the same from all processors.
func BenchmarkWarmRead40Parallel(b *testing.B) {
	reader, _, ids := benchReader(b, func(c *Config) { c.Fresh, c.Revalidate = time.Hour, time.Hour })
	reader.Levels(context.Background(), ids, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			reader.Levels(context.Background(), ids, 0)
		}
	})
}

// BenchmarkOutageRead40 reads 40 stale levels while the breaker is open.
func BenchmarkOutageRead40(b *testing.B) {
	clock := newClock()
	reader, sim, ids := benchReader(b, func(c *Config) { c.Now, c.BreakerOpen = clock.Now, time.Hour })
	reader.Levels(context.Background(), ids, 0)
	if err := sim.SetFault(simulator.Fault{Mode: simulator.Fail}); err != nil {
		b.Fatal(err)
	}
	for reader.client.reads.closed() {
		clock.Advance(time.Minute)
		reader.Levels(context.Background(), ids, 0)
	}
	clock.Advance(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		reader.Levels(context.Background(), ids, 0)
	}
}

// BenchmarkColdRead40 asks the service over loopback each time.
func BenchmarkColdRead40(b *testing.B) {
	clock := newClock()
	reader, _, ids := benchReader(b, func(c *Config) { c.Now = clock.Now })
	b.ReportAllocs()
	for b.Loop() {
		clock.Advance(time.Minute)
		reader.Levels(context.Background(), ids, 0)
	}
}
