package projection

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// exportBatch is how many rows are asked for at once: what an export holds in memory, however long it is.
const exportBatch = 2000

// exportPiece is how many rows a piece of an export aims at: enough to be worth a query, few enough for a server that sorts all of them first.
const exportPiece = 20_000

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
	if err := s.start(ctx, true); err != nil {
		return fmt.Errorf("find the first movement: %w", err)
	}
	for s.lo < s.hi {
		piece := s
		piece.hi = min(s.hi, s.bound(s.at(s.lo)+s.width+1))
		read, err := piece.stream(ctx, each)
		if err != nil {
			return err
		}
		s.lo = piece.hi
		switch {
		case read < exportPiece/4:
			s.width = min(s.width*4, s.most)
		case read > exportPiece && s.width < s.most:
			s.width = max(1, s.width*exportPiece/int64(read))
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
	var row movement
	m, ok, err := r.Movement(ctx, id.ProductID, id.Version)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", fmt.Errorf("there is no movement %s.%d: %w", id.ProductID, id.Version, ErrBadRange)
	}
	g, err := r.store.generation(ctx)
	if err != nil {
		return "", err
	}
	key := bson.D{{Key: "_id", Value: movementID(m.ProductID.String(), m.Version)}}
	if err := g.movements.FindOne(ctx, key).Decode(&row); err != nil {
		return "", fmt.Errorf("read movement %s.%d: %w", id.ProductID, id.Version, err)
	}
	return s.key(&row), nil
}

// stream calls each with the rows of the piece as they come.
func (s span) stream(ctx context.Context, each func(*Movement) error) (read int, err error) {
	rows, err := s.in.Find(ctx, s.filter(), options.Find().SetSort(bson.D{{Key: s.field, Value: 1}}).SetBatchSize(exportBatch))
	if err != nil {
		return 0, fmt.Errorf("read movements: %w", err)
	}
	defer func() { _ = rows.Close(context.WithoutCancel(ctx)) }()
	for rows.Next(ctx) {
		m, err := decodeMovement(rows.Current)
		if err != nil {
			return read, err
		}
		if err := each(&m); err != nil {
			return read, err
		}
		read++
	}
	if err := rows.Err(); err != nil {
		return read, fmt.Errorf("read movements: %w", err)
	}
	return read, nil
}

// decodeMovement reads a row by hand: reflection would cost more than the rest of an export.
func decodeMovement(row bson.Raw) (m Movement, err error) {
	elements, err := row.Elements()
	if err != nil {
		return m, fmt.Errorf("decode a movement: %w", err)
	}
	for _, e := range elements {
		v := e.Value()
		switch e.Key() {
		case "product":
			m.ProductID, err = uuid.Parse(v.StringValue())
		case "version":
			m.Version = v.AsInt64()
		case "type":
			m.Type = MovementType(v.StringValue())
		case "at":
			m.OccurredAt = time.UnixMicro(v.AsInt64()).UTC()
		case "quantity":
			m.Quantity = v.AsInt64()
		case "delta":
			m.Delta = v.AsInt64()
		case "total":
			m.Total = v.AsInt64()
		case "reserved":
			m.Reserved = v.AsInt64()
		case "reservation":
			m.ReservationID, err = uuid.Parse(v.StringValue())
		case "saga":
			m.SagaID = v.StringValue()
		case "reason":
			m.Reason = v.StringValue()
		case "command":
			m.CommandID, err = uuid.Parse(v.StringValue())
		case "correlation":
			m.CorrelationID = v.StringValue()
		}
		if err != nil {
			return m, fmt.Errorf("decode the %s of a movement: %w", e.Key(), err)
		}
	}
	return m, nil
}
