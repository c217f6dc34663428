package eventstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/stack"
)

// overLine returns a store whose statements are bounded tightly, over a line that can go silent.
func overLine(t *testing.T, timeout time.Duration) (*Store, *line) {
	t.Helper()
	l := newLine(t, stack.Postgres(t, migrate))
	s, err := Open(t.Context(), Config{URL: l.url, MaxConnections: 4, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, l
}

func TestACallOnALineThatWentSilentEndsAndTheNextWorks(t *testing.T) {
	s, line := overLine(t, 100*time.Millisecond)
	for name, call := range calls(t.Context(), s) {
		line.cut.Store(0)
		eventually(t, "there is a connection", func() bool { return s.Ping(t.Context()) == nil })
		line.cut.Store(goSilent)
		began := time.Now()
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s was answered by %v", name, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	line.cut.Store(0)
	eventually(t, "the mended line works", func() bool { _, err := s.Positions(t.Context()); return err == nil })
}

func TestACommitOnALineThatWentSilentIsUnknown(t *testing.T) {
	s, line := overLine(t, 500*time.Millisecond)
	productID := uuid.New()
	write := func(silent int32) error {
		return s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(snapshot *Snapshot, c *Changes) error {
			event(snapshot, c, productID)
			line.cut.Store(silent)
			return nil
		})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	if err := write(goSilent); !errors.Is(err, ErrCommitUnknown) {
		t.Errorf("it was answered by %v", err)
	}
	line.cut.Store(0)
	eventually(t, "it works again, without the locks of the lost transaction", func() bool { return write(0) == nil })
}

func TestNobodyWaitsLongerForAConnectionThanForAnAnswer(t *testing.T) {
	s, _ := overLine(t, 500*time.Millisecond)
	for range 4 {
		conn, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	if _, err := s.Positions(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a free connection it was answered by %v", err)
	}
}

func TestMigrationsTakeAsLongAsTheyDo(t *testing.T) {
	s, _ := overLine(t, 500*time.Millisecond)
	const slow = "select pg_sleep(0.8)"
	if _, err := s.pool.Exec(t.Context(), slow); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a slow statement was answered by %v", err)
	}
	if _, err := s.pool.Exec(unbounded(t.Context()), slow); err != nil {
		t.Errorf("a slow migration was answered by %v", err)
	}
}
