package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

var errGoRunEnded = errors.New("the `go run` that started this ended")

// stopWithGoRun stops this program when the `go run` above it is gone: `go run` does not hand a
// SIGTERM on, and a SIGKILL it cannot.
func stopWithGoRun(cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	if filepath.Base(commandOf(parent)) != "go" {
		return
	}
	go func() {
		for os.Getppid() == parent {
			time.Sleep(200 * time.Millisecond)
		}
		cancel(errGoRunEnded)
	}()
}

// commandOf is the name of a process's program, empty where it can't be told.
func commandOf(pid int) string {
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		return strings.TrimSpace(string(name))
	}
	name, err := exec.Command("ps", "-o", "comm=", "-p", fmt.Sprint(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
