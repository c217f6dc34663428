//go:build race

package graph

// slowdown is how much longer things may take under the race detector.
const slowdown = 20
