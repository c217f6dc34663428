package inventory

import "time"

// verdict is what the age rules say about one variant at one moment.
type verdict uint8

const (
	ask             verdict = iota // nothing may be served without asking
	askElseStale                   // ask; what is held may be served if that fails
	serve                          // serve what is held
	serveAndRefresh                // serve what is held and ask behind
	serveStale                     // serve what is held, marked stale: the service said a moment ago that it has no record
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
	saidAbsent := !e.absentAt.IsZero() && max(0, now.Sub(e.absentAt)) < a.absentFor && e.changed.IsZero()
	switch {
	case !e.known || age >= a.staleMax:
		if saidAbsent {
			return serveAbsent
		}
		return ask
	case saidAbsent:
		return serveStale
	case age >= a.revalidate || e.doubtful() || !e.changed.IsZero():
		return askElseStale
	case age >= a.fresh:
		return serveAndRefresh
	default:
		return serve
	}
}

// mayServe says whether what is held may be shown at all.
func (a ages) mayServe(e *entry, now time.Time) bool {
	verdict := a.judge(e, now)
	return verdict != ask && verdict != serveAbsent
}
