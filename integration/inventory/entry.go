package inventory

import (
	"time"

	"github.com/google/uuid"
)

// entry is one immutable piece of knowledge about a variant.
type entry struct {
	level Level // the last known one; without a meaning unless known
	known bool

	askedAt time.Time // when the latest answer was asked for (zero: there was none)
	newest  time.Time // the latest UpdatedAt of all that was learnt: an event that isn't later is old news

	// The service answered that it has no record: to what was asked first, and last, since it said
	// otherwise (zero: it has one). While a level is known the absence is in doubt; once it is confirmed
	// no level is known any more.
	absentSince, absentAt time.Time

	changed  time.Time // an event of this time said "changed" without saying to what (zero: none)
	askSince time.Time // when that event came in: an answer asked for later clears it
}

// doubtful says that a level is known which the service, asked once since, said it has no record of.
func (e *entry) doubtful() bool { return e.known && !e.absentAt.IsZero() }

// since is the time of the newest fact that the entry holds.
func (e *entry) since() time.Time { return later(e.newest, e.absentAt) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// mergeAnswer gives what is known after an answer with a level. What the service says now is what it has:
// of two answers the one asked for later counts, whatever their UpdatedAt. Against the level of an event
// UpdatedAt decides. An answer that is older than that event still confirms it: the service, asked just
// now, has nothing newer.
func mergeAnswer(cur *entry, level Level, askedAt time.Time) *entry {
	if cur == nil {
		return &entry{level: level, known: true, askedAt: askedAt, newest: level.UpdatedAt}
	}
	if askedAt.Before(cur.askedAt) {
		return cur
	}
	next := *cur
	next.askedAt, next.newest, next.known = askedAt, later(cur.newest, level.UpdatedAt), true
	next.absentSince, next.absentAt = time.Time{}, time.Time{}
	if !askedAt.Before(cur.askSince) || level.UpdatedAt.After(cur.changed) {
		next.changed, next.askSince = time.Time{}, time.Time{}
	}
	if !cur.known || cur.level.Source != FromEvent || !level.UpdatedAt.Before(cur.level.UpdatedAt) {
		next.level = level
		return &next
	}
	next.level.FetchedAt = later(cur.level.FetchedAt, level.FetchedAt)
	if level.sameStock(cur.level) {
		next.level.Source = level.Source
	}
	return &next
}

// mergeAbsence gives what is known after the service answered that it has no record. It takes a second
// such answer, asked for at least confirmAfter later, to let go of a level.
func mergeAbsence(cur *entry, id uuid.UUID, askedAt time.Time, confirmAfter time.Duration) *entry {
	if cur == nil {
		return &entry{level: Level{VariantID: id}, askedAt: askedAt, absentSince: askedAt, absentAt: askedAt}
	}
	if askedAt.Before(cur.askedAt) {
		return cur
	}
	next := *cur
	next.askedAt, next.absentAt = askedAt, askedAt
	if cur.absentAt.IsZero() {
		next.absentSince = askedAt
	}
	if !askedAt.Before(cur.askSince) {
		next.changed, next.askSince = time.Time{}, time.Time{}
	}
	if askedAt.Sub(next.absentSince) >= confirmAfter {
		next.level, next.known = Level{VariantID: id}, false
	}
	return &next
}

// mergeEvent gives what is known after an event stated a level: an event counts if it is newer than all
// that was learnt.
func mergeEvent(cur *entry, level Level) *entry {
	if cur == nil {
		return &entry{level: level, known: true, newest: level.UpdatedAt}
	}
	if !level.UpdatedAt.After(cur.since()) {
		return cur
	}
	next := *cur
	next.level, next.known, next.newest = level, true, level.UpdatedAt
	next.level.FetchedAt = later(cur.level.FetchedAt, level.FetchedAt)
	next.absentSince, next.absentAt = time.Time{}, time.Time{}
	if level.UpdatedAt.After(cur.changed) {
		next.changed, next.askSince = time.Time{}, time.Time{}
	}
	return &next
}

// mergeStored gives what is known with the durable level: it fills a gap, and an absence that was
// answered before it was looked for is in doubt then.
func mergeStored(cur *entry, level Level) *entry {
	switch {
	case cur == nil:
		return &entry{level: level, known: true, newest: level.UpdatedAt}
	case cur.known:
		return cur
	}
	next := *cur
	next.level, next.known, next.newest = level, true, later(cur.newest, level.UpdatedAt)
	return &next
}

// mergeChanged gives what is known after an event said, at a time, that something has changed, and came
// in at now.
func mergeChanged(cur *entry, at, now time.Time) *entry {
	if cur == nil || !at.After(later(cur.since(), cur.changed)) {
		return cur
	}
	next := *cur
	next.changed, next.askSince = at, now
	return &next
}
