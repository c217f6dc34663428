package inventory

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const namespace, subsystem = "product_service", "inventory"

func counter(f promauto.Factory, name, help string, labels ...string) *prometheus.CounterVec {
	return f.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
}

func gauge(f promauto.Factory, name, help string, labels prometheus.Labels, value func() float64) {
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, ConstLabels: labels,
	}, value)
}

type clientMetrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	retries prometheus.Counter
}

func newClientMetrics(reg prometheus.Registerer, c *Client) *clientMetrics {
	f := promauto.With(reg)
	for operation, b := range map[string]*breaker{"read": c.reads, "create": c.writes} {
		gauge(f, "breaker_state", "0 closed, 1 half-open, 2 open.", prometheus.Labels{"breaker": operation},
			func() float64 { return float64(b.state.Load()) })
	}
	return &clientMetrics{
		calls: counter(f, "calls_total", "Attempts upstream by outcome; refused ones were stopped by the breaker.", "operation", "outcome"),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "call_seconds", Help: "Duration of attempts upstream.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"operation"}),
		retries: counter(f, "retries_total", "Attempts that repeated an earlier one.").WithLabelValues(),
	}
}

// readOutcome indexes what became of one variant in one read.
type readOutcome int

const (
	outHit readOutcome = iota
	outRefreshing
	outLive
	outStale
	outAbsent
	outUnavailable
	outcomes
)

var outcomeNames = [outcomes]string{"hit", "refreshed", "live", "stale", "absent", "unavailable"}

// tally counts the outcomes of one read before they are added to the metrics at once.
type tally [outcomes]int

type readerMetrics struct {
	reads   [outcomes]prometheus.Counter
	events  *prometheus.CounterVec
	lost    *prometheus.CounterVec
	saves   *prometheus.CounterVec
	stale   prometheus.Histogram
	probes  prometheus.Counter
	missing prometheus.Counter
	splits  prometheus.Counter
	rests   prometheus.Counter
}

func newReaderMetrics(reg prometheus.Registerer, r *Reader) *readerMetrics {
	f := promauto.With(reg)
	m := &readerMetrics{
		events: counter(f, "events_total", "Inventory events by what they did to the level.", "outcome"),
		lost:   counter(f, "failed_total", "Variants the service gave no answer for, by reason.", "reason"),
		saves:  counter(f, "last_known_total", "Durable levels written and read, by outcome.", "operation", "outcome"),
		stale: f.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "stale_age_seconds", Help: "Age of levels served because the service could not be asked.",
			Buckets: []float64{5, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}),
		probes:  counter(f, "probes_total", "Calls made to find out whether the service answers: probes of the open breaker, and control calls before it opens.").WithLabelValues(),
		splits:  counter(f, "lists_split_total", "Lists that failed as a whole and were asked for again in halves.").WithLabelValues(),
		rests:   counter(f, "variants_rested_total", "Times that a variant was left to rest because the service failed for it alone.").WithLabelValues(),
		missing: counter(f, "last_known_missing_total", "Reads that needed a last known level and found none.").WithLabelValues(),
	}
	reads := counter(f, "reads_total", "Variants read, by where the answer came from.", "outcome")
	for i, name := range outcomeNames {
		m.reads[i] = reads.WithLabelValues(name)
	}
	gauge(f, "levels", "Variants held in memory.", nil, func() float64 { return float64(r.store.len()) })
	gauge(f, "calls_in_flight", "Loads under way.", nil, func() float64 { return float64(r.running.Load()) })
	return m
}

func (m *readerMetrics) add(t tally) {
	for i, n := range t {
		if n > 0 {
			m.reads[i].Add(float64(n))
		}
	}
}

func (m *readerMetrics) staleAge(age time.Duration) { m.stale.Observe(age.Seconds()) }
