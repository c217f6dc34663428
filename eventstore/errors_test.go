package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"product-service/dev/stack"
)

func TestErrorClasses(t *testing.T) {
	type class struct{ retryable, faulty bool }
	race, fault, none := class{true, false}, class{false, true}, class{}
	unique := func(key string) error { return &pgconn.PgError{Code: "23505", ConstraintName: key} }
	code := func(code string) error { return &pgconn.PgError{Code: code} }
	for name, test := range map[string]struct {
		err  error
		want class
	}{
		"serialization":      {code("40001"), race},
		"deadlock":           {code("40P01"), race},
		"a position":         {unique("log_pkey"), race},
		"a version":          {unique("log_stream"), race},
		"a head":             {unique("product_head_pkey"), race},
		"a reservation":      {unique("reservation_pkey"), race},
		"a command":          {unique("inbox_pkey"), race},
		"a variant":          {unique("variant_pkey"), race},
		"a SKU":              {unique("variant_sku"), race},
		"a SKU's looks":      {unique("variant_sku_key"), race},
		"another key":        {unique("lease_pkey"), fault},
		"a check":            {code("23514"), fault},
		"a null":             {code("23502"), fault},
		"a number too large": {code("22003"), fault},
		"bad text":           {code("22021"), fault},
		"too complex":        {code("54001"), fault},
		"connection lost":    {code("08006"), none},
		"too many clients":   {code("53300"), none},
		"disk full":          {code("53100"), none},
		"shut down":          {code("57P01"), none},
		"starting up":        {code("57P03"), none},
		"a standby":          {code("25006"), none},
		"idle too long":      {code("25P03"), none},
		"no such table":      {code("42P01"), none},
		"an internal error":  {code("XX000"), none},
		"a strange code":     {code("4"), none},
		"end of file":        {io.EOF, none},
		"cut off":            {io.ErrUnexpectedEOF, none},
		"closed":             {net.ErrClosed, none},
		"refused":            {&net.OpError{Op: "dial", Err: errors.New("refused")}, none},
		"timeout":            {context.DeadlineExceeded, none},
		"cancelled":          {context.Canceled, none},
		"our own":            {errUndecided, none},
		"no error":           {nil, none},
	} {
		t.Run(name, func(t *testing.T) {
			for _, err := range []error{test.err, fmt.Errorf("write: %w", test.err)} {
				if got := (class{Retryable(err), Faulty(err)}); got != test.want {
					t.Errorf("%v is %+v, want %+v", err, got, test.want)
				}
			}
		})
	}
}

// The races are named by constraints of the schema; a renamed one would make every race a fault.
func TestRacesNameKeysOfTheSchema(t *testing.T) {
	s := open(t)
	for key := range races {
		if n := one[int](t, s, "select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname = $1 and i.indisunique", key); n != 1 {
			t.Errorf("%s is no unique key", key)
		}
	}
}

const holders = "select pid from pg_locks where locktype = 'advisory' and classid = 7301 and database = (select oid from pg_database where datname = current_database()) and "

func TestTheServerEndsAConnection(t *testing.T) {
	s, productID, command := open(t), inShard(4), uuid.New()
	decide := func(snapshot *Snapshot, c *Changes) {
		r := event(snapshot, c, productID)
		c.Remember(InboxEntry{CommandID: command, Shard: r.Shard, Pos: r.Pos})
	}
	err := s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(snapshot *Snapshot, c *Changes) error {
		decide(snapshot, c)
		s.exec(t, "select pg_terminate_backend(("+holders+"granted), 10000)")
		return nil
	})
	if !errors.Is(err, ErrCommitUnknown) || Faulty(err) || Retryable(err) {
		t.Errorf("before the write it was answered by %v", err)
	}
	if known(t, s, command) {
		t.Error("the command is known, but was never written")
	}

	// Now while it waits for the lock of another: nothing was sent that could have been committed.
	s.write(t, func(*Snapshot, *Changes) {
		ended := make(chan error, 1)
		go func() {
			ended <- s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(*Snapshot, *Changes) error { return nil })
		}()
		waiting := func() int { return one[int](t, s, "select count(*) from ("+holders+"not granted) w") }
		eventually(t, "the second waits for the lock", func() bool { return waiting() == 1 })
		s.exec(t, "select pg_terminate_backend(("+holders+"not granted), 10000)")
		if err := <-ended; err == nil || errors.Is(err, ErrCommitUnknown) || Faulty(err) || Retryable(err) {
			t.Errorf("while waiting it was answered by %v", err)
		}
	}, productID)

	s.write(t, decide, productID)
	if !known(t, s, command) || must[Head](t)(s.Head(t.Context(), productID)).Version != 1 {
		t.Error("tried again the command isn't there once")
	}
}

func TestTheLineIsCutAroundTheCommit(t *testing.T) {
	direct := stack.Postgres(t, migrate)
	for name, test := range map[string]struct {
		cut   int32
		known bool
	}{"before the request arrives": {cutRequests, false}, "before the answer arrives": {cutAnswers, true}} {
		t.Run(name, func(t *testing.T) {
			line := newLine(t, direct)
			near, far := connect(t, line.url), connect(t, direct)
			productID, command := inShard(4), uuid.New()
			s := near
			s.write(t, func(snapshot *Snapshot, c *Changes) { // the same statements: the next time they need not be prepared
				event(snapshot, c, productID)
				c.Remember(InboxEntry{CommandID: uuid.New()})
			}, productID)
			s.write(t, func(snapshot *Snapshot, c *Changes) {
				event(snapshot, c, productID)
				c.Remember(InboxEntry{CommandID: uuid.New()})
			}, productID)
			err := s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(snapshot *Snapshot, c *Changes) error {
				r := event(snapshot, c, productID)
				c.Remember(InboxEntry{CommandID: command, Shard: r.Shard, Pos: r.Pos})
				line.cut.Store(test.cut)
				return nil
			})
			line.cut.Store(0)
			if !errors.Is(err, ErrCommitUnknown) || Faulty(err) || Retryable(err) {
				t.Errorf("it was answered by %v", err)
			}
			if got := known(t, far, command); got != test.known {
				t.Errorf("the command is known: %v, want %v", got, test.known)
			}
			if got := known(t, near, command); got != test.known {
				t.Errorf("asked over a new line it is known: %v, want %v", got, test.known)
			}
		})
	}
}

func TestTheServerIsAway(t *testing.T) {
	line := newLine(t, stack.Postgres(t, migrate))
	s, productID := connect(t, line.url), inShard(1)
	line.close()
	err := s.Transact(t.Context(), Keys{Products: []uuid.UUID{productID}}, func(*Snapshot, *Changes) error { return nil })
	if err == nil || errors.Is(err, ErrCommitUnknown) || !strings.Contains(err.Error(), "connect to PostgreSQL") {
		t.Errorf("it was answered by %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Errorf("a ping was answered by %v", err)
	}
}

// A transaction that is given up while it waits for its lock leaves neither lock nor connection behind.
func TestTheCallerGivesUp(t *testing.T) {
	s, productID := open(t), inShard(1)
	s.write(t, func(*Snapshot, *Changes) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.Transact(ctx, Keys{Products: []uuid.UUID{productID}}, func(*Snapshot, *Changes) error { return nil })
		}()
		eventually(t, "it waits for the lock", func() bool { return one[int](t, s, "select count(*) from ("+holders+"not granted) w") == 1 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || errors.Is(err, ErrCommitUnknown) {
			t.Errorf("it was answered by %v", err)
		}
		eventually(t, "nobody waits", func() bool { return one[int](t, s, "select count(*) from ("+holders+"not granted) w") == 0 })
	}, productID)
	s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, productID) }, productID)
	eventually(t, "every connection is back", func() bool { return s.pool.Stat().AcquiredConns() == 0 })
}

// line is a TCP line to the server that can be cut.
type line struct {
	url    string
	cut    atomic.Int32
	listen net.Listener
	mu     sync.Mutex
	open   []net.Conn
}

const (
	cutRequests = 1 // what the client says is lost, and the line with it
	cutAnswers  = 2 // the server hears it, but its answer is lost
	goSilent    = 3 // nothing arrives any more, and nobody is told
)

func newLine(t *testing.T, to string) *line {
	parsed, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	server := parsed.Host
	l := &line{listen: must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))}
	t.Cleanup(l.close)
	parsed.Host = l.listen.Addr().String()
	l.url = parsed.String()
	go func() {
		for {
			client, err := l.listen.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				return
			}
			l.mu.Lock()
			l.open = append(l.open, client, upstream)
			l.mu.Unlock()
			go l.carry(client, upstream, cutRequests)
			go l.carry(upstream, client, cutAnswers)
		}
	}()
	return l
}

// carry copies until the line ends or something passes that is to be lost.
func (l *line) carry(from, to net.Conn, lost int32) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || l.cut.Load() == lost {
			return
		}
		if l.cut.Load() == goSilent {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (l *line) close() {
	l.listen.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.open {
		conn.Close()
	}
}
