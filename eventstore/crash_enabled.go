//go:build crash

package eventstore

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var crashAt, crashAfter = func() (string, int64) {
	place, times, _ := strings.Cut(os.Getenv("CRASH_AT"), ":")
	n, _ := strconv.ParseInt(times, 10, 64)
	return place, max(n, 1)
}()

var passed atomic.Int64

// CrashPoint kills the process, as kill -9 does, the n-th time it passes the place that
// CRASH_AT=place:n names.
func CrashPoint(place string) {
	if place == crashAt && passed.Add(1) == crashAfter {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
