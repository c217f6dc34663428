package command

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// WriterMetrics counts what the [Writer] decides.
type WriterMetrics struct {
	commands  *prometheus.CounterVec // by result
	refused   *prometheus.CounterVec // by reason
	batches   prometheus.Histogram
	seconds   prometheus.Histogram
	retries   prometheus.Counter
	conflicts prometheus.Counter
}

// NewWriterMetrics registers the metrics.
func NewWriterMetrics(r prometheus.Registerer) *WriterMetrics {
	f := promauto.With(r)
	return &WriterMetrics{
		commands: f.NewCounterVec(prometheus.CounterOpts{Name: "product_service_commands_decided_total",
			Help: "Commands decided, by what came of them: event (the stream grew), fact (it did not), repeated (the id was known), refused, nothing."}, []string{"result"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{Name: "product_service_reservations_refused_total",
			Help: "Reservations refused, by reason."}, []string{"reason"}),
		batches: f.NewHistogram(prometheus.HistogramOpts{Name: "product_service_writer_batch_commands",
			Help: "Commands in a transaction.", Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{Name: "product_service_writer_batch_seconds",
			Help: "Time from a gathered batch to its commit, retries included.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		retries: f.NewCounter(prometheus.CounterOpts{Name: "product_service_writer_retries_total",
			Help: "Attempts at a transaction after the first."}),
		conflicts: f.NewCounter(prometheus.CounterOpts{Name: "product_service_writer_conflicts_total",
			Help: "Transactions that lost a race and were decided anew."}),
	}
}

func (m *WriterMetrics) took(commands int, d time.Duration) {
	m.batches.Observe(float64(commands))
	m.seconds.Observe(d.Seconds())
}

func (m *WriterMetrics) count(d *decider) {
	for result, n := range d.results {
		m.commands.WithLabelValues(result).Add(float64(n))
	}
	for reason, n := range d.refused {
		m.refused.WithLabelValues(string(reason)).Add(float64(n))
	}
}
