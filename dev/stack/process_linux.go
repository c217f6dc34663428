package stack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func signalOnDeath(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// servesPostgres says whether a process is a PostgreSQL server on these data: it works in their
// directory. Of a process of another user only its command can be seen, and any server counts then.
func servesPostgres(pid int, data string) (bool, error) {
	at := fmt.Sprintf("/proc/%d/", pid)
	dir, err := os.Readlink(at + "cwd")
	switch {
	case err == nil:
		here, err := filepath.EvalSymlinks(data)
		return dir == here, err
	case errors.Is(err, fs.ErrNotExist): // it has ended meanwhile
		return false, nil
	}
	command, err := os.ReadFile(at + "cmdline")
	return bytes.Contains(command, []byte("postgres")), err
}
