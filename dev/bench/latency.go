package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	pacedRate     = 2_000 // commands/s
	pacedProducts = 1_000
)

// measureLatency sends at a constant rate and takes the time from when each command was due to when
// its outcome was consumed.
func measureLatency(ctx context.Context, b *bench) (err error) {
	name := "latency at 2,000 commands/s"
	b.out.step("%s", name)
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	products, err := w.products(ctx, pacedProducts)
	if err != nil {
		return err
	}
	if err := w.start(ctx, true); err != nil {
		return err
	}
	c, err := newClient(ctx, w)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.pace(ctx, "warm up", c.requests(products, pacedRate*2), pacedRate, func(int, time.Time, *kgo.Record) {}); err != nil {
		return err
	}
	h, stages := newHistogram(), newStages()
	records := c.requests(products, int(b.paced.Seconds()*pacedRate))
	profiled := w.child.profile(ctx, b, name, int(b.paced.Seconds())-1)
	began, before := time.Now(), w.cpuNow()
	err = c.pace(ctx, name, records, pacedRate, func(_ int, due time.Time, r *kgo.Record) {
		now := time.Now()
		h.record(now.Sub(due))
		stages.record(due, r, now)
	})
	if err != nil {
		return err
	}
	used, took := w.cpuNow().since(before), time.Since(began)
	r := b.report
	r.add(name+", p50", h.ms(50), "ms", atMost(10), "from when it was due to its outcome consumed, projector running, 1,000 products")
	r.add(name+", p95", h.ms(95), "ms", target{}, "")
	r.add(name+", p99", h.ms(99), "ms", atMost(25), "highest %s ms; load %s", round(h.ms(100)), loadAverage())
	r.add("server CPU at 2,000 commands/s", used.server.Seconds()/took.Seconds(), "cores", atMost(0.5), "%s", used.each(len(records)))
	for i, name := range stageNames {
		r.add("  "+name, stages[i].ms(50), "ms", target{}, "p99 %s ms", round(stages[i].ms(99)))
	}
	b.out.say("  %s: p50 %s, p99 %s ms (load %s)", name, round(h.ms(50)), round(h.ms(99)), loadAverage())
	return errors.Join(profiled(), w.check(ctx, c.sent))
}

// stageNames are the parts of a command's way, by the stamps that its outcome carries.
var stageNames = [...]string{"produced, consumed and locked", "decided, committed, read by the relay", "sent and consumed"}

type stages [len(stageNames)]histogram

func newStages() (s stages) {
	for i := range s {
		s[i] = newHistogram()
	}
	return s
}

// record divides the time at the event's own, which the database stamps when it has locked the
// shard, and at the record's, which the relay stamps when it sends.
func (s stages) record(due time.Time, r *kgo.Record, now time.Time) {
	var outcome struct {
		OccurredAt time.Time `json:"occurredAt"`
	}
	if json.Unmarshal(r.Value, &outcome) != nil {
		return
	}
	s[0].record(outcome.OccurredAt.Sub(due))
	s[1].record(r.Timestamp.Sub(outcome.OccurredAt))
	s[2].record(now.Sub(r.Timestamp))
}

// histogram keeps times from a microsecond to a minute, to three digits.
type histogram struct{ *hdrhistogram.Histogram }

func newHistogram() histogram { return histogram{hdrhistogram.New(1, time.Minute.Microseconds(), 3)} }

func (h histogram) record(d time.Duration) {
	_ = h.RecordValue(min(max(1, d.Microseconds()), time.Minute.Microseconds())) // in range, so without error
}

func (h histogram) ms(percentile float64) float64 {
	return float64(h.ValueAtPercentile(percentile)) / 1000
}
