package projectiontest

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/projection/store"
	"product-service/projection/view"
)

// packedShape is the last shape of the documents in which movements and hours were packed.
const packedShape = 4

// Pack turns generation 1 into what the release before plain documents had stored: movements and hours
// as binary data, days by their numbers, and none of the fields that came later.
func Pack(t *testing.T, s *store.Store) {
	t.Helper()
	JoinBlocks(t, s)
	type raw struct {
		ID      string               `bson:"_id"`
		Product string               `bson:"product"`
		Rows    view.Rows            `bson:"rows"`
		Tail    view.Rows            `bson:"tail"`
		Hour    view.Span            `bson:"hour"`
		Date    time.Time            `bson:"day"`
		Hours   map[string]view.Hour `bson:"hours"`
	}
	rewrite := func(collection string, dropped []string, change func(raw) bson.D) {
		for _, d := range Stored[raw](t, s, collection, bson.D{}) {
			update := bson.D{{Key: "$set", Value: change(d)}}
			if len(dropped) > 0 {
				unset := bson.D{}
				for _, field := range dropped {
					unset = append(unset, bson.E{Key: field, Value: ""})
				}
				update = append(update, bson.E{Key: "$unset", Value: unset})
			}
			result, err := s.Database().Collection(collection).UpdateOne(t.Context(), store.ByID(d.ID), update)
			if err != nil || result.ModifiedCount != 1 {
				t.Fatal(result, err)
			}
		}
	}
	g := s.Collections("1")
	rewrite(g.Products.Name(), []string{"sinceAt", "today", "idleDaysBefore"}, func(d raw) bson.D {
		hour := view.Hour{Bucket: d.Hour.Bucket, Number: d.Hour.Start / view.SecondsPerHour}
		return bson.D{{Key: "tail", Value: packRows(t, d.Tail, uuid.MustParse(d.ID), false)}, {Key: "hour", Value: PackHour(hour)}}
	})
	rewrite(g.Movements.Name(), nil, func(d raw) bson.D {
		return bson.D{{Key: "rows", Value: packRows(t, d.Rows, uuid.MustParse(d.Product), false)}}
	})
	rewrite(g.Journal.Name(), nil, func(d raw) bson.D {
		return bson.D{{Key: "rows", Value: packRows(t, d.Rows, uuid.Nil, true)}}
	})
	rewrite(g.Days.Name(), []string{"sums", "name", "idleDaysBefore"}, func(d raw) bson.D {
		hours := bson.D{}
		for key, hour := range d.Hours {
			hours = append(hours, bson.E{Key: key, Value: PackHour(hour)})
		}
		return bson.D{{Key: "day", Value: d.Date.Unix() / view.SecondsPerDay}, {Key: "hours", Value: hours}}
	})
	if err := g.Months.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	SetMeta(t, s, bson.D{{Key: "schema", Value: packedShape}})
}

func packRows(t *testing.T, rows view.Rows, product uuid.UUID, ofSeveral bool) bson.Binary {
	t.Helper()
	movements, err := rows.Movements(product)
	if err != nil {
		t.Fatal(err)
	}
	packed := []byte{}
	for i := range movements {
		if ofSeveral {
			packed = append(packed, movements[i].Product[:]...)
		}
		packed = PackMovement(packed, &movements[i])
	}
	return bson.Binary{Data: packed}
}

var packedTypes = []view.MovementType{view.Initial, view.Adjusted, view.Reserved, view.Released, view.Expired, view.Renewed, view.Cancelled, view.Other}

// PackMovement appends a movement as it was packed.
func PackMovement(b []byte, m *view.Movement) []byte {
	kind := byte(slices.Index(packedTypes, m.Type))
	if m.Reservation != uuid.Nil {
		kind |= 0x80
	}
	b = append(b, kind)
	for _, n := range []int64{m.Version, m.Pos, m.At, m.Quantity, m.Delta, m.Total, m.Reserved, m.Held, m.ExpiresAt} {
		b = binary.AppendVarint(b, n)
	}
	b = append(b, m.Command[:]...)
	if m.Reservation != uuid.Nil {
		b = append(b, m.Reservation[:]...)
	}
	for _, s := range []string{m.Saga, m.Reason, m.Correlation} {
		if id, err := uuid.Parse(s); err == nil && len(s) == 36 && id.String() == s {
			b = append(append(b, 1), id[:]...)
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(s))<<1), s...)
	}
	return b
}

// PackHour is an hour as it was packed.
func PackHour(h view.Hour) bson.Binary {
	packed := []byte{}
	for _, n := range []int64{h.Number, h.Opening, h.Closing, h.Min, h.Max, h.Reserved, h.Released, h.Adjusted, h.Movements} {
		packed = binary.AppendVarint(packed, n)
	}
	return bson.Binary{Data: packed}
}
