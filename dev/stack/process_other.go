//go:build !linux

package stack

import (
	"bytes"
	"errors"
	"os/exec"
	"strconv"
	"syscall"
)

func signalOnDeath(*syscall.SysProcAttr, syscall.Signal) {}

// servesPostgres says whether a process is a PostgreSQL server: on which data isn't to be seen here.
func servesPostgres(pid int, _ string) (bool, error) {
	command, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if _, gone := errors.AsType[*exec.ExitError](err); gone { // there is no such process any more
		return false, nil
	}
	return bytes.Contains(command, []byte("postgres")), err
}
