package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"product-service/eventstore"
	"product-service/projection"
)

// auditor audits all the time, at a pace that nobody feels, so that a difference is known before somebody stumbles over it. It heals
// nothing and doesn't ask the Inventory Service: that is for `product-service audit`.
type auditor struct {
	store     *eventstore.Store
	documents *projection.Store
	leases    *eventstore.Leases
	rate      int
	log       *slog.Logger

	products prometheus.Counter
	differ   prometheus.Gauge
	ended    prometheus.Gauge
}

// auditorRole is the lease that one instance audits under. It only saves work.
const auditorRole = "auditor"

const auditEvery = 10 * time.Minute

func newAuditor(store *eventstore.Store, documents *projection.Store, leases *eventstore.Leases, rate int, r prometheus.Registerer, log *slog.Logger) *auditor {
	f := promauto.With(r)
	return &auditor{store: store, documents: documents, leases: leases, rate: rate, log: log,
		products: f.NewCounter(prometheus.CounterOpts{Name: "product_service_audit_products_total", Help: "Products whose books were compared with the log."}),
		differ: f.NewGauge(prometheus.GaugeOpts{Name: "product_service_audit_differences",
			Help: "Differences the last whole audit found; anything but 0 needs a person: product-service audit lists them."}),
		ended: f.NewGauge(prometheus.GaugeOpts{Name: "product_service_audit_ended_timestamp_seconds", Help: "When the last whole audit ended."}),
	}
}

// run audits until the context ends.
func (a *auditor) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(auditEvery):
		}
		if len(a.leases.Held(auditorRole)) == 0 {
			continue
		}
		result, err := projection.Audit(ctx, a.documents, a.store, a.store, a.log, projection.AuditOptions{PerSecond: a.rate}, func(d projection.Difference) {
			a.log.ErrorContext(ctx, "an audit found a difference", "product_id", d.Product, "where", d.Where, "what", d.What)
		})
		if err != nil {
			if ctx.Err() == nil {
				a.log.WarnContext(ctx, "an audit could not be finished; the next begins anew", "error", err)
			}
			continue
		}
		a.products.Add(float64(result.Products))
		a.differ.Set(float64(result.Differences))
		a.ended.SetToCurrentTime()
	}
}
