package view

import (
	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
)

// Entry is what the projector knows of a product: its document as it will be written, and what the
// database holds of it.
type Entry struct {
	Doc       Document
	Loaded    int64 // the position the document has in the database; -1 where it isn't there
	Catalogue bool  // more than the stock changed since
	Changed   bool  // anything did
	Days      []Day // of which hours ended since, or they themselves, in order
	Blocks    []Block
	Cost      int

	kept  int  // so many bytes of the tail the database holds
	begun bool // the tail began anew since: a block was filled
}

// NewEntry is the entry of a product of which nothing is folded, and nothing is in the database.
func NewEntry(id uuid.UUID) *Entry { return &Entry{Doc: Document{ID: id.String()}, Loaded: -1} }

// Written notes that the database holds what the entry holds.
func (e *Entry) Written() {
	e.Catalogue, e.Changed, e.Days, e.Blocks = false, false, nil, nil
	e.kept, e.begun = len(e.Doc.Tail), false
	if e.Doc.Version > 0 {
		e.Loaded = e.Doc.Pos
	}
	e.Cost = e.Doc.size()
}

// Load takes in the product's document as the database holds it.
func (e *Entry) Load(stored bson.Raw) error {
	if err := bson.Unmarshal(stored, &e.Doc); err != nil {
		return err
	}
	e.Loaded, e.kept = e.Doc.Pos, len(e.Doc.Tail)
	return nil
}

// Fold adds a row to the entry, and returns the movement it makes, if it makes one.
func (e *Entry) Fold(r eventstore.Record, event product.Event) (m Movement, ok bool, err error) {
	switch event := event.(type) {
	case product.ReservationCancelled:
		m = NewMovement(&e.Doc, r, event)
		return m, true, e.keep(&m)
	case product.ReservationFailed, product.RequestsRefused:
		e.refuse(r, product.RequestsRefused{}.Add(event))
		return Movement{}, false, nil
	case product.Updated:
		e.beforeRename(r.At.Unix())
	}
	catalogue, changed := e.Doc.fold(r, event)
	e.Catalogue, e.Changed = e.Catalogue || catalogue, e.Changed || changed
	if r.Version == 0 {
		return Movement{}, false, nil
	}
	m = NewMovement(&e.Doc, r, event)
	if m.Type.Visible() {
		e.advance(r.At.Unix(), m.Total-m.Reserved-m.Delta, m.Type == Initial)
		e.Doc.Hour.add(&m)
		e.Doc.Today.add(&m)
	}
	return m, true, e.keep(&m)
}

// refuse adds requests that were refused for want of stock. Nothing else of the product changes with them.
func (e *Entry) refuse(r eventstore.Record, sum product.RequestsRefused) {
	d := &e.Doc
	if d.Since == 0 || sum.Refusals == 0 {
		return // nobody could see the product, or it was for another reason
	}
	e.advance(r.At.Unix(), d.Available, false)
	for _, s := range []*Span{&d.Hour, &d.Today} {
		s.Refusals += sum.Refusals
		s.Refused += sum.Quantity
	}
	d.Pos, e.Changed = r.Pos, true
}

// beforeRename ends a day that is over, which has the product's name of before. The next row of the
// stock would end it too late, and which one that is depends on what was forgotten of refusals.
func (e *Entry) beforeRename(second int64) {
	if today := e.Doc.Today.Start; today != 0 && second >= today+SecondsPerDay {
		e.advance(second, e.Doc.Available, false)
		e.Changed = true
	}
}

// advance ends the hour and the day that are over, begins those that a second is in, and counts
// what was out of stock up to it. Before it there was so much available, or no product.
func (e *Entry) advance(second, level int64, born bool) {
	d := &e.Doc
	if hour := d.Hour.Start; hour != 0 && second >= hour+SecondsPerHour {
		d.Hour.count(hour + SecondsPerHour)
		ended := Hour{Bucket: d.Hour.Bucket, Number: hour / SecondsPerHour}
		e.day(hour / SecondsPerDay).Hours[ended.Key()] = ended
		d.Hour = Span{}
	}
	if today := d.Today.Start; today != 0 && second >= today+SecondsPerDay {
		d.Today.count(today + SecondsPerDay)
		sums, ended := d.Today.Bucket, e.day(today/SecondsPerDay)
		ended.Sums, ended.Name, ended.Idle = &sums, d.Name, d.IdleDays
		d.IdleDays = (second-today)/SecondsPerDay - 1
		d.Today = Span{}
	}
	d.Hour.begin(second, SecondsPerHour, level, born)
	d.Today.begin(second, SecondsPerDay, level, born)
}

// day is what is to be written of a day.
func (e *Entry) day(number int64) *Day {
	id := DayID(e.Doc.ID, number)
	if n := len(e.Days); n == 0 || e.Days[n-1].ID != id {
		e.Days = append(e.Days, Day{ID: id, Product: e.Doc.ID, Date: Midnight(number), Hours: map[string]Hour{}})
	}
	return &e.Days[len(e.Days)-1]
}

// keep adds a movement to the product's tail, or to the blocks that are to be written.
func (e *Entry) keep(m *Movement) error {
	rows := e.Doc.Tail.Append(m, false)
	var id string
	switch {
	case m.Type == Cancelled:
		rows, id = Rows(nil).Append(m, false), CancelledID(e.Doc.ID, m.Pos)
	case m.Version%BlockSize == 0:
		id = MovementID(e.Doc.ID, BlockStart(m.Version))
		e.Doc.Tail, e.begun = nil, true
	default:
		e.Doc.Tail = rows
		return nil
	}
	b, err := NewBlock(id, m.Product, rows)
	if err != nil {
		return err
	}
	e.Blocks = append(e.Blocks, b)
	return nil
}
