package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// console prints lines, and below them, where a person watches, what is under way.
type console struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	busy     []string
	since    time.Time
	spinning chan struct{} // closed to end the spinner
	spun     chan struct{} // closed by it
}

func newConsole(out *os.File) *console {
	info, err := out.Stat()
	return &console{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

const clearLine = "\r\x1b[K"

func (c *console) linef(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spinning != nil {
		fmt.Fprint(c.out, clearLine)
	}
	fmt.Fprintf(c.out, format+"\n", args...)
}

// step runs do under a name and prints how it ended: in a pipe also that it began.
func (c *console) step(name string, do func() (detail string, err error)) error {
	if !c.terminal {
		c.linef("… %s", name)
	}
	begin := time.Now()
	c.working(name)
	detail, err := do()
	c.finished(name)
	if err != nil {
		c.linef("✗ %s (%.1f s)", name, time.Since(begin).Seconds())
		return fmt.Errorf("%s: %w", name, err)
	}
	c.linef("✓ %s (%.1f s) %s", name, time.Since(begin).Seconds(), detail)
	return nil
}

func (c *console) working(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = append(c.busy, name)
	if c.terminal && c.spinning == nil {
		c.since, c.spinning, c.spun = time.Now(), make(chan struct{}), make(chan struct{})
		go c.spin(c.spinning, c.spun)
	}
}

func (c *console) finished(name string) {
	c.mu.Lock()
	for i, b := range c.busy {
		if b == name {
			c.busy = append(c.busy[:i], c.busy[i+1:]...)
			break
		}
	}
	idle := len(c.busy) == 0
	c.mu.Unlock()
	if idle {
		c.settle()
	}
}

// settle ends the spinner.
func (c *console) settle() {
	c.mu.Lock()
	stop, spun := c.spinning, c.spun
	c.spinning = nil
	c.mu.Unlock()
	if stop != nil {
		close(stop)
		<-spun
	}
}

func (c *console) spin(stop, spun chan struct{}) {
	defer close(spun)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	for i := 0; ; i++ {
		select {
		case <-stop:
			fmt.Fprint(c.out, clearLine)
			return
		case <-tick.C:
			c.mu.Lock()
			fmt.Fprintf(c.out, "%s%c %s… %.0f s", clearLine, frames[i%len(frames)], strings.Join(c.busy, ", "), time.Since(c.since).Seconds())
			c.mu.Unlock()
		}
	}
}

// summary says where everything is.
func (c *console) summary(f flags, env *environment, dir string) {
	c.linef("")
	for _, part := range []struct{ title, name string }{
		{"PostgreSQL", "POSTGRES_URL"}, {"Kafka", "KAFKA_BROKERS"}, {"MongoDB", "MONGODB_URL"},
		{"Inventory Service (simulated)", "INVENTORY_SIM_URL"}, {"health, metrics, pprof", "ADMIN_URL"}, {"GraphQL", "GRAPHQL_URL"},
	} {
		if value := env.get(part.name); value != "" {
			c.linef("%-30s %s", part.title, value)
		}
	}
	if f.stackOnly {
		c.linef("\nReady, without the server. Ctrl-C stops everything.")
		return
	}
	base := strings.TrimSuffix(env.get("GRAPHQL_URL"), "/graphql")
	c.linef("%-30s %s/", "explorer", base)
	c.linef("%-30s %s", "the server's log", logFile(dir))
	showTokens(c, env)
	c.linef("\nTry:\n\n%s\n\nReady. Ctrl-C stops everything.", curl(env.get("GRAPHQL_URL")))
}
