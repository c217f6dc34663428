package graph

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/graph/auth"
)

// metrics are the figures of the API. No label has a value that a client chose: the ids of
// documents are the operator's.
type metrics struct {
	operations *prometheus.HistogramVec
	refusals   *prometheus.CounterVec
	documents  *prometheus.CounterVec

	connections prometheus.Gauge
	turnedAway  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		operations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "product_service_graphql_operation_duration_seconds",
			Help:    "How long GraphQL operations took, by type (query, mutation, subscription: until it had begun, none: never executed) and outcome.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"type", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "product_service_graphql_refusals_total",
			Help: "Requests that were refused before anything was executed, by error code.",
		}, []string{"code"}),
		documents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "product_service_graphql_documents_total",
			Help: "Requests with a valid document, by its id among the trusted ones; \"other\" is all that aren't trusted.",
		}, []string{"document"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "product_service_graphql_connections", Help: "WebSockets and event streams that are open.",
		}),
		turnedAway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "product_service_graphql_connections_refused_total",
			Help: "WebSockets and event streams that were refused because there were as many as there can be: of all, or of one address.",
		}, []string{"limit"}),
	}
	reg.MustRegister(m.operations, m.refusals, m.documents, m.connections, m.turnedAway)
	return m
}

func (m *metrics) operation(operation string, k kind, took time.Duration) {
	m.operations.WithLabelValues(operation, string(k)).Observe(took.Seconds())
}

func (m *metrics) refused(err error) {
	code := InternalServerError
	if known, ok := errors.AsType[*fault](err); ok {
		code = known.code
	} else if _, ok := errors.AsType[*tooMuch](err); ok {
		code = RateLimited
	} else if refused, ok := errors.AsType[*auth.Refusal](err); ok {
		code = refusalCode(refused)
	}
	m.refusals.WithLabelValues(string(code)).Inc()
}

func (m *metrics) document(id string) { m.documents.WithLabelValues(id).Inc() }

// forget drops the figures of documents that aren't trusted any more.
func (m *metrics) forget(before, now *trusted) {
	for id := range before.texts {
		if _, stays := now.texts[id]; !stays {
			m.documents.DeleteLabelValues(id)
		}
	}
}
