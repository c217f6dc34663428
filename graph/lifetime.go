package graph

import (
	"context"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/integration/inventory"
)

// lifetime is how long the answer to a request holds: as long as the claim in it that holds shortest.
type lifetime struct {
	mu   sync.Mutex
	left time.Duration
}

type lifetimeKey struct{}

// withLifetime returns a context in which [claim] shortens the lifetime of a request's answer. The
// lifetime is at most the one given.
func withLifetime(ctx context.Context, most time.Duration) (context.Context, *lifetime) {
	l := &lifetime{left: most}
	return context.WithValue(ctx, lifetimeKey{}, l), l
}

// claim bounds the lifetime of the answer that is being made: something in it holds no longer than
// this. Without a lifetime in the context it does nothing.
func claim(ctx context.Context, holds time.Duration) {
	if l, ok := ctx.Value(lifetimeKey{}).(*lifetime); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.left = min(l.left, holds)
	}
}

func (l *lifetime) lasts() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left
}

// agingLevels are levels that say how long each holds: a fresh one until it isn't fresh any more,
// or is older than the caller admits; one that is stale, unknown or absent not at all, for the next
// moment may know better.
type agingLevels struct {
	reader Levels
	fresh  time.Duration
}

// Levels implements [Levels].
func (l agingLevels) Levels(ctx context.Context, ids []uuid.UUID, maxStaleness time.Duration) []inventory.Result {
	results := l.reader.Levels(ctx, ids, maxStaleness)
	if ctx.Value(lifetimeKey{}) == nil {
		return results
	}
	most, now := l.fresh, time.Now()
	if maxStaleness > 0 {
		most = min(most, maxStaleness)
	}
	for i := range results {
		if r := &results[i]; r.Outcome == inventory.Known && !r.Stale {
			claim(ctx, most-r.Level.Age(now))
		} else {
			claim(ctx, 0)
		}
	}
	return results
}

// claimClocks notes where an operation selects what changes by itself from one second to the next:
// an age can't be kept. Its document is bounded, so that no fragment makes this long.
func claimClocks(ctx context.Context, op *graphql.OperationContext) {
	if ctx.Value(lifetimeKey{}) != nil && selectsClock(op.Operation.SelectionSet) {
		claim(ctx, 0)
	}
}

func selectsClock(selections ast.SelectionSet) bool {
	for _, selection := range selections {
		var below ast.SelectionSet
		switch it := selection.(type) {
		case *ast.Field:
			if it.ObjectDefinition != nil && it.ObjectDefinition.Name == "InventoryLevel" && (it.Name == "ageSeconds" || it.Name == "fetchedAt") {
				return true
			}
			below = it.SelectionSet
		case *ast.InlineFragment:
			below = it.SelectionSet
		case *ast.FragmentSpread:
			below = it.Definition.SelectionSet
		}
		if selectsClock(below) {
			return true
		}
	}
	return false
}
