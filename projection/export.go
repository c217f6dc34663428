package projection

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// exportBatch is how many blocks or segments are asked for at once: with a few more, what a long list holds in memory.
const exportBatch = 100

// Export calls each with every movement of a list, the oldest first, and stops at its first error. With after it goes on behind that
// movement, which must be one of the list. A list over all products ends at the watermark, as [Reader.Movements] does. It takes as long as
// the list is; only ctx bounds it. It returns [ErrBadRange] where after is no movement.
func (r *Reader) Export(ctx context.Context, where MovementFilter, after MovementID, each func(*Movement) error) error {
	s, err := r.span(ctx, where)
	if err != nil {
		return err
	}
	if after != (MovementID{}) {
		key, err := r.exportKey(ctx, s, after)
		if err != nil {
			return err
		}
		s.lo = max(s.lo, key+"!") // just above it: no key is the beginning of another
	}
	for m, err := range s.walk(ctx, true) {
		if err != nil {
			return err
		}
		shown := m.shown()
		if err := each(&shown); err != nil {
			return err
		}
	}
	return nil
}

// MovementID names a movement: the version that it made of its product.
type MovementID struct {
	ProductID uuid.UUID
	Version   int64
}

// exportKey is the place of a movement in the list.
func (r *Reader) exportKey(ctx context.Context, s span, id MovementID) (string, error) {
	g, d, ok, err := r.visible(ctx, id.ProductID)
	if err != nil {
		return "", err
	}
	var row movement
	if ok = ok && id.Version >= d.Since && id.Version <= d.Version; ok {
		history, err := r.stream(g, id.ProductID, &d)
		if err != nil {
			return "", err
		}
		if row, ok, err = history.at(ctx, id.Version); err != nil {
			return "", err
		}
	}
	if !ok || !row.Type.visible() {
		return "", fmt.Errorf("there is no movement %s.%d: %w", id.ProductID, id.Version, ErrBadRange)
	}
	return s.key(&row), nil
}
