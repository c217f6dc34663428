package view

import (
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// Entry is what the projector knows of a product: its document as it will be written, and what the database holds of it.
type Entry struct {
	Doc       Document
	Loaded    int64  // the position the document has in the database; -1 where it isn't there
	Catalogue bool   // more than the stock changed since
	Changed   bool   // anything did
	Ended     []Hour // since, in order
	Blocks    []Block
	Cost      int
}

// NewEntry is the entry of a product of which nothing is folded, and nothing is in the database.
func NewEntry(id uuid.UUID) *Entry { return &Entry{Doc: Document{ID: id.String()}, Loaded: -1} }

// Written notes that the database holds what the entry holds.
func (e *Entry) Written() {
	e.Catalogue, e.Changed, e.Ended, e.Blocks = false, false, nil, nil
	if e.Doc.Version > 0 {
		e.Loaded = e.Doc.Pos
	}
	e.Cost = e.Doc.size()
}

// Fold adds a row to the entry, and returns the movement it makes, if it makes one.
func (e *Entry) Fold(r eventstore.Record, event product.Event) (m Movement, ok bool, err error) {
	if _, cancelled := event.(product.ReservationCancelled); cancelled {
		m = NewMovement(&e.Doc, r, event)
		return m, true, e.keep(&m)
	}
	catalogue, changed := e.Doc.fold(r, event)
	e.Catalogue, e.Changed = e.Catalogue || catalogue, e.Changed || changed
	if r.Version == 0 {
		return Movement{}, false, nil
	}
	m = NewMovement(&e.Doc, r, event)
	if m.Type.Visible() {
		if h := e.Doc.Hour; h.Movements > 0 && h.Number != m.At/MicrosPerHour {
			e.Ended = append(e.Ended, h)
			e.Doc.Hour = Hour{}
		}
		e.Doc.Hour = e.Doc.Hour.Add(&m)
	}
	return m, true, e.keep(&m)
}

// keep adds a movement to the product's tail, or to the blocks that are to be written.
func (e *Entry) keep(m *Movement) error {
	packed := m.Pack(e.Doc.Tail)
	var id string
	switch {
	case m.Type == Cancelled:
		packed, id = m.Pack(nil), CancelledID(e.Doc.ID, m.Pos)
	case m.Version%BlockSize == 0:
		id = MovementID(e.Doc.ID, BlockStart(m.Version))
		e.Doc.Tail = nil
	default:
		e.Doc.Tail = packed
		return nil
	}
	b, err := NewBlock(id, m.Product, packed)
	if err != nil {
		return err
	}
	e.Blocks = append(e.Blocks, b)
	return nil
}
