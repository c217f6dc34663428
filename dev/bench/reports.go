package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/store"
	"product-service/projection/view"
)

// reportedDays is how many days the reports are about: a month, which begins and ends within one.
const reportedDays = 30

// measureReports makes the read model of many products twice, with few movements and with ten times
// as many, and asks for reports and exports.
func measureReports(ctx context.Context, b *bench) error {
	products, most := 10_000, b.flood
	if b.quick {
		products, most = 200, 4_000
	}
	var took [2]float64
	for i, movements := range []int{most / 10, most} {
		p50, err := b.reportsOf(ctx, products, movements, i == 1)
		if err != nil {
			return err
		}
		took[i] = p50
	}
	b.report.add("report of a month, ten times the movements over few", took[1]/took[0], "x", atMost(1.5), "%.0f over %.0f ms", took[1], took[0])
	return nil
}

func (b *bench) reportsOf(ctx context.Context, products, movements int, exports bool) (p50 float64, err error) {
	b.out.step("reports: %s movements of %s products", round(float64(movements)), round(float64(products)))
	w, err := b.newWorld(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	began := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -reportedDays)
	if err := w.projected30(ctx, began, products, movements); err != nil {
		return 0, err
	}
	if err := w.start(ctx, false); err != nil {
		return 0, err
	}
	of := fmt.Sprintf("%s movements of %s products", round(float64(movements)), round(float64(products)))
	for _, field := range []string{"REFUSED", "OUT_OF_STOCK_TIME", "MOVEMENTS"} {
		h := newHistogram()
		query := fmt.Sprintf(`{ stockReport(from: "%s", to: "%s", orderBy: {field: %s, direction: DESC}) { nodes { productId opening closing minAvailable maxAvailable
			reservedQuantity releasedQuantity expiredQuantity adjustedQuantity refusedQuantity refusals outOfStockSeconds movements } pageInfo { hasNextPage endCursor } } }`,
			began.Format(time.RFC3339), began.AddDate(0, 0, reportedDays).Format(time.RFC3339), field)
		for i := range 13 { // the first three warm up
			at := time.Now()
			if _, err := w.graphql(ctx, query); err != nil {
				return 0, err
			}
			if i >= 3 {
				h.record(time.Since(at))
			}
		}
		b.report.add("report of a month by "+field+", p50", h.ms(50), "ms", atMost(300), "a page of 20; %s; p99 %.0f ms; load %s", of, h.ms(99), loadAverage())
		p50 = max(p50, h.ms(50))
	}
	if !exports {
		return p50, nil
	}
	for _, e := range []struct {
		kind, format string
		atLeast      float64
	}{
		{"stock-days", "csv", 100_000}, {"stock-days", "parquet", 100_000},
		{"stock-movements", "csv", 200_000}, {"stock-movements", "parquet", 200_000},
	} {
		rows := movements + products // with the initial ones
		if e.kind == "stock-days" {
			rows = products * (reportedDays + 1) // and today
		}
		if err := w.exported(ctx, e.kind, e.format, rows, e.atLeast); err != nil {
			return 0, err
		}
	}
	return p50, nil
}

// exported takes an export of everything away.
func (w *world) exported(ctx context.Context, kind, format string, rows int, least float64) error {
	profiled := w.child.profile(ctx, w.b, kind+" "+format, 2)
	before, highest := rssNow(w.child.process.PID()), int64(0)
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.child.http+"/export/"+kind+"?format="+format, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := lineCounter{each: func() { highest = max(highest, rssNow(w.child.process.PID())) }}
	size, err := io.Copy(&lines, resp.Body)
	took := time.Since(began)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("export answered %s: %w", resp.Status, err)
	}
	if format == "csv" && lines.lines-1 != rows {
		return fmt.Errorf("the export of %s has %d rows, not %d", kind, lines.lines-1, rows)
	}
	w.b.report.add("export of "+kind+" as "+format, rateOf(rows, took), "rows/s", atLeast(least), "%s rows, %d MiB in %s; memory grows by %.0f MiB; load %s",
		round(float64(rows)), size>>20, took.Round(time.Millisecond), float64(max(0, highest-before))/(1<<20), loadAverage())
	return profiled()
}

// projected30 makes the read model of products that move through all the days: by the projector's
// own folding, but without a log, which would take most of the time.
func (w *world) projected30(ctx context.Context, began time.Time, products, movements int) error {
	s, err := store.Open(ctx, store.Config{URL: w.b.servers.mongo, Database: w.name, ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolSize: 8})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close(ctx) }()
	m := &model{store: s, into: s.Collections("1"), journal: map[int16]*view.Segments{}}
	each := movements / products
	for p := range products {
		m.add(uuid.New(), began, product.Created{Name: fmt.Sprint("Product ", p), InitialStock: 20, LowStockThreshold: 10})
	}
	for i := range each {
		at := began.Add(time.Duration(i)*reportedDays*24*time.Hour/time.Duration(each) + time.Hour)
		for p, e := range m.entries {
			if err := m.move(e, i, at.Add(time.Duration(p)*50*time.Microsecond)); err != nil {
				return err
			}
		}
		if err := m.flush(ctx); err != nil {
			return err
		}
		w.b.out.progress("make the read model", i+1, each)
	}
	return m.finish(ctx)
}

// model is a read model that is being made.
type model struct {
	store   *store.Store
	into    store.Generation
	entries []*view.Entry
	ids     []uuid.UUID
	held    []uuid.UUID
	pos     [eventstore.Shards]int64
	journal map[int16]*view.Segments
	days    [][]view.Day // that have ended
}

func (m *model) add(id uuid.UUID, at time.Time, e product.Event) {
	m.entries, m.ids, m.held = append(m.entries, view.NewEntry(id)), append(m.ids, id), append(m.held, uuid.Nil)
	m.days = append(m.days, nil)
	_ = m.fold(len(m.entries)-1, at, e) // a product's first event fills no block
}

// move makes the product's next movement: it reserves and releases in turns, now and then all there
// is, and then refuses somebody.
func (m *model) move(e *view.Entry, i int, at time.Time) error {
	p := e.Cost // its number: nobody weighs these entries
	available, reserved, quantity := e.Doc.Available, e.Doc.Reserved, int64(1+(p+i)%5)
	if i%2 == 1 {
		return m.fold(p, at, product.Released{ReservationID: m.held[p], SagaID: "bench", Quantity: reserved, StockTotal: e.Doc.Total})
	}
	if (p+i)%7 == 0 {
		quantity = available
	}
	m.held[p] = uuid.New()
	if err := m.fold(p, at, product.Reserved{ReservationID: m.held[p], SagaID: "bench", Quantity: quantity, StockTotal: e.Doc.Total, Reserved: quantity}); err != nil {
		return err
	}
	if quantity < available {
		return nil
	}
	return m.fold(p, at, product.ReservationFailed{ReservationID: uuid.New(), Quantity: 3, Reason: product.InsufficientStock})
}

func (m *model) fold(p int, at time.Time, e product.Event) error {
	entry, id := m.entries[p], m.ids[p]
	entry.Cost = p
	shard := eventstore.ShardOf(id)
	m.pos[shard]++
	r := eventstore.Record{Shard: shard, Pos: m.pos[shard], At: at, Row: eventstore.Row{ProductID: id, Type: product.TypeOf(e), CommandID: uuid.New()}}
	if e.Versioned() {
		r.Version = entry.Doc.Version + 1
	}
	movement, ok, err := entry.Fold(r, e)
	if ok && movement.Type.Visible() {
		if m.journal[shard] == nil {
			m.journal[shard] = &view.Segments{}
		}
		m.journal[shard].Add(&movement)
	}
	return err
}

// flush writes what is complete.
func (m *model) flush(ctx context.Context) error {
	var days []view.Day
	var blocks []view.Block
	for _, e := range m.entries {
		ended := 0
		for ended < len(e.Days) && e.Days[ended].Sums != nil {
			ended++
		}
		for _, d := range e.Days[:ended] {
			d.Hours = nil // months are of the sums alone
			m.days[e.Cost] = append(m.days[e.Cost], d)
		}
		days, e.Days = append(days, e.Days[:ended]...), e.Days[ended:]
		blocks, e.Blocks = append(blocks, e.Blocks...), nil
	}
	var segments view.Segments
	for shard, s := range m.journal {
		segments = append(segments, *s...)
		delete(m.journal, shard)
	}
	return errors.Join(store.Insert(ctx, m.store, m.into.Days, days, false), store.Insert(ctx, m.store, m.into.Movements, blocks, false),
		store.Insert(ctx, m.store, m.into.Journal, segments, false))
}

// finish writes the products, and says that everything up to now is projected.
func (m *model) finish(ctx context.Context) error {
	documents := make([]*view.Document, len(m.entries))
	var months []view.Month
	for i, e := range m.entries {
		documents[i], months = &e.Doc, append(months, view.MonthsOf(m.days[i])...)
	}
	shards, err := m.store.LoadCheckpoints(ctx, m.into.Name)
	if err != nil {
		return err
	}
	for n, c := range shards {
		c.Pos, c.First, c.Complete = m.pos[n], m.entries[0].Doc.CreatedAt, time.Now().UnixMicro()
		shards[n] = c
	}
	return errors.Join(store.Insert(ctx, m.store, m.into.Products, documents, false), store.Insert(ctx, m.store, m.into.Months, months, false),
		m.store.SaveCheckpoints(ctx, m.into.Name, shards))
}
