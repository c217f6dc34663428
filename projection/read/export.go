package read

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/projection/store"
	"product-service/projection/view"
)

// Export calls each with every movement of a list, the oldest first, and stops at its first error.
// With after it goes on behind that movement, which must be one of the list. A list over all
// products ends at the watermark, as [Reader.Movements] does. It takes as long as the list is, also
// beyond the end of the generation it began in; only ctx bounds it. It returns [ErrBadRange] where
// after is no movement of the list.
func (r *Reader) Export(ctx context.Context, where MovementFilter, after MovementID, each func(*Movement) error) error {
	if after != (MovementID{}) && where.ProductID != uuid.Nil && where.ProductID != after.ProductID {
		return fmt.Errorf("movement %s.%d isn't one of product %s: %w", after.ProductID, after.Version, where.ProductID, ErrBadRange)
	}
	return r.throughout(ctx, func(g store.Generation) (refused bool, err error) {
		err = r.export(ctx, g, where, after, func(row *view.Movement) error {
			after = MovementID{row.Product, row.Version}
			shown := movementOf(row)
			err := each(&shown)
			refused = err != nil
			return err
		})
		return refused, err
	})
}

// throughout reads a list to its end. A generation that is dropped meanwhile has no more rows, or
// fails; its successor has the same rows, and read goes on in it where it was. What refused a row
// is the caller's error, whatever becomes of the generation.
func (r *Reader) throughout(ctx context.Context, read func(store.Generation) (refused bool, err error)) error {
	g, err := r.store.Generation(ctx)
	if err != nil {
		return err
	}
	for {
		refused, err := read(g)
		if refused || (err != nil && ctx.Err() != nil) {
			return err
		}
		switch dropped := r.whole(g)(ctx); {
		case dropped == nil:
			return err
		case !errors.Is(dropped, errDropped):
			return errors.Join(err, dropped)
		}
		m, err := r.store.LoadMeta(ctx)
		if err != nil {
			return err
		}
		if m.Generation == g.Name {
			return errDropped
		}
		g = r.store.GenerationOf(m)
	}
}

var errDropped = errors.New("the generation that is being read has been dropped")

// whole returns a check of whether nothing of a generation has been dropped yet, and so whether
// what was read of it is whole. Reads that end in time need no such check.
func (r *Reader) whole(g store.Generation) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := r.store.LoadCheckpoints(ctx, g.Name)
		if errors.Is(err, mongo.ErrNoDocuments) {
			err = errDropped
		}
		return err
	}
}

// export goes through a list in one generation.
func (r *Reader) export(ctx context.Context, g store.Generation, where MovementFilter, after MovementID, each func(*view.Movement) error) error {
	s, err := r.keyRange(ctx, g, where)
	if err != nil {
		return err
	}
	if s.source != nil {
		s.watch(r.whole(g))
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
func (r *Reader) exportKey(ctx context.Context, g store.Generation, s keyRange, id MovementID) (string, error) {
	d, ok, err := r.shown(ctx, g, id.ProductID)
	if err != nil {
		return "", err
	}
	var row view.Movement
	if ok = ok && id.Version >= d.Since && id.Version <= d.Version; ok {
		history, err := r.stream(g, id.ProductID, &d)
		if err != nil {
			return "", err
		}
		if row, ok, err = history.at(ctx, id.Version); err != nil {
			return "", err
		}
	}
	if !ok || !row.Type.Visible() {
		return "", fmt.Errorf("there is no movement %s.%d: %w", id.ProductID, id.Version, ErrBadRange)
	}
	return s.key(&row), nil
}
