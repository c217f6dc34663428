package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"product-service/command"
	"product-service/eventstore"
	"product-service/projection/audit"
	"product-service/projection/store"
)

// auditor audits again and again, at a low pace, so that operators learn of a difference before
// clients do. It heals nothing and doesn't ask the Inventory Service; the command `product-service
// audit` can do both.
type auditor struct {
	events    *eventstore.Store
	documents *store.Store
	leases    command.LeaseHolder
	rate      int
	log       *slog.Logger

	products prometheus.Counter
	differ   *prometheus.GaugeVec // these two have a value only in the instance that audits
	ended    *prometheus.GaugeVec
}

// auditorRole is the lease that one instance audits under. It only saves work.
const auditorRole = "auditor"

const auditEvery = 10 * time.Minute

func newAuditor(events *eventstore.Store, documents *store.Store, leases command.LeaseHolder, rate int, r prometheus.Registerer,
	log *slog.Logger) *auditor {
	f := promauto.With(r)
	return &auditor{events: events, documents: documents, leases: leases, rate: rate, log: log,
		products: f.NewCounter(prometheus.CounterOpts{
			Name: "product_service_audit_products_total", Help: "Products that were compared with the log."}),
		differ: f.NewGaugeVec(prometheus.GaugeOpts{Name: "product_service_audit_differences",
			Help: "Differences the last whole audit found; anything but 0 needs a person: product-service audit lists them."}, nil),
		ended: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "product_service_audit_ended_timestamp_seconds", Help: "When the last whole audit ended."}, nil),
	}
}

// run audits until the context ends.
func (a *auditor) run(ctx context.Context) error {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		changed, due := a.leases.Changed(), false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			due = true
		case <-changed:
		}
		if len(a.leases.Held(auditorRole)) == 0 {
			a.forget()
			continue
		}
		if due {
			a.audit(ctx)
		}
	}
}

// forget removes the figures of this instance, because another instance audits now.
func (a *auditor) forget() {
	a.differ.Reset()
	a.ended.Reset()
}

func (a *auditor) audit(ctx context.Context) {
	result, err := audit.Run(ctx, a.documents, a.events, a.events, a.log, audit.Options{PerSecond: a.rate}, func(d audit.Difference) {
		a.log.ErrorContext(ctx, "an audit found a difference", "product_id", d.Product, "where", d.Where, "what", d.What)
	})
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "an audit could not be finished; the next begins anew", "error", err)
		}
		return
	}
	a.found(result.Products, result.Differences)
}

// found tells the result of an audit, unless the lease was lost meanwhile.
func (a *auditor) found(products, differences int64) {
	a.products.Add(float64(products))
	if len(a.leases.Held(auditorRole)) > 0 {
		a.differ.WithLabelValues().Set(float64(differences))
		a.ended.WithLabelValues().SetToCurrentTime()
	}
}
