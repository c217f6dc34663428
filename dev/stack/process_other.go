//go:build !linux

package stack

import "syscall"

func signalOnDeath(*syscall.SysProcAttr, syscall.Signal) {}
