package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

var (
	// errUndecodable marks an answer that isn't what the service promises; the breaker counts it as a failure.
	errUndecodable = errors.New("undecodable answer")
	errTooLarge    = errors.New("answer exceeds INVENTORY_MAX_BODY")
)

// item is one level as the service writes it. Pointers tell a missing field from a zero.
type item struct {
	VariantID *uuid.UUID `json:"productVariantId"`
	Available *int64     `json:"availableQuantity"`
	Status    Status     `json:"status"`
	UpdatedAt *time.Time `json:"updatedAt"`
}

// level checks the item and turns it into a Level without times of ours.
func (i item) level() (Level, error) {
	switch {
	case i.VariantID == nil:
		return Level{}, errors.New("productVariantId is missing")
	case i.Available == nil || *i.Available < 0:
		return Level{}, errors.New("availableQuantity is missing or negative: allowed is a whole number from 0")
	case !i.Status.known():
		return Level{}, fmt.Errorf("status is %.40q: allowed are IN_STOCK, LOW_STOCK and OUT_OF_STOCK", string(i.Status))
	case i.UpdatedAt == nil || i.UpdatedAt.IsZero():
		return Level{}, errors.New("updatedAt is missing: allowed is an RFC 3339 time")
	}
	return Level{VariantID: *i.VariantID, Available: *i.Available, Status: i.Status, UpdatedAt: i.UpdatedAt.UTC(), Source: Live}, nil
}

// answer is what one call said about the variants it asked for.
type answer struct {
	levels map[uuid.UUID]Level
	faulty map[uuid.UUID]error // items that name their variant and cannot be read otherwise
	// nameless is set when an item doesn't even name its variant: then a variant that wasn't found may be that one,
	// and its absence is not known.
	nameless error
}

// decodeList reads the body of GET /inventory?productVariantIds=. One bad item spoils its own variant only; variants
// nobody asked for are left out by the caller; of two items for a variant the newer counts. Items none of which can be
// read are no list of levels.
func decodeList(body []byte) (answer, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return answer{}, fmt.Errorf("%w: not a list: %w", errUndecodable, err)
	}
	if raw == nil {
		return answer{}, fmt.Errorf("%w: null instead of a list", errUndecodable)
	}
	a := answer{levels: make(map[uuid.UUID]Level, len(raw))}
	for _, text := range raw {
		a.add(text)
	}
	if len(raw) > 0 && len(a.levels) == 0 {
		_, _, err := decodeItem(raw[0])
		return answer{}, fmt.Errorf("none of %d items can be read, the first: %w", len(raw), err)
	}
	return a, nil
}

func (a *answer) add(text json.RawMessage) {
	level, id, err := decodeItem(text)
	switch {
	case err == nil:
		if held, ok := a.levels[id]; !ok || level.UpdatedAt.After(held.UpdatedAt) {
			a.levels[id] = level
		}
	case id == uuid.Nil:
		a.nameless = err
	default:
		if a.faulty == nil {
			a.faulty = map[uuid.UUID]error{}
		}
		a.faulty[id] = err
	}
}

// decodeItem reads one level; when that fails it still returns the variant's id if the item names it.
func decodeItem(text []byte) (Level, uuid.UUID, error) {
	var parsed item
	err := json.Unmarshal(text, &parsed)
	if err == nil {
		level, err := parsed.level()
		if err == nil {
			return level, level.VariantID, nil
		}
		return Level{}, idOf(parsed.VariantID), fmt.Errorf("%w: %w", errUndecodable, err)
	}
	var name struct {
		VariantID *uuid.UUID `json:"productVariantId"`
	}
	if json.Unmarshal(text, &name) != nil {
		return Level{}, uuid.Nil, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return Level{}, idOf(name.VariantID), fmt.Errorf("%w: %w", errUndecodable, err)
}

func idOf(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

// decodeOne reads the body of GET /inventory/{id}, which must be about that variant.
func decodeOne(body []byte, want uuid.UUID) (Level, error) {
	level, id, err := decodeItem(body)
	if err != nil {
		return Level{}, err
	}
	if id != want {
		return Level{}, fmt.Errorf("%w: it is about another variant", errUndecodable)
	}
	return level, nil
}

// decodeCreated reads the answer to a creation. That it names the variant is what tells the service from a gateway that
// answers for it; a record whose level cannot be read is made all the same, and has a zero Level here.
func decodeCreated(body []byte, want uuid.UUID) (Level, error) {
	level, id, err := decodeItem(body)
	if id != want {
		return Level{}, fmt.Errorf("%w: it is not the record of this variant", errUndecodable)
	}
	if err != nil {
		return Level{}, nil
	}
	return level, nil
}
