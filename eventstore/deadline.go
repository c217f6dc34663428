package eventstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// deadlines bounds every wait for the database: for a connection of the pool, for a statement with
// all its rows, for a batch. A connection that died without a word would otherwise be waited for
// until the kernel gives it up, which takes a quarter of an hour, and with it the locks and
// everything behind them. The driver asks its tracer for the context of each of these, so none can
// be forgotten.
type deadlines struct{ timeout time.Duration }

// pingTimeout is for the look at a connection that was idle: without it a pool of dead connections
// would take a deadline each to be noticed.
const pingTimeout = 2 * time.Second

type (
	unboundedKey struct{}
	cancelKey    struct{}
)

// unbounded returns a context for statements that may take as long as they do, such as migrations.
func unbounded(ctx context.Context) context.Context {
	return context.WithValue(ctx, unboundedKey{}, true)
}

func (d deadlines) begin(ctx context.Context) context.Context {
	if d.timeout == 0 || ctx.Value(unboundedKey{}) != nil {
		return ctx
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

func end(ctx context.Context) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceQueryStart and TraceQueryEnd implement pgx.QueryTracer.
func (d deadlines) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return d.begin(ctx)
}

func (d deadlines) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { end(ctx) }

// TraceBatchStart, TraceBatchQuery and TraceBatchEnd implement pgx.BatchTracer.
func (d deadlines) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return d.begin(ctx)
}

func (d deadlines) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (d deadlines) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) { end(ctx) }

// TraceAcquireStart and TraceAcquireEnd implement pgxpool.AcquireTracer.
func (d deadlines) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return d.begin(ctx)
}

func (d deadlines) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	end(ctx)
}
