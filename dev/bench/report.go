package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// report is what a run found.
type report struct {
	Started time.Time `json:"started"`
	Machine string    `json:"machine"`
	Servers []string  `json:"servers"`
	Quick   bool      `json:"quick"` // too few commands for the figures to mean anything
	Figures []figure  `json:"figures"`

	mu      sync.Mutex
	peakRSS int64              // bytes, of any server
	known   map[string]float64 // what ratios are made of
}

// figure is one line of the report.
type figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target float64 `json:"target,omitempty"`
	AtMost bool    `json:"atMost,omitempty"` // the target is an upper bound
	Met    bool    `json:"met"`
	Note   string  `json:"note,omitempty"`
}

func newReport(s *servers, quick bool) *report {
	return &report{Started: time.Now().UTC(), Quick: quick, Servers: s.products, known: map[string]float64{},
		Machine: fmt.Sprintf("%s, %d CPUs, %s, load %s", cpuModel(), runtime.NumCPU(), runtime.Version(), loadAverage())}
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// target is a bound; the zero value is none.
type target struct {
	value  float64
	atMost bool
}

func atLeast(v float64) target { return target{value: v} }
func atMost(v float64) target  { return target{value: v, atMost: true} }

func (r *report) add(name string, value float64, unit string, t target, note string, args ...any) {
	met := t.value == 0 || value >= t.value
	if t.atMost {
		met = value <= t.value
	}
	r.Figures = append(r.Figures, figure{Name: name, Value: value, Unit: unit, Target: t.value, AtMost: t.atMost, Met: met, Note: fmt.Sprintf(note, args...)})
}

// ratio adds a figure over another, where both were measured in this run.
func (r *report) ratio(name, over, under string, t target) {
	a, b := r.known[over], r.known[under]
	if a > 0 && b > 0 {
		r.add(name, a/b, "x", t, "%s over %s", round(a), round(b))
	}
}

func (r *report) sawMemory(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peakRSS = max(r.peakRSS, bytes)
}

// finish adds what the whole run has to say.
func (r *report) finish() {
	for _, s := range spreads {
		r.ratio("against the bare database, "+s.name+", no projector", s.key(false), s.bareKey(), atLeast(0.6))
	}
	r.ratio("against a transaction a message, hot product", spreads[0].key(false), "naive hot", atLeast(20))
	r.ratio("against a transaction a message, 1,000 products", spreads[1].key(false), "naive spread", target{})
	if r.peakRSS > 0 {
		r.add("server memory, the highest of all", float64(r.peakRSS)/(1<<20), "MiB RSS", atMost(150), "VmHWM, the kernel's own high-water mark")
	}
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n%s\n", r.Machine, strings.Join(r.Servers, ", "))
	if r.Quick {
		fmt.Fprintln(w, "Quick: too few commands for these figures to mean anything.")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tMEASURED\t\tTARGET\t\tNOTE")
	for _, f := range r.Figures {
		bound, met := "", ""
		if f.Target != 0 {
			bound, met = "≥ "+round(f.Target), "ok"
			if f.AtMost {
				bound = "≤ " + round(f.Target)
			}
			if !f.Met {
				met = "MISSED"
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, round(f.Value), f.Unit, bound, met, f.Note)
	}
	return t.Flush()
}

// round writes a number as a person says it: three digits where it is small, thousands apart where
// it is large.
func round(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 1000:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
