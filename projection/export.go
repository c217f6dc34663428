package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Export calls each with every movement of a list, the oldest first, and stops at its first error. With after it goes on behind that
// movement, which must be one of the list. A list over all products ends at the watermark, as [Reader.Movements] does. It takes as long as
// the list is, also beyond the end of the generation it began in; only ctx bounds it. It returns [ErrBadRange] where after is no movement
// of the list.
func (r *Reader) Export(ctx context.Context, where MovementFilter, after MovementID, each func(*Movement) error) error {
	if after != (MovementID{}) && where.ProductID != uuid.Nil && where.ProductID != after.ProductID {
		return fmt.Errorf("movement %s.%d isn't one of product %s: %w", after.ProductID, after.Version, where.ProductID, ErrBadRange)
	}
	for {
		m, err := r.store.loadMeta(ctx)
		if err != nil {
			return err
		}
		var refused error
		err = r.export(ctx, r.store.collections(m.Generation), where, after, func(row *movement) error {
			after = MovementID{row.Product, row.Version}
			shown := row.shown()
			refused = each(&shown)
			return refused
		})
		if refused != nil || (err != nil && ctx.Err() != nil) {
			return err
		}
		// A generation that is dropped while it is read has no more movements, or fails. Its successor has the same.
		switch replaced := r.current(m.Generation)(ctx); {
		case replaced == nil:
			return err
		case !errors.Is(replaced, errReplaced):
			return errors.Join(err, replaced)
		}
	}
}

var errReplaced = errors.New("the generation that is being read has been replaced")

// current returns a check of whether a generation is still the one to read, and so whether what was read of it is whole: it is dropped some time after
// it was replaced. Reads that end in time need no such check.
func (r *Reader) current(generation string) func(context.Context) error {
	return func(ctx context.Context) error {
		m, err := r.store.loadMeta(ctx)
		if err == nil && m.Generation != generation {
			err = errReplaced
		}
		return err
	}
}

// export goes through a list in one generation.
func (r *Reader) export(ctx context.Context, g generation, where MovementFilter, after MovementID, each func(*movement) error) error {
	s, err := r.span(ctx, g, where)
	if err != nil {
		return err
	}
	if s.source != nil {
		s.watch(r.current(g.name))
	}
	if after != (MovementID{}) {
		key, err := r.exportKey(ctx, g, s, after)
		if err != nil {
			return err
		}
		s.lo = max(s.lo, key+"!") // just above it: no key is the beginning of another
	}
	for m, err := range s.walk(ctx, true) {
		if err != nil {
			return err
		}
		if err := each(&m); err != nil {
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
func (r *Reader) exportKey(ctx context.Context, g generation, s span, id MovementID) (string, error) {
	d, ok, err := r.shown(ctx, g, id.ProductID)
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
