package view

import (
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// What is written with each page is encoded by hand, field by field as the structs have them: the
// driver's reflection takes several times as long. What is read seldom, and products that are made
// or whose catalogue part changes, are left to the driver.

// roomBeside is about what a block, a segment or an update takes beside its rows.
const roomBeside = 1024

// MarshalBSON implements [bson.Marshaler].
func (b Block) MarshalBSON() ([]byte, error) {
	start, to := bsoncore.AppendDocumentStart(make([]byte, 0, b.Rows.size()+roomBeside))
	to = bsoncore.AppendStringElement(to, "_id", b.ID)
	to = bsoncore.AppendStringElement(to, "product", b.Product)
	to = bsoncore.AppendInt64Element(to, "from", b.From)
	to = appendCounts(to, b.Counts)
	to = appendText(to, "rare", b.Rare)
	if len(b.Reservations) > 0 {
		var list int32
		list, to = bsoncore.AppendArrayElementStart(to, "reservations")
		for i, short := range b.Reservations {
			to = bsoncore.AppendInt64Element(to, arrayKey(i), short)
		}
		to, _ = bsoncore.AppendArrayEnd(to, list) // it fails only for a start behind the end
	}
	return endWithRows(to, start, b.Rows)
}

// MarshalBSON implements [bson.Marshaler].
func (s *Segment) MarshalBSON() ([]byte, error) {
	start, to := bsoncore.AppendDocumentStart(make([]byte, 0, s.Rows.size()+roomBeside))
	to = bsoncore.AppendStringElement(to, "_id", s.ID)
	to = bsoncore.AppendInt64Element(to, "last", s.Last)
	to = bsoncore.AppendStringElement(to, "order", s.Order)
	to = appendCounts(to, s.Counts)
	to = appendText(to, "rare", s.Rare)
	return endWithRows(to, start, s.Rows)
}

func endWithRows(to []byte, start int32, rows Rows) ([]byte, error) {
	to, err := rows.appendTo(bsoncore.AppendHeader(to, bsoncore.TypeArray, "rows"))
	if err != nil {
		return nil, err
	}
	return bsoncore.AppendDocumentEnd(to, start)
}

// appendCounts writes how many movements there are of each type that there are any of.
func appendCounts(to []byte, counts map[MovementType]int64) []byte {
	start, to := bsoncore.AppendDocumentElementStart(to, "counts")
	for _, t := range MovementTypes {
		if n := counts[t]; n != 0 {
			to = bsoncore.AppendInt64Element(to, string(t), n)
		}
	}
	to, _ = bsoncore.AppendDocumentEnd(to, start)
	return to
}

// Guard matches the product in the state in which it was loaded.
func (e *Entry) Guard() bson.Raw {
	start, to := bsoncore.AppendDocumentStart(make([]byte, 0, 96))
	to = bsoncore.AppendStringElement(to, "_id", e.Doc.ID)
	to = bsoncore.AppendInt64Element(to, "pos", e.Loaded)
	to = bsoncore.AppendInt64Element(to, "rev", e.Doc.Rev)
	to, _ = bsoncore.AppendDocumentEnd(to, start)
	return to
}

// StockUpdate is the update of what stock events changed, with the guard's new state. Where the
// server can append, the tail is only added to: it is most of the document.
func (e *Entry) StockUpdate(appends bool) (bson.Raw, error) {
	tail := e.Doc.Tail
	added := appends && !e.begun
	if added {
		tail = tail[e.kept:]
	}
	start, to := bsoncore.AppendDocumentStart(make([]byte, 0, tail.size()+roomBeside))
	set, to := bsoncore.AppendDocumentElementStart(to, "$set")
	to, err := e.Doc.appendStock(to)
	if err == nil && !added {
		to, err = tail.appendTo(bsoncore.AppendHeader(to, bsoncore.TypeArray, "tail"))
	}
	if err != nil {
		return nil, err
	}
	to, _ = bsoncore.AppendDocumentEnd(to, set)
	if added && len(tail) > 0 {
		var push, field int32
		push, to = bsoncore.AppendDocumentElementStart(to, "$push")
		field, to = bsoncore.AppendDocumentElementStart(to, "tail")
		if to, err = tail.appendTo(bsoncore.AppendHeader(to, bsoncore.TypeArray, "$each")); err != nil {
			return nil, err
		}
		to, _ = bsoncore.AppendDocumentEnd(to, field)
		to, _ = bsoncore.AppendDocumentEnd(to, push)
	}
	to, _ = bsoncore.AppendDocumentEnd(to, start)
	return to, nil
}

// appendStock writes the part of the document that stock events change, but for the tail.
func (d *Document) appendStock(to []byte) ([]byte, error) {
	for _, f := range [...]struct {
		name string
		n    int64
	}{
		{"pos", d.Pos},
		{"version", d.Version},
		{"total", d.Total},
		{"reserved", d.Reserved},
		{"available", d.Available},
		{"updatedAt", d.UpdatedAt},
		{"asOf", d.AsOf},
		{"idleDaysBefore", d.IdleDays},
	} {
		to = bsoncore.AppendInt64Element(to, f.name, f.n)
	}
	to = bsoncore.AppendStringElement(to, "stockStatus", d.StockStatus)
	to = bsoncore.AppendInt32Element(to, "stockRank", d.StockRank)
	to = bsoncore.AppendBooleanElement(to, "isOrderable", d.Orderable)
	for _, f := range [...]struct {
		name string
		span *Span
	}{{"hour", &d.Hour}, {"today", &d.Today}} {
		kind, value, err := f.span.MarshalBSONValue()
		if err != nil {
			return nil, err
		}
		to = append(bsoncore.AppendHeader(to, bsoncore.Type(kind), f.name), value...)
	}
	return to, nil
}
