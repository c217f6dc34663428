package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

const maxIDs = 100

// level is a record as the GETs show it.
type level struct {
	VariantID uuid.UUID `json:"productVariantId"`
	Available int64     `json:"availableQuantity"`
	Status    Status    `json:"status"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func levelOf(r Record) level {
	return level{VariantID: r.VariantID, Available: r.Available, Status: r.Status, UpdatedAt: r.UpdatedAt}
}

// reply is an answer before a fault has its way with it.
type reply struct {
	status int
	body   any
}

func refuse(status int, format string, args ...any) reply {
	return reply{status, map[string]string{"error": fmt.Sprintf(format, args...)}}
}

// service wraps one operation of the Inventory Service: counted, authorized, subject to the fault in force.
func (s *Simulator) service(operation string, handle func(*http.Request) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fault := s.begin(operation, r)
		defer s.end()
		if s.opts.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.opts.Token {
			send(w, refuse(http.StatusUnauthorized, "a bearer token is needed"))
			return
		}
		fault.serve(w, r, func() reply { return handle(r) })
	}
}

func (s *Simulator) list(r *http.Request) reply {
	raw := r.URL.Query().Get("productVariantIds")
	if raw == "" {
		return refuse(http.StatusBadRequest, "productVariantIds is missing: allowed is a list of UUIDs separated by commas")
	}
	names := strings.Split(raw, ",")
	if len(names) > maxIDs {
		return refuse(http.StatusBadRequest, "%d productVariantIds: allowed are %d", len(names), maxIDs)
	}
	levels := make([]level, 0, len(names))
	for _, name := range names {
		id, err := uuid.Parse(name)
		if err != nil {
			return refuse(http.StatusBadRequest, "productVariantIds holds %.40q: allowed are UUIDs", name)
		}
		if record, ok := s.Get(id); ok {
			levels = append(levels, levelOf(record))
		}
	}
	return reply{http.StatusOK, levels}
}

func (s *Simulator) one(r *http.Request) reply {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return refuse(http.StatusBadRequest, "the variant is no UUID")
	}
	record, ok := s.Get(id)
	if !ok {
		return refuse(http.StatusNotFound, "no inventory record")
	}
	return reply{http.StatusOK, levelOf(record)}
}

type createRequest struct {
	VariantID         uuid.UUID `json:"productVariantId"`
	InitialQuantity   int64     `json:"initialQuantity"`
	LowStockThreshold int64     `json:"lowStockThreshold"`
}

func (s *Simulator) create(r *http.Request) reply {
	var want createRequest
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return refuse(http.StatusBadRequest, "the body cannot be read")
	}
	if err := json.Unmarshal(body, &want); err != nil {
		return refuse(http.StatusBadRequest, "the body is not an InitializeInventoryRequest: %v", err)
	}
	if want.VariantID == uuid.Nil || want.InitialQuantity < 0 || want.LowStockThreshold < 0 {
		return refuse(http.StatusUnprocessableEntity, "productVariantId is missing, or a quantity negative")
	}
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.keys[key]; ok && key != "" {
		if known.Request != want {
			return refuse(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request")
		}
		s.stats.Replays++
		return reply{http.StatusCreated, known.Answer}
	}
	if _, exists := s.records[want.VariantID]; exists {
		return refuse(http.StatusConflict, "the variant has an inventory record")
	}
	record := Record{
		ID: uuid.New(), VariantID: want.VariantID, Available: want.InitialQuantity, LowStockThreshold: want.LowStockThreshold,
	}
	record.settle(s.opts.Now())
	change := line{Record: &record}
	if key != "" {
		change.Key, change.Idempotent = key, &idempotent{want, record}
	}
	if err := s.journal.write(change); err != nil {
		return refuse(http.StatusInternalServerError, "the record cannot be kept")
	}
	s.records[record.VariantID] = &record
	if key != "" {
		s.keys[key] = *change.Idempotent
	}
	s.stats.Created++
	return reply{http.StatusCreated, record}
}

func send(w http.ResponseWriter, r reply) {
	body, err := json.Marshal(r.body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = w.Write(append(body, '\n'))
}
