package inventory

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// Status is the Inventory Service's own word for how a level is to be shown.
type Status string

// The statuses that the Inventory Service knows. An item with any other is undecodable.
const (
	InStock    Status = "IN_STOCK"
	LowStock   Status = "LOW_STOCK"
	OutOfStock Status = "OUT_OF_STOCK"
)

func (s Status) known() bool { return s == InStock || s == LowStock || s == OutOfStock }

// Source says where a level that is handed out came from.
type Source string

// The sources of a level.
const (
	Live          Source = "LIVE"           // the service answered during this very read
	Cache         Source = "CACHE"          // an earlier answer, young enough to be served without asking
	StaleFallback Source = "STALE_FALLBACK" // the last known level: the service could not be asked, or not in time
	FromEvent     Source = "EVENT"          // a message of the service, newer than any of its answers
)

// Level is what is known about the stock of one variant. It is a value; nothing shares it.
type Level struct {
	VariantID uuid.UUID
	Available int64
	Status    Status
	UpdatedAt time.Time // when the service says it changed; orders events against answers
	FetchedAt time.Time // when it was last known to hold: the answer's arrival, or an event's own time
	Source    Source
}

// Age is how long ago the level was known to hold, never negative.
func (l Level) Age(now time.Time) time.Duration { return max(0, now.Sub(l.FetchedAt)) }

// Supersedes says whether l is to be kept rather than held, both of one variant. Of two answers the one
// that was fetched later counts, whatever the service stamped them with; between an event and anything
// else UpdatedAt decides.
func (l Level) Supersedes(held Level) bool {
	if l.Source != FromEvent && held.Source != FromEvent {
		return !l.FetchedAt.Before(held.FetchedAt)
	}
	switch c := l.UpdatedAt.Compare(held.UpdatedAt); {
	case c != 0:
		return c > 0
	case l.Source == held.Source:
		return !l.FetchedAt.Before(held.FetchedAt)
	}
	return l.Source != FromEvent
}

func (l Level) sameStock(o Level) bool { return l.Available == o.Available && l.Status == o.Status }

func (l Level) sameFacts(o Level) bool { return l.sameStock(o) && l.UpdatedAt.Equal(o.UpdatedAt) }

// Outcome says which of three things a Result holds.
type Outcome uint8

// The outcomes of reading one variant. The zero Outcome is Unavailable, so that an unfilled Result
// claims nothing.
const (
	Unavailable Outcome = iota // not known and could not be asked; never means 0
	Known                      // Level is set, fresh or stale
	Absent                     // the service answered that it has no record of the variant
)

// String is the outcome's name in logs.
func (o Outcome) String() string {
	switch o {
	case Known:
		return "known"
	case Absent:
		return "absent"
	default:
		return "unavailable"
	}
}

// ErrUnavailable marks a level that is neither known nor could be asked for.
var ErrUnavailable = errors.New("inventory unavailable")

// Result is the answer for one variant of a read.
type Result struct {
	Level   Level   // set when Outcome is Known
	Outcome Outcome // what this result holds
	Stale   bool    // the level is older than Config.Fresh (RFC 5861 calls such an answer stale)
	Err     error   // when Unavailable: wraps ErrUnavailable and the cause
}
