//go:build !crash

package eventstore

// CrashPoint marks a place where a process may die at the worst moment. It does nothing, except in
// a binary built with the tag "crash", which the end-to-end tests use: there CRASH_AT names the
// place and how often to pass it before dying.
func CrashPoint(string) {}
