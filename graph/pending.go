package graph

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"product-service/product"
	"product-service/projection"
)

type (
	pRange struct {
		First, Last   int
		After, Before string
		Count         bool
	}
	pFilter struct {
		Search                     string
		StockStatus                product.StockStatus
		Orderable                  *bool
		AvailableGTE, AvailableLTE *int64
		UpdatedGTE, UpdatedLTE     *time.Time
		IDs                        []uuid.UUID
	}
	pOrder struct {
		Field      string
		Descending bool
	}
	pInfo struct {
		HasNext, HasPrevious bool
		Total                int64
	}
	pEdge[T any] struct {
		Cursor string
		Node   T
	}
	pPage[T any] struct {
		Edges []pEdge[T]
		pInfo
	}
	pMovement struct {
		ProductID                                   uuid.UUID
		Version                                     int64
		Type                                        string
		Quantity, Delta, Total, Reserved, Available int64
		ReservationID                               uuid.UUID
		SagaID, Reason                              string
		CommandID                                   uuid.UUID
		CorrelationID                               string
		OccurredAt                                  time.Time
	}
	pMovementFilter struct {
		ProductID uuid.UUID
		From, To  time.Time
		Types     []string
	}
	pReservation struct {
		ProductID, ID                   uuid.UUID
		Quantity, Held                  int64
		State                           product.ReservationState
		ExpiresAt, CreatedAt, UpdatedAt time.Time
	}
	pBucket struct {
		Start, End                                                                                  time.Time
		Opening, Closing, Min, Max, ReservedQuantity, ReleasedQuantity, AdjustedQuantity, Movements int64
	}
)

var (
	errBadCursor = errors.New("bad cursor")
)

type Lists interface {
	Page(ctx context.Context, where pFilter, order pOrder, page pRange) (pPage[*projection.Product], error)
}

type Histories interface {
	Movements(ctx context.Context, where pMovementFilter, page pRange) (pPage[*pMovement], error)
	Movement(ctx context.Context, productID uuid.UUID, version int64) (*pMovement, error)
	Reservation(ctx context.Context, productID, reservationID uuid.UUID) (*pReservation, error)
	StockAt(ctx context.Context, productID uuid.UUID, at time.Time) (*projection.Stock, error)
	Timeline(ctx context.Context, productID uuid.UUID, from, to time.Time, interval string) ([]pBucket, error)
}
