package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/stack"
)

// load sends a plan bit by bit until it is stopped, then the rest of it. A test that has failed
// needs no more of it.
func (w *world) load(p *plan) (stop func()) {
	const parts = 40
	quit, done := make(chan struct{}), make(chan struct{})
	client := w.sagas()
	go func() {
		defer close(done)
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for i := range parts {
			if w.t.Failed() {
				return
			}
			client.send(p.slice(i, parts)...)
			select {
			case <-pace.C:
			case <-quit:
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(quit); <-done })
	w.t.Cleanup(stop) // before the client's own end: a producer that is closed while it sends panics
	return stop
}

// survives runs a load, has something happen to it in the middle, and checks that in the end all is
// as if nothing had.
func (w *world) survives(outage func()) {
	w.t.Helper()
	s := w.start()
	p := newPlan(uint64(time.Now().UnixNano()), counts(1500, 10_000), w.newProducts(6, counts(150, 1000)))
	stop := w.load(p)
	within(w.t, startLimit, "the load is under way", func() error {
		if n := w.sagas().answered(); n < 50 {
			return fmt.Errorf("%d commands are answered", n)
		}
		return nil
	})
	outage()
	stop()
	within(w.t, startLimit, "the server is ready again", s.ready)
	w.finished(p)
	if err := p.check(w.sagas().seen(), w.checked(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	if code := s.stop(); code != 0 {
		w.t.Errorf("after SIGTERM the server ended with %d:\n%s", code, s.complaints())
	}
}

// unready waits until the server says that it isn't ready, and that it lives.
func (s *server) unready(part string) {
	s.t.Helper()
	within(s.t, 20*time.Second, "the server says that it isn't ready", func() error {
		err := s.ready()
		if err == nil || !strings.Contains(err.Error(), part) {
			return fmt.Errorf("/readyz: %v; it must name %s", err, part)
		}
		return nil
	})
	if status, _, err := get("http://" + s.admin + "/livez"); err != nil || status != 200 {
		s.t.Errorf("/livez: %d %v", status, err)
	}
}

// PostgreSQL is killed in the middle and comes back: a server of this test's own, with durable settings.
func TestPostgresRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	own, err := stack.NewTemporary()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Remove() })
	server, err := stack.StartPostgres(ctx, own.Dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	if err := server.EnsureDatabase(ctx, "product"); err != nil {
		t.Fatal(err)
	}
	gate := newGate(t, hostOf(t, server.URL("product")))
	w := newWorld(t)
	w.postgres = gate.through(t, server.URL("product"))
	w.survives(func() {
		killPostgres(t, own.Dir)
		<-server.Done()
		gate.shut()
		w.latest.unready("postgresql")
		w.reads()
		restarted, err := stack.StartPostgres(ctx, own.Dir, true)
		if err != nil {
			t.Fatal(err)
		}
		server = restarted
		gate.lead(hostOf(t, server.URL("product")))
	})
}

// killPostgres ends it as a crash does.
func killPostgres(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reads checks that what is projected can be read while PostgreSQL is away.
func (w *world) reads() {
	w.t.Helper()
	var data struct {
		Products struct{ Nodes []struct{ ID string } }
	}
	if err := w.latest.query(`{ products(first: 5) { nodes { id stock { available } } } }`, nil, &data); err != nil || len(data.Products.Nodes) == 0 {
		w.t.Errorf("products can't be read: %v", err)
	}
}

// MongoDB goes away in the middle: commands are decided and answered all the same, and the read
// model catches up.
func TestMongoRestart(t *testing.T) {
	w := newWorld(t)
	gate := newGate(t, hostOf(t, w.mongo))
	behind := hostOf(t, w.mongo)
	w.mongo = gate.through(t, w.mongo)
	w.survives(func() {
		gate.shut()
		hook(t, "E2E_DOWN", "mongo")
		w.latest.unready("mongodb")
		m := reserve(uuid.NewString(), uuid.NewString(), 1)
		w.sagas().send(m)
		if o := w.sagas().await(m.CommandID, 20*time.Second); o.Reason != "UNKNOWN_PRODUCT" {
			t.Errorf("it is answered by %+v", o)
		}
		if a, err := w.latest.ask(`{ products(first: 1) { nodes { id } } }`, nil); err != nil || len(a.Errors) == 0 {
			t.Errorf("products are read from nowhere: %s %v", a.Data, err)
		}
		hook(t, "E2E_UP", "mongo")
		gate.lead(behind)
	})
}

// hook runs the command that a variable holds, if it does, on a part of the real servers.
func hook(t testing.TB, variable, part string) bool {
	t.Helper()
	command := os.Getenv(variable)
	if !stack.Real() || command == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "sh", "-c", command+" "+part).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", command, part, err, out)
	}
	return true
}

// coordinating names the broker that leads the consumer group: the one that is missed most.
func (w *world) coordinating() string {
	w.t.Helper()
	broker, err := w.coordinator()
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("kafka-%d", broker.ID())
}

// The broker goes away and comes back: the embedded one as a whole, of the real ones the one that
// leads the consumer group.
func TestBrokerRestart(t *testing.T) {
	w := newWorld(t)
	if stack.Real() {
		w.survives(func() {
			if !hook(t, "E2E_DOWN", w.coordinating()) {
				t.Log("E2E_DOWN and E2E_UP aren't set: the real broker stays up")
			}
			m := reserve(uuid.NewString(), uuid.NewString(), 1)
			w.sagas().send(m)
			w.sagas().await(m.CommandID, time.Minute)
			hook(t, "E2E_UP", "kafka")
		})
		return
	}
	dir := t.TempDir()
	broker, err := stack.StartKafka(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	w.brokers = broker.Brokers()
	_, number, _ := strings.Cut(w.brokers[0], ":")
	p, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	w.survives(func() {
		broker.Close()
		w.latest.unready("kafka")
		var again *stack.KafkaBroker
		within(t, 20*time.Second, "the broker gets its port back", func() (err error) {
			again, err = stack.StartKafka(dir, p)
			return err
		})
		broker = again
	})
}

// A version asked for that can't be there yet is said to be so, and not waited for without end.
func TestNotYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	product, _ := w.newProduct(1)
	begun := time.Now()
	a, err := s.ask(`query($id: ID!) { product(id: $id, minVersion: 1000) { id } }`, map[string]any{"id": product})
	if took := time.Since(begun); err != nil || strings.Join(a.codes(), "") != "NOT_YET_AVAILABLE" || took > 5*time.Second {
		t.Errorf("after %v: %+v %v", took, a, errors.Join(err))
	}
}
