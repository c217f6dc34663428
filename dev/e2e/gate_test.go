package e2e

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// gate is an address that stays while the server behind it goes away and comes back, perhaps on
// another port.
type gate struct {
	listener net.Listener
	mu       sync.Mutex
	target   string // empty while it is shut
	open     map[net.Conn]bool
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: l, target: target, open: map[net.Conn]bool{}}
	go g.accept()
	t.Cleanup(func() {
		_ = l.Close()
		g.shut()
	})
	return g
}

func (g *gate) accept() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.pass(conn)
	}
}

func (g *gate) pass(client net.Conn) {
	g.mu.Lock()
	target := g.target
	g.mu.Unlock()
	if target == "" {
		_ = client.Close()
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	g.mu.Lock()
	shut := g.target != target
	if !shut {
		g.open[client], g.open[server] = true, true
	}
	g.mu.Unlock()
	if !shut {
		var done sync.WaitGroup
		done.Go(func() { g.copy(client, server) })
		done.Go(func() { g.copy(server, client) })
		done.Wait()
	}
	_, _ = client.Close(), server.Close()
	g.mu.Lock()
	delete(g.open, client)
	delete(g.open, server)
	g.mu.Unlock()
}

func (g *gate) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
}

// shut ends every connection and lets nobody in.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = ""
	for conn := range g.open {
		_ = conn.Close()
	}
}

// lead opens it, to a server.
func (g *gate) lead(target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = target
}

// through is the URL with the gate in place of the server, and the server.
func (g *gate) through(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = g.listener.Addr().String()
	return u.String()
}

func hostOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
