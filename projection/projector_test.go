package projection

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/dev/stack"
	"product-service/product"
)

func TestMain(m *testing.M) { stack.Main(m) }

// open opens a store on a database of the test's own.
func open(t testing.TB) *Store {
	t.Helper()
	url, database := stack.Mongo(t)
	s, err := Open(t.Context(), configured(t, url, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// configured is the configuration of the defaults.
func configured(t testing.TB, url, database string) Config {
	t.Helper()
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: map[string]string{"MONGODB_URL": url, "MONGODB_DATABASE": database}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

func project(t rapid.TB, s *Store, log Log, l Leases) *Projector {
	t.Helper()
	p, err := NewProjector(s, log, l, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// drain sweeps until nothing is left.
func drain(ctx context.Context, p *Projector) error {
	for {
		rows, _, err := p.sweep(ctx)
		if err != nil || rows == 0 {
			return err
		}
	}
}

// begin empties the generation, so that one database serves many histories.
func begin(t rapid.TB, s *Store) {
	ctx := context.Background()
	g := s.collections("1")
	for _, c := range []string{g.products.Name(), g.movements.Name(), g.journal.Name(), g.days.Name(), checkpointName, parkedName} {
		if _, err := s.db.Collection(c).DeleteMany(ctx, bson.D{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.create(ctx, "1"); err != nil {
		t.Fatal(err)
	}
}

// expected is the model: the whole history in memory, by no code of the projector's but the folding itself.
func expected(l *memoryLog, id uuid.UUID) (d document, rows []movement) {
	e := newEntry(id)
	for _, r := range l.of(id) {
		event, err := product.Decode(r.Type, r.Data)
		if err != nil {
			panic(err)
		}
		if unshown[r.Type] {
			continue
		}
		m, ok, err := e.fold(item{Record: r, event: event})
		if err != nil {
			panic(err)
		}
		if ok {
			rows = append(rows, m)
		}
	}
	return e.doc, rows
}

func stored[D any](t rapid.TB, s *Store, collection string, filter bson.D) []D {
	cursor, err := s.db.Collection(collection).Find(context.Background(), filter)
	if err != nil {
		t.Fatal(err)
	}
	var docs []D
	if err := cursor.All(context.Background(), &docs); err != nil {
		t.Fatal(err)
	}
	return docs
}

// compare holds the documents of every product against the model.
func compare(t rapid.TB, s *Store, l *memoryLog) {
	m, err := s.loadMeta(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]document{}
	for _, d := range stored[document](t, s, "products_"+m.Generation, bson.D{}) {
		documents[d.ID] = d
	}
	rows := map[string][]movement{}
	for _, b := range stored[block](t, s, "movements_"+m.Generation, bson.D{}) {
		more, err := unpackAll(uuid.MustParse(b.Product), b.Rows)
		if err != nil {
			t.Fatal(err)
		}
		rows[b.Product] = append(rows[b.Product], more...)
	}
	for _, d := range documents {
		tail, err := unpackAll(uuid.MustParse(d.ID), d.Tail)
		if err != nil {
			t.Fatal(err)
		}
		rows[d.ID] = append(rows[d.ID], tail...)
	}
	compareJournal(t, s, m.Generation, rows)
	for id, state := range l.products {
		want, wantRows := expected(l, id)
		got := documents[id.String()]
		if state.Version == 0 {
			want = document{}
		}
		want.Rev = got.Rev
		if diff := cmp.Diff(normal(want), normal(got)); diff != "" {
			t.Fatalf("product %s (-want +got):\n%s", id, diff)
		}
		if state.Version != got.Version || (state.Version > 0 && (state.StockTotal != got.Total || state.Reserved != got.Reserved)) {
			t.Fatalf("product %s: the aggregate is %+v, the document %+v", id, state, got)
		}
		gotRows := rows[id.String()]
		slices.SortFunc(gotRows, func(a, b movement) int { return int(a.Pos - b.Pos) })
		if diff := cmp.Diff(wantRows, gotRows); diff != "" {
			t.Fatalf("movements of %s (-want +got):\n%s", id, diff)
		}
		checkDays(t, s, m.Generation, id, gotRows)
	}
}

// compareJournal holds the journal against the movements of each product: it has each that people see, once.
func compareJournal(t rapid.TB, s *Store, generation string, of map[string][]movement) {
	var want, got []movement
	for _, rows := range of {
		for _, m := range rows {
			if m.Type.visible() {
				want = append(want, m)
			}
		}
	}
	for _, s := range stored[segment](t, s, "journal_"+generation, bson.D{}) {
		rows, err := unpackSegment(s.Rows)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[MovementType]int64{}
		for _, m := range rows {
			counts[m.Type]++
		}
		last := rows[len(rows)-1]
		if s.Last != last.Pos || s.Order != last.order() || !maps.Equal(counts, s.Counts) || last.At-rows[0].At > segmentSpan.Microseconds() {
			t.Fatalf("segment %s is described as %+v, and has %+v", s.ID, s, rows)
		}
		got = append(got, rows...)
	}
	for _, rows := range [][]movement{want, got} {
		slices.SortFunc(rows, func(a, b movement) int { return strings.Compare(a.order(), b.order()) })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("journal (-want +got):\n%s", diff)
	}
}

func normal(d document) document {
	if len(d.Tail) == 0 {
		d.Tail = nil
	}
	if len(d.Words) == 0 {
		d.Words = nil
	}
	if len(d.Variants) == 0 {
		d.Variants = nil
	}
	return d
}

// checkDays holds the hours against the movements: they chain, and sum up what moved.
func checkDays(t rapid.TB, s *Store, generation string, id uuid.UUID, rows []movement) {
	sums := map[int64]hour{}
	for _, m := range rows {
		if m.Type.visible() {
			sums[m.At/microsPerHour] = sums[m.At/microsPerHour].add(&m)
		}
	}
	got := map[int64]hour{}
	for _, d := range stored[day](t, s, "days_"+generation, bson.D{{Key: "product", Value: id.String()}}) {
		for _, h := range d.Hours {
			got[h.Number] = h
		}
	}
	for _, d := range stored[document](t, s, "products_"+generation, bson.D{{Key: "_id", Value: id.String()}}) {
		if d.Hour.Movements > 0 {
			got[d.Hour.Number] = d.Hour
		}
	}
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Fatalf("hours of %s (-want +got):\n%s", id, diff)
	}
	var hours []int64
	for n := range got {
		hours = append(hours, n)
	}
	slices.Sort(hours)
	level := int64(0)
	for _, n := range hours {
		if got[n].Opening != level {
			t.Fatalf("hour %d of %s opens with %d, the one before closed with %d", n, id, got[n].Opening, level)
		}
		level = got[n].Closing
	}
}

// Ensure that the documents are the fold of the log, however it was cut into pages, and whatever was interrupted.
func TestDocumentsAreTheFoldOfTheLog(t *testing.T) {
	s := open(t)
	rapid.Check(t, func(t *rapid.T) {
		begin(t, s)
		l := newMemoryLog()
		own := &leases{epoch: 1}
		p := project(t, s, l, own)
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			history(t, l, rapid.IntRange(1, 3).Draw(t, "products"), rapid.IntRange(1, 60).Draw(t, "commands"))
			s.config.MinPage = rapid.IntRange(1, 30).Draw(t, "page")
			s.config.MaxPage = s.config.MinPage
			switch rapid.IntRange(0, 3).Draw(t, "interruption") {
			case 0: // the process ends before the checkpoint is written: another begins where it stood
				if _, err := pageWithoutCheckpoint(t, p); err != nil {
					t.Fatal(err)
				}
				p, own.epoch = project(t, s, l, own), own.epoch+1
			case 1: // two of them at once, each with a cache of its own
				twin := project(t, s, l, own)
				for range 3 {
					if _, _, err := twin.sweep(context.Background()); err != nil {
						t.Fatal(err)
					}
					if _, _, err := p.sweep(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := drain(context.Background(), p); err != nil {
				t.Fatal(err)
			}
		}
		compare(t, s, l)
	})
}

// pageWithoutCheckpoint folds and writes a page, and forgets to say so.
func pageWithoutCheckpoint(t *rapid.T, p *Projector) (int, error) {
	ctx := context.Background()
	if p.live == nil {
		g, err := p.store.generation(ctx)
		if err != nil {
			return 0, err
		}
		p.live = newFollower(p.store, g, p.log, p.logger, p.metrics)
	}
	f := p.live
	if err := f.adopt(ctx, p.leases.Held(Role)); err != nil {
		return 0, err
	}
	records, err := f.log.Tail(ctx, f.cursors(), f.limit)
	if err != nil {
		return 0, err
	}
	return len(records), f.apply(ctx, records)
}
