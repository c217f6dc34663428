package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	memoryLimit      = 112 << 20 // of the heap: with the program itself, under 150 MB
	connectionMemory = 24 << 10  // of a client that stays connected, with what it follows
	gcPercent        = 200       // batches are short-lived garbage: collecting half as often costs a few megabytes
)

// memoryIsOurs says whether the operator left the Go runtime's memory settings to the program.
func memoryIsOurs() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }

// limitMemory sets the collector's pace and the heap's limit, where the operator set neither.
func limitMemory() {
	if memoryIsOurs() {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryLimit)
	}
}

// growMemory raises the heap's limit with the number of open connections, until the context ends.
// What connections hold isn't garbage: under a fixed limit the collector would search it in vain
// and take all the CPU.
func growMemory(ctx context.Context, connections func() int) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			debug.SetMemoryLimit(memoryLimit + int64(connections())*connectionMemory)
		}
	}
}
