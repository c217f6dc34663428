// Package simulator is an Inventory Service to develop and test against: the real service's HTTP
// interface on records of its own, plus /sim/* to change levels and to make it slow, failing or
// away while it runs.
package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Status is how the service words a level.
type Status string

// The statuses of a record.
const (
	InStock    Status = "IN_STOCK"
	LowStock   Status = "LOW_STOCK"
	OutOfStock Status = "OUT_OF_STOCK"
)

// Record is one variant's inventory record, as POST /inventory answers it.
type Record struct {
	ID                uuid.UUID `json:"id"`
	VariantID         uuid.UUID `json:"productVariantId"`
	Quantity          int64     `json:"quantity"`
	Available         int64     `json:"availableQuantity"`
	LowStockThreshold int64     `json:"lowStockThreshold"`
	Status            Status    `json:"status"`
	UpdatedAt         time.Time `json:"updatedAt"`
}

func (r *Record) settle(now time.Time) {
	r.Quantity = r.Available
	switch {
	case r.Available == 0:
		r.Status = OutOfStock
	case r.Available <= r.LowStockThreshold:
		r.Status = LowStock
	default:
		r.Status = InStock
	}
	if now = now.UTC(); !now.After(r.UpdatedAt) {
		now = r.UpdatedAt.Add(time.Microsecond) // it is the record's version: never back, never twice
	}
	r.UpdatedAt = now
}

// Event is what the service publishes when a record's status changes.
type Event struct {
	ID        uuid.UUID `json:"eventId"`
	Type      string    `json:"type"`
	At        time.Time `json:"timestamp"`
	VariantID uuid.UUID `json:"productVariantId"`
	Available *int64    `json:"availableQuantity,omitempty"`
}

// Options of a Simulator; all may be left zero.
type Options struct {
	Dir     string            // where records survive a restart; empty: nowhere
	Token   string            // the bearer token that calls must carry; empty: none
	Publish func(Event) error // gets an event for each change of a status; called one at a time
	Log     *slog.Logger      // nil: silent
	Now     func() time.Time  // nil: time.Now
}

// Simulator is the service. It is an http.Handler; hand ConnState to the http.Server to have
// connections counted.
type Simulator struct {
	opts Options
	mux  *http.ServeMux

	mu      sync.Mutex
	records map[uuid.UUID]*Record
	keys    map[string]idempotent // answers by Idempotency-Key
	journal *journal
	fault   Fault
	healAt  time.Time
	stats   Stats

	publishing sync.Mutex
}

type idempotent struct {
	Request createRequest `json:"request"`
	Answer  Record        `json:"answer"`
}

// New loads what Options.Dir holds. Errors: a directory that cannot be used or holds something else.
func New(opts Options) (*Simulator, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Simulator{
		opts: opts, records: map[uuid.UUID]*Record{}, keys: map[string]idempotent{},
		fault: Fault{Mode: None}, stats: newStats(),
	}
	if opts.Dir != "" {
		var err error
		if s.journal, err = openJournal(opts.Dir, s.replay); err != nil {
			return nil, err
		}
	}
	s.routes()
	return s, nil
}

// Close ends the journal.
func (s *Simulator) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close()
}

func (s *Simulator) routes() {
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /inventory", s.service("list", s.list))
	s.mux.HandleFunc("GET /inventory/{id}", s.service("one", s.one))
	s.mux.HandleFunc("POST /inventory", s.service("create", s.create))
	s.mux.HandleFunc("GET /sim/fault", s.getFault)
	s.mux.HandleFunc("POST /sim/fault", s.postFault)
	s.mux.HandleFunc("POST /sim/level", s.postLevel)
	s.mux.HandleFunc("GET /sim/levels", s.getLevels)
	s.mux.HandleFunc("GET /sim/stats", s.getStats)
	s.mux.HandleFunc("DELETE /sim/stats", s.deleteStats)
	s.mux.HandleFunc("GET /{$}", page)
}

// ServeHTTP answers the service's and the simulator's own requests.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// ConnState counts connections; it fits http.Server.ConnState.
func (s *Simulator) ConnState(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.stats.Connections++
		s.stats.OpenConnections++
	case http.StateClosed, http.StateHijacked:
		s.stats.OpenConnections--
	}
}

// Set makes a variant's level, creating the record if there is none, and publishes the event of a
// changed status.
func (s *Simulator) Set(variant uuid.UUID, available int64) (Record, error) {
	s.publishing.Lock() // events leave in the order of the changes
	defer s.publishing.Unlock()
	before, changed, err := s.put(variant, available, func(r *Record) { r.settle(s.opts.Now()) })
	if err != nil {
		return Record{}, err
	}
	return changed, s.publish(before.Status, changed)
}

// Stamp makes a variant's level as of any time, and publishes nothing: so does a service that was
// restored, or whose clock was set.
func (s *Simulator) Stamp(variant uuid.UUID, available int64, updatedAt time.Time) (Record, error) {
	_, changed, err := s.put(variant, available, func(r *Record) {
		r.settle(updatedAt)
		r.UpdatedAt = updatedAt.UTC()
	})
	return changed, err
}

// put changes a record, or makes one.
func (s *Simulator) put(variant uuid.UUID, available int64, settle func(*Record)) (before, changed Record, err error) {
	if available < 0 {
		return before, changed, errors.New("availableQuantity is negative: allowed is 0 and more")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if record := s.records[variant]; record != nil {
		before, changed = *record, *record
	} else {
		changed = Record{ID: uuid.New(), VariantID: variant, LowStockThreshold: 10}
	}
	changed.Available = available
	settle(&changed)
	if err := s.journal.write(line{Record: &changed}); err != nil {
		return before, changed, err
	}
	s.records[variant] = &changed
	return before, changed, nil
}

func (s *Simulator) publish(before Status, r Record) error {
	if s.opts.Publish == nil || before == r.Status || before == "" { // a new record is no news
		return nil
	}
	e := Event{ID: uuid.New(), At: r.UpdatedAt, VariantID: r.VariantID, Available: &r.Available}
	switch {
	case r.Status == OutOfStock:
		e.Type = "InventoryOutOfStockEvent"
	case r.Status == LowStock:
		e.Type = "InventoryLowStockEvent"
	default:
		e.Type = "InventoryBackInStockEvent"
	}
	if err := s.opts.Publish(e); err != nil {
		return fmt.Errorf("publish %s: %w", e.Type, err)
	}
	s.mu.Lock()
	s.stats.Events++
	s.mu.Unlock()
	return nil
}

// Get returns a variant's record.
func (s *Simulator) Get(variant uuid.UUID) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.records[variant]
	if !ok {
		return Record{}, false
	}
	return *record, true
}

// All returns every record, ordered by variant.
func (s *Simulator) All() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Record, 0, len(s.records))
	for _, record := range s.records {
		all = append(all, *record)
	}
	slices.SortFunc(all, func(a, b Record) int { return slices.Compare(a.VariantID[:], b.VariantID[:]) })
	return all
}

func (s *Simulator) replay(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	if l.Record != nil {
		s.records[l.Record.VariantID] = l.Record
	}
	if l.Key != "" && l.Idempotent != nil {
		s.keys[l.Key] = *l.Idempotent
	}
	return nil
}
