package inventory

import "time"

// verdict is what the age rules say about one variant at one moment.
type verdict uint8

const (
	ask             verdict = iota // nothing may be served without asking
	askElseStale                   // ask; what is held may be served if that fails
	serve                          // serve what is held
	serveAndRefresh                // serve what is held and ask behind
	serveAbsent                    // the service has no such record
)

// ages are the thresholds of RFC 5861 (stale-while-revalidate, stale-if-error) for levels.
type ages struct {
	fresh, revalidate, staleMax, absentFor time.Duration
}

// within tightens the thresholds to what one reader tolerates; 0 tolerates what the configuration does.
func (a ages) within(maxStaleness time.Duration) ages {
	if maxStaleness > 0 {
		a.fresh = min(a.fresh, maxStaleness)
		a.revalidate = min(a.revalidate, maxStaleness)
		a.staleMax = min(a.staleMax, maxStaleness)
		a.absentFor = min(a.absentFor, maxStaleness)
	}
	return a
}

// judge applies the thresholds: each is the first age at which the next rule holds. e may be nil.
func (a ages) judge(e *entry, now time.Time) verdict {
	if e == nil {
		return ask
	}
	age := e.level.Age(now)
	switch {
	case e.absent && age < a.absentFor && e.changed.IsZero():
		return serveAbsent
	case e.absent || age >= a.staleMax:
		return ask
	case age >= a.revalidate || !e.changed.IsZero():
		return askElseStale
	case age >= a.fresh:
		return serveAndRefresh
	default:
		return serve
	}
}
