package simulator

import (
	_ "embed"
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Stats counts what the service was asked for since the start or the last DELETE /sim/stats.
type Stats struct {
	Calls           map[string]int `json:"calls"` // by operation: list, one, create
	Variants        int            `json:"variants"`
	InFlight        int            `json:"inFlight"`
	MaxInFlight     int            `json:"maxInFlight"`
	Connections     int            `json:"connections"`
	OpenConnections int            `json:"openConnections"`
	Created         int            `json:"created"`
	Replays         int            `json:"replays"` // creations answered from their Idempotency-Key
	Events          int            `json:"events"`
	Records         int            `json:"records"`
	Fault           Fault          `json:"fault"`
	Last            map[string]any `json:"last,omitempty"` // headers of the last call that matter
	LastAt          time.Time      `json:"lastAt,omitzero"`
}

func newStats() Stats { return Stats{Calls: map[string]int{"list": 0, "one": 0, "create": 0}} }

// Total is the number of calls of all operations.
func (s Stats) Total() int {
	total := 0
	for _, n := range s.Calls {
		total += n
	}
	return total
}

// Stats returns the counts.
func (s *Simulator) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Calls, stats.Last = maps.Clone(s.stats.Calls), maps.Clone(s.stats.Last)
	stats.Records, stats.Fault = len(s.records), s.current()
	return stats
}

// ResetStats begins counting anew; what is open or under way stays counted.
func (s *Simulator) ResetStats() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := newStats()
	fresh.InFlight, fresh.OpenConnections = s.stats.InFlight, s.stats.OpenConnections
	s.stats = fresh
}

// begin counts a call and returns the fault it meets.
func (s *Simulator) begin(operation string, r *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Calls[operation]++
	s.stats.InFlight++
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.stats.InFlight)
	if list := r.URL.Query().Get("productVariantIds"); list != "" {
		s.stats.Variants += (len(list) + 1) / 37
	} else {
		s.stats.Variants++
	}
	s.stats.LastAt = time.Now().UTC()
	s.stats.Last = map[string]any{}
	for _, name := range []string{"X-Correlation-Id", "Traceparent", "Idempotency-Key", "X-Request-Attempt"} {
		if value := r.Header.Get(name); value != "" {
			s.stats.Last[name] = value
		}
	}
	if fault := s.current(); fault.hits(r) {
		return fault
	}
	return Fault{Mode: None}
}

func (s *Simulator) end() {
	s.mu.Lock()
	s.stats.InFlight--
	s.mu.Unlock()
}

func (s *Simulator) getFault(w http.ResponseWriter, _ *http.Request) {
	send(w, reply{http.StatusOK, s.Stats().Fault})
}

func (s *Simulator) postFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if !read(w, r, &f) {
		return
	}
	if err := s.SetFault(f); err != nil {
		send(w, refuse(http.StatusBadRequest, "%v", err))
		return
	}
	s.getFault(w, r)
}

func (s *Simulator) postLevel(w http.ResponseWriter, r *http.Request) {
	var want struct {
		VariantID uuid.UUID `json:"productVariantId"`
		Available *int64    `json:"availableQuantity"`
		UpdatedAt time.Time `json:"updatedAt"`
	}
	if !read(w, r, &want) {
		return
	}
	if want.VariantID == uuid.Nil || want.Available == nil {
		send(w, refuse(http.StatusBadRequest, "productVariantId and availableQuantity are needed"))
		return
	}
	set := s.Set
	if !want.UpdatedAt.IsZero() {
		set = func(id uuid.UUID, n int64) (Record, error) { return s.Stamp(id, n, want.UpdatedAt) }
	}
	record, err := set(want.VariantID, *want.Available)
	if err != nil {
		send(w, refuse(http.StatusBadRequest, "%v", err))
		return
	}
	send(w, reply{http.StatusOK, record})
}

func (s *Simulator) getLevels(w http.ResponseWriter, _ *http.Request) {
	send(w, reply{http.StatusOK, s.All()})
}

func (s *Simulator) getStats(w http.ResponseWriter, _ *http.Request) {
	send(w, reply{http.StatusOK, s.Stats()})
}

func (s *Simulator) deleteStats(w http.ResponseWriter, r *http.Request) {
	s.ResetStats()
	s.getStats(w, r)
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		send(w, refuse(http.StatusBadRequest, "the body cannot be read: %v", err))
		return false
	}
	return true
}

//go:embed page.html
var pageHTML []byte

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(pageHTML)
}
