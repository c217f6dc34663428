package projection

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/projection/store"
	"product-service/projection/view"
)

// metrics are what a person on call sees of the projector.
type metrics struct {
	rows, batches, stale, writeErrors, failures prometheus.Counter
	parked, stopped                             prometheus.Gauge
	lagEvents, lagSeconds                       *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "product_service_projection_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Name: "product_service_projection_" + name, Help: help}
	}
	m := &metrics{
		rows:        counter("rows_total", "Rows of the log that were folded into documents, or needed no folding."),
		batches:     counter("batches_total", "Pages of rows that were written."),
		stale:       counter("stale_total", "Pages that were folded again because documents had changed under the projector."),
		writeErrors: counter("write_errors_total", "Write commands that MongoDB refused or didn't answer."),
		failures:    counter("failures_total", "Sweeps that failed and were tried again."),
		parked:      prometheus.NewGauge(gauge("parked_products", "Products that are set aside because a row can't be folded into their document.")),
		stopped:     prometheus.NewGauge(gauge("stopped_shards", "Shards that aren't projected because the log isn't the one their checkpoint was written for.")),
		lagEvents:   prometheus.NewGaugeVec(gauge("lag_events", "Rows of a shard that aren't projected yet."), []string{"shard"}),
		lagSeconds:  prometheus.NewGaugeVec(gauge("lag_seconds", "For how long a shard has had rows that aren't projected."), []string{"shard"}),
	}
	for _, c := range []prometheus.Collector{m.rows, m.batches, m.stale, m.writeErrors, m.failures, m.parked, m.stopped,
		m.lagEvents, m.lagSeconds} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// lag notes how far a shard is behind its last position.
func (m *metrics) lag(shard int16, last int64, at store.Checkpoint, now time.Time) {
	behind, seconds := max(0, last-at.Pos), 0.0
	if behind > 0 && at.At > 0 { // an idle shard was complete until a moment ago, however old its last row is
		seconds = now.Sub(view.TimeOf(max(at.At, at.Complete))).Seconds()
	}
	m.lagEvents.WithLabelValues(store.ShardKey(shard)).Set(float64(behind))
	m.lagSeconds.WithLabelValues(store.ShardKey(shard)).Set(seconds)
}
