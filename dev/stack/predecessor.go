package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// awaitPredecessor gives a server whose program was killed the time to shut down: it was told to by
// the kernel. A postmaster.pid that stayed behind, after a power cut for example, can name a
// process that is alive as something else by now; PostgreSQL would take it for a server and refuse
// to start, so that the file is told apart here. Nobody else's program is on this directory: the
// caller holds its lock.
func awaitPredecessor(ctx context.Context, data string) error {
	pidFile := filepath.Join(data, "postmaster.pid")
	for deadline := time.Now().Add(stopTimeout); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(pidFile)
		if err != nil {
			return nil
		}
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		pid, err := strconv.Atoi(strings.TrimSpace(string(line)))
		if err != nil || pid < 1 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return nil // PostgreSQL itself clears away what a dead one left
		}
		serving, err := servesPostgres(pid, data)
		switch {
		case err == nil && !serving:
			return disown(pidFile, rest)
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline) && err != nil:
			return fmt.Errorf("%s names process %d, which is alive, and it can't be found out whether that is PostgreSQL (%w): if it isn't, remove the file; if it is, stop it with `kill -INT %d`",
				pidFile, pid, err, pid)
		case time.Now().After(deadline):
			return fmt.Errorf("PostgreSQL still runs on %s as process %d: stop it with `kill -INT %d`, or give another directory", data, pid, pid)
		}
	}
}

// disown names a process in a postmaster.pid that there can't be. PostgreSQL then clears the file
// away as it does after a crash, and still looks whether anybody uses the shared memory that the
// rest of the file names: it wouldn't if the file were gone.
func disown(pidFile string, rest []byte) error {
	const nobody = "2147483647\n" // beyond what any kernel numbers its processes with
	if err := os.WriteFile(pidFile, append([]byte(nobody), rest...), 0o600); err != nil {
		return fmt.Errorf("%s is left from a server that is gone, and can't be changed; remove it: %w", pidFile, err)
	}
	return nil
}
