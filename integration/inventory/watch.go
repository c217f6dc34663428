package inventory

import (
	"sync"

	"github.com/google/uuid"
)

// watchers are told of changes of levels, by variant.
type watchers struct {
	mu   sync.RWMutex
	byID map[uuid.UUID]map[*watcher]struct{}
}

type watcher struct{ changed func(Level) }

// Watch has changed called after each change of a variant's level, when Levels shows it already,
// until stop is called. changed must not block and may be called by several at once, so that what
// it is told may be out of order: Levels has the latest. Meanwhile events that only say "changed"
// have the level asked for, and it is held even if nobody reads it. stop may be called more than
// once.
func (r *Reader) Watch(id uuid.UUID, changed func(Level)) (stop func()) {
	w := &watcher{changed}
	r.watchers.add(id, w)
	return func() { r.watchers.remove(id, w) }
}

func (all *watchers) add(id uuid.UUID, w *watcher) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.byID[id] == nil {
		all.byID[id] = map[*watcher]struct{}{}
	}
	all.byID[id][w] = struct{}{}
}

func (all *watchers) remove(id uuid.UUID, w *watcher) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.byID[id], w)
	if len(all.byID[id]) == 0 {
		delete(all.byID, id)
	}
}

func (all *watchers) tell(level Level) {
	all.mu.RLock()
	defer all.mu.RUnlock()
	for w := range all.byID[level.VariantID] {
		w.changed(level)
	}
}

func (all *watchers) wanted(id uuid.UUID) bool {
	all.mu.RLock()
	defer all.mu.RUnlock()
	return len(all.byID[id]) > 0
}
