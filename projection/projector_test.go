package projection

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"product-service/dev/stack"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

func TestMain(m *testing.M) { stack.Main(m) }

func project(t rapid.TB, s *store.Store, log Log, l Leases) *Projector {
	t.Helper()
	p, err := NewProjector(s, log, l, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Ensure that the documents are the fold of the log, however it was cut into pages, and whatever
// was interrupted.
func TestDocumentsAreTheFoldOfTheLog(t *testing.T) {
	s := projectiontest.Open(t)
	rapid.Check(t, func(t *rapid.T) {
		projectiontest.Begin(t, s)
		l := projectiontest.NewLog()
		own := &projectiontest.Leases{Epoch: 1}
		p := project(t, s, l, own)
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			projectiontest.History(t, l, rapid.IntRange(1, 3).Draw(t, "products"), rapid.IntRange(1, 60).Draw(t, "commands"))
			s.Config.MinPage = rapid.IntRange(1, 30).Draw(t, "page")
			s.Config.MaxPage = s.Config.MinPage
			switch rapid.IntRange(0, 3).Draw(t, "interruption") {
			case 0: // the process ends before the checkpoint is written: another begins where it stood
				if _, err := pageWithoutCheckpoint(t, p); err != nil {
					t.Fatal(err)
				}
				p, own.Epoch = project(t, s, l, own), own.Epoch+1
			case 1: // two of them at once, each with a cache of its own
				twin := project(t, s, l, own)
				for range 3 {
					if _, _, err := twin.Poll(context.Background()); err != nil {
						t.Fatal(err)
					}
					if _, _, err := p.Poll(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := projectiontest.Drain(context.Background(), p); err != nil {
				t.Fatal(err)
			}
		}
		projectiontest.Compare(t, s, l)
	})
}

// pageWithoutCheckpoint folds and writes a page, and forgets to say so.
func pageWithoutCheckpoint(t *rapid.T, p *Projector) (int, error) {
	ctx := context.Background()
	if p.live == nil {
		g, err := p.store.Generation(ctx)
		if err != nil {
			return 0, err
		}
		p.live = newSubscription(p.store, g, p.log, p.logger, p.metrics)
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

// The projector rests after a page that cost much, but not while somebody follows changes.
func TestTheProjectorRestsWhileNobodyFollows(t *testing.T) {
	s := projectiontest.Open(t)
	p := project(t, s, projectiontest.Stocked(t, 1), &projectiontest.Leases{Epoch: 1})
	shortest := func() time.Duration {
		least := time.Hour
		for range 5 { // a slow machine makes a rest longer, and never shorter
			began := time.Now()
			p.rest(t.Context(), time.Hour)
			least = min(least, time.Since(began))
		}
		return least
	}
	stop := s.Changes.Subscribe(func([]view.Change) {})
	if took := shortest(); took >= longestRest {
		t.Errorf("while somebody follows it rests for %s", took)
	}
	stop()
	if took := shortest(); took < longestRest {
		t.Errorf("while nobody follows it rests for %s alone", took)
	}
}

// Ensure that the projector waits after a full page while commands are decided, until a read waits for
// a version; and that it goes on at once where it only catches up.
func TestFullPagesGiveWayToCommands(t *testing.T) {
	s := projectiontest.Open(t)
	p := project(t, s, projectiontest.NewLog(), &projectiontest.Leases{Epoch: 1})
	committed := make(chan struct{}, 1)
	given := func() <-chan struct{} {
		over := make(chan struct{})
		go func() {
			p.giveWay(t.Context(), committed, time.Hour)
			close(over)
		}()
		return over
	}
	select {
	case <-given():
	case <-time.After(30 * time.Second):
		t.Fatal("it waits although no command was decided")
	}
	committed <- struct{}{}
	over := given()
	projectiontest.Within(t, 30*time.Second, func() bool { return len(committed) == 0 }) // it has begun to wait
	select {
	case <-over:
		t.Fatal("it doesn't wait although commands are decided")
	default:
	}
	_, leave := s.Waiting.Join("a product")
	defer leave()
	select {
	case <-over:
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on waiting although a read waits for it")
	}
}
