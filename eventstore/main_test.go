package eventstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// open returns a store over a migrated database of the test's own.
func open(t testing.TB) *Store { return connect(t, stack.Postgres(t, migrate)) }

func migrate(url string) error {
	s, err := Open(context.Background(), Config{URL: url, MaxConnections: 4})
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Migrate(context.Background())
	return err
}

func connect(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url, MaxConnections: 24})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Store) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func one[T any](t testing.TB, s *Store, sql string, args ...any) (value T) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// known says whether a command stands in the inbox.
func known(t testing.TB, s *Store, command uuid.UUID) bool {
	t.Helper()
	return one[bool](t, s, "select exists ("+loadInbox+")", uuids{command})
}

// must returns the value of a call that must succeed.
func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// inShard returns a new product of this shard.
func inShard(shard int16) uuid.UUID {
	for {
		if id := uuid.New(); ShardOf(id) == shard {
			return id
		}
	}
}

// event appends the next event of a product and makes its head: 100 units, as many reserved as
// there are events.
func event(s *Snapshot, c *Changes, productID uuid.UUID) Record {
	head := s.Heads[productID]
	if set, ok := c.heads[productID]; ok {
		head = set
	}
	head.ProductID, head.StockTotal = productID, 100
	head.Version++
	head.Reserved = min(head.Version, 100)
	c.SetHead(head)
	return c.Append(Row{ProductID: productID, Version: head.Version, Type: "E", CommandID: uuid.New(), Data: fmt.Appendf(nil, `{"v":%d}`, head.Version)})
}

func fact(c *Changes, productID uuid.UUID) Record {
	return c.Append(Row{ProductID: productID, Type: "F", CommandID: uuid.New(), Data: []byte(`{}`)})
}

// write transacts on the products.
func (s *Store) write(t testing.TB, decide func(*Snapshot, *Changes), products ...uuid.UUID) {
	t.Helper()
	if err := s.Transact(t.Context(), Keys{Products: products}, func(snapshot *Snapshot, c *Changes) error {
		decide(snapshot, c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
