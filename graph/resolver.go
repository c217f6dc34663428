package graph

import (
	"context"
	"time"

	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
	"product-service/projection/view"
)

// Services are what the API is built on.
type Services struct {
	Reads    Reads
	Levels   Levels
	Commands Commands

	// LevelsFresh is the age up to which a level is fresh, as Levels has it: so long an answer with
	// one may be kept.
	LevelsFresh time.Duration
	Gate        *Gate

	// Changes and LevelChanges are what subscriptions follow.
	Changes      Changes
	LevelChanges LevelChanges
}

// Reads answers from the projection. What isn't there is false or nil, not an error.
type Reads interface {
	Products
	Lists
	Histories
	Reservations
	Watch
}

// Products reads products and variants by their ids.
type Products interface {
	Product(ctx context.Context, id uuid.UUID) (p read.Product, ok bool, err error)
	ProductsByIDs(ctx context.Context, ids []uuid.UUID) ([]*read.Product, error)
	Variants(ctx context.Context, ids []uuid.UUID) ([]*read.Variant, error)
}

// Lists reads lists page by page. A cursor that isn't one of the list is read.ErrBadCursor.
type Lists interface {
	Products(ctx context.Context, where read.ProductFilter, order read.ProductOrder, page read.Range) (read.Page[read.Product], error)
	Movements(ctx context.Context, where read.MovementFilter, page read.Range) (read.Page[read.Movement], error)
}

// Histories reads what was.
type Histories interface {
	Movement(ctx context.Context, productID uuid.UUID, version int64) (m read.Movement, ok bool, err error)
	StockAt(ctx context.Context, productID uuid.UUID, at time.Time) (s read.Stock, ok bool, err error)
	Timeline(ctx context.Context, productID uuid.UUID, from, to time.Time, every read.Interval) ([]read.Bucket, error)
	Report(ctx context.Context, where read.ReportFilter, order read.ReportOrder, page read.Range) (read.Page[read.ReportRow], error)
}

// Reservations reads reservations.
type Reservations interface {
	Reservation(ctx context.Context, productID, reservationID uuid.UUID) (r read.Reservation, ok bool, err error)
}

// Watch waits for the projection.
type Watch interface {
	// WaitFor returns once the product is projected up to a version; read.ErrNotYet where that
	// takes too long.
	WaitFor(ctx context.Context, id uuid.UUID, version int64) error
}

// Levels reads what the Inventory Service says of variants. The results are in the order of ids;
// they say by themselves which of them failed.
type Levels interface {
	// Levels takes any number of ids. A maxStaleness of 0 leaves it to the reader's own rule.
	Levels(ctx context.Context, ids []uuid.UUID, maxStaleness time.Duration) []inventory.Result
}

// Changes tells of products that reads show otherwise than before.
type Changes interface {
	// Subscribe has each change told from now on, until stop is called, whichever instance made it.
	// No changes stand for any: some may have been missed. changed must not block.
	Subscribe(changed func([]view.Change)) (stop func())
}

// LevelChanges tells of changes of what the Inventory Service says.
type LevelChanges interface {
	// Watch has each change of a variant's level told, after Levels shows it, until stop is called.
	// changed must not block.
	Watch(id uuid.UUID, changed func(inventory.Level)) (stop func())
}

// Commands carries out what mutations ask for.
type Commands interface {
	// Execute returns the product's version after the command, or why it was refused. The same
	// commandID again returns what it returned before.
	Execute(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) (version int64, refusal *product.Refusal, err error)
	// Submit hands a command over and returns how to wait for what Execute would return. Commands
	// about one product are carried out in the order in which they were submitted.
	Submit(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) (wait func() (version int64, refusal *product.Refusal, err error))
}

// Resolver is the root of the generated resolvers.
type Resolver struct {
	services      Services
	scopes        scopes
	subscriptions *subscriptions
}

// NewResolver returns what answers each field, for the generated code. It fails only where the
// schema's scopes can't be read.
func NewResolver(s Services) (*Resolver, error) {
	scopes, err := scopesOf(schemaWithoutDefer())
	return &Resolver{services: s, scopes: scopes}, err
}
