package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// console shows what is under way: one line that is rewritten in a terminal, a line a step elsewhere.
type console struct {
	mu       sync.Mutex
	out      *os.File
	terminal bool
	drawn    time.Time
}

func newConsole(out *os.File) *console {
	info, err := out.Stat()
	return &console{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

const clearLine = "\r\x1b[K"

// step says what begins now.
func (c *console) step(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terminal {
		fmt.Fprintf(c.out, clearLine+format+" …", args...)
		return
	}
	fmt.Fprintf(c.out, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// progress says how far it is, in a terminal and ten times a second at most.
func (c *console) progress(name string, done, of int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.terminal || time.Since(c.drawn) < 100*time.Millisecond {
		return
	}
	c.drawn = time.Now()
	fmt.Fprintf(c.out, clearLine+"%s … %s of %s", name, round(float64(done)), round(float64(of)))
}

// say leaves a line standing.
func (c *console) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terminal {
		fmt.Fprint(c.out, clearLine)
	}
	fmt.Fprintf(c.out, format+"\n", args...)
}

func (c *console) clear() {
	if c.terminal {
		fmt.Fprint(c.out, clearLine)
	}
}
