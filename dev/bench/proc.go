package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU time in /proc: USER_HZ, which is 100 on every Linux (proc(5)).
const tick = 10 * time.Millisecond

// cpuOf is the CPU time a process has used, 0 where that can't be told.
func cpuOf(pid int) time.Duration {
	_, used := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	return used
}

// readStat reads a process's name and CPU time from its stat file (proc(5)): the name stands in
// parentheses and may hold any character.
func readStat(file string) (name string, used time.Duration) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", 0
	}
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return "", 0
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 13 {
		return "", 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return string(text[open+1 : end]), time.Duration(user+system) * tick
}

// peakRSS is the most memory a process ever had resident, in bytes; 0 where that can't be told.
func peakRSS(pid int) int64 { return memoryOf(pid, "VmHWM:") }

// memoryOf reads a line of a process's status file (proc(5)).
func memoryOf(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// ownCPU is the CPU time this program has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuUse is what the CPUs did: by program, and in all. Of the database only the sessions of the
// world are counted.
type cpuUse struct {
	server, client, postgres, kafka, mongo, all time.Duration
}

func (w *world) cpuNow() cpuUse {
	s := w.b.servers
	u := cpuUse{server: cpuOf(w.child.process.PID()), client: ownCPU(), kafka: cpuOf(s.kafkaPID), mongo: cpuOf(s.mongoPID), all: busy()}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		name, used := readStat(file)
		if name != "postgres" {
			continue
		}
		if title, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")); err == nil && bytes.Contains(title, []byte(" "+w.name+" ")) {
			u.postgres += used
		}
	}
	return u
}

// listener is the process that listens on an address of this machine, 0 where that can't be told or
// it is this program.
func listener(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	var socket string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) { // 0A: listening
				socket = "socket:[" + f[9] + "]"
			}
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			if pid == os.Getpid() {
				return 0
			}
			return pid
		}
	}
	return 0
}

// busy is the CPU time that all CPUs together have not been idle.
func busy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks int64
	for i, field := range strings.Fields(line) {
		if n, err := strconv.ParseInt(field, 10, 64); err == nil && i != 4 && i != 5 && i < 9 { // without idle and iowait; guests are counted in user
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}

func (u cpuUse) since(before cpuUse) cpuUse {
	return cpuUse{u.server - before.server, u.client - before.client, u.postgres - before.postgres, u.kafka - before.kafka, u.mongo - before.mongo, u.all - before.all}
}

// writing is the CPU time that the server and the database took for each of n commands, in microseconds.
func (u cpuUse) writing(n int) float64 {
	return float64((u.server + u.postgres).Microseconds()) / float64(n)
}

// each says how much CPU time each of n commands took, in microseconds. What isn't named is the
// kernel's and other programs'.
func (u cpuUse) each(n int) string {
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	rest := u.all - u.server - u.client - u.postgres - u.kafka - u.mongo
	return fmt.Sprintf("CPU µs each: server %.1f, postgres %.1f, kafka %.1f, mongo %.1f, client %.1f, others %.1f",
		us(u.server), us(u.postgres), us(u.kafka), us(u.mongo), us(u.client), us(max(0, rest)))
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
