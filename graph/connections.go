package graph

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
)

// connections are those that stay open: sockets and streams of events. They are bounded, and ended
// together.
type connections struct {
	most, mostPerAddress int
	gate                 *Gate
	metrics              *metrics

	mu      sync.Mutex
	open    map[*connection]struct{}
	from    map[string]int
	leaving bool
	empty   chan struct{} // closed once leaving and nothing is open
}

// connection is one of them. end makes it complete its operations and close; cut ends it at once.
type connection struct {
	address  string
	end, cut func()
}

func newConnections(c Config, g *Gate, m *metrics) *connections {
	return &connections{
		most: c.MaxSockets, mostPerAddress: c.MaxSocketsPerAddress, gate: g, metrics: m,
		open: map[*connection]struct{}{}, from: map[string]int{}, empty: make(chan struct{}),
	}
}

// errLeaving tells clients to come back to another instance.
var errLeaving = faultf(InternalServerError, "the service is stopping; connect again")

// add counts a connection in, until remove. The error, a *fault, is why there can't be another one.
func (c *connections) add(r *http.Request, end, cut func()) (*connection, error) {
	address := c.gate.proxies.address(r)
	if ip, err := netip.ParseAddr(address); err == nil && ip.IsLoopback() {
		address = "" // of a proxy on this host: that is no client's
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.leaving:
		return nil, errLeaving
	case len(c.open) >= c.most:
		c.metrics.turnedAway.WithLabelValues("all").Inc()
		return nil, faultf(InternalServerError, "the service is busy: as many subscribers are connected as can be; try again")
	case address != "" && c.from[address] >= c.mostPerAddress:
		c.metrics.turnedAway.WithLabelValues("address").Inc()
		return nil, faultf(InternalServerError, "as many subscribers are connected from this address as can be; close a connection first")
	}
	added := &connection{address: address, end: end, cut: cut}
	c.open[added] = struct{}{}
	c.from[address]++
	c.metrics.connections.Inc()
	return added, nil
}

func (c *connections) remove(gone *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.open[gone]; !there {
		return
	}
	delete(c.open, gone)
	if c.from[gone.address]--; c.from[gone.address] == 0 {
		delete(c.from, gone.address)
	}
	c.metrics.connections.Dec()
	if c.leaving && len(c.open) == 0 {
		close(c.empty)
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// drain ends all connections, and cuts those that haven't ended with ctx.
func (c *connections) drain(ctx context.Context) {
	c.mu.Lock()
	c.leaving = true
	all := make([]*connection, 0, len(c.open))
	for open := range c.open {
		all = append(all, open)
	}
	c.mu.Unlock()
	if len(all) == 0 {
		return
	}
	for _, open := range all {
		go open.end()
	}
	select {
	case <-c.empty:
	case <-ctx.Done():
		for _, open := range all {
			open.cut()
		}
		<-c.empty
	}
}
