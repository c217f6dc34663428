package store

import "time"

// Times are those of a change from one generation to another. Each is longer than the one before it.
type Times struct {
	Look   time.Duration // how long a process reads a generation without looking which one is named
	Change time.Duration // how long after the last look that found it named a process reads an old generation at most
	Lock   time.Duration // how long an interrupted rebuild keeps its lock: nobody else drops what is still read
}

var defaultTimes = Times{Look: time.Second, Change: 5 * time.Second, Lock: 15 * time.Second}

// phase is how far a process is in a change from one generation to another.
type phase string

const (
	// steady: one generation is named, and this process reads and feeds it.
	steady phase = "steady"
	// turning: another one is named. This process feeds it and reads the old one, which is complete
	// as long as owners of shards add to it.
	turning phase = "turning"
	// takenOver: the owner of every shard feeds the new one, and it holds all that the old one ever
	// will. This process reads and feeds it.
	takenOver phase = "taken over"
	// overdue: some owner hasn't turned for too long. This process reads and feeds the new one,
	// because the old one is about to be dropped.
	overdue phase = "overdue"
)

// known is what a process knows of the generations from one look to the next.
type known struct {
	read Meta      // the generation it reads
	at   time.Time // when the last look began that found this one named; the zero time: there was none
}

// fresh says whether it is known well enough to read without a look. It never is in a change: then
// every read looks for itself.
func (k known) fresh(now time.Time, t Times) bool { return now.Sub(k.at) < t.Look }

// sighting is what a look finds.
type sighting struct {
	at        time.Time // when it began: a slow answer is old when it comes
	named     Meta
	takenOver bool // where another generation than the one read is named: whether the owners of all shards have left that for it
}

// after says what is known after a look, and in which phase the process is.
func (k known) after(s sighting, t Times) (known, phase) {
	next := known{read: s.named, at: s.at}
	switch {
	case k.read.Generation == "" || k.read.Generation == s.named.Generation:
		return next, steady
	case s.takenOver:
		return next, takenOver
	case s.at.Sub(k.at) >= t.Change:
		return next, overdue
	default:
		return k, turning
	}
}

// isTakenOver says whether the owner of every shard has left an old generation for a new one that
// holds all that the old one shows. When a projector has read a shard to its end in the new
// generation its checkpoint there says so, under the epoch of the lease: it must be that of the
// last who fed the old one, or a later one.
func isTakenOver(old, next map[int16]Checkpoint) bool {
	for n, was := range old {
		if is := next[n]; is.CaughtUp < was.Epoch || is.Complete < was.Complete {
			return false
		}
	}
	return true
}
