// Package view says what the documents of the read model are, and folds events into them. It does
// no I/O and reads no clock.
//
// An [Entry] is the fold of one product: its document, the movements that fill a block, and the
// hours that have ended. The same rows make the same documents, wherever they are cut into pages:
// that is why two projectors may write the same page.
//
// Not obvious: times are microseconds since 1970, because a BSON date holds only milliseconds. A
// block and an ended hour never change again, so that whoever writes them needs no guard.
package view

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"product-service/eventstore"
	"product-service/product"
)

// Document is a product as it is stored. Times are microseconds since 1970, as exact as the log's:
// a BSON date holds only milliseconds.
type Document struct {
	ID  string `bson:"_id"`
	Pos int64  `bson:"pos"` // of the last row folded in
	Rev int64  `bson:"rev"` // how often it was folded anew; with Pos it says which state this is

	Version     int64     `bson:"version"`
	Status      string    `bson:"status"`
	Since       int64     `bson:"since"`   // the version its visible history begins with
	SinceAt     int64     `bson:"sinceAt"` // when that was
	Name        string    `bson:"name"`
	SortName    string    `bson:"sortName"`
	Description string    `bson:"description"`
	Words       []string  `bson:"words"`
	Threshold   int64     `bson:"lowStockThreshold"`
	Total       int64     `bson:"total"`
	Reserved    int64     `bson:"reserved"`
	Available   int64     `bson:"available"`
	StockStatus string    `bson:"stockStatus"`
	StockRank   int32     `bson:"stockRank"` // STOCK_STATUS in the order of the enum's meaning: none, low, plenty
	Orderable   bool      `bson:"isOrderable"`
	Variants    []Variant `bson:"variants"`
	CreatedAt   int64     `bson:"createdAt"`
	UpdatedAt   int64     `bson:"updatedAt"`
	AsOf        int64     `bson:"asOf"`           // when the last event of the stream was: those of the Inventory Service make no version
	Hour        Span      `bson:"hour"`           // the last in which something happened; those before are in its days
	Today       Span      `bson:"today"`          // the last day in which something happened
	IdleDays    int64     `bson:"idleDaysBefore"` // how many whole days before that nothing happened in
	Tail        Rows      `bson:"tail"`           // the movements that don't fill a block yet
}

// Variant is a variant as it is stored in its product.
type Variant struct {
	ID         string      `bson:"id"`
	SKU        string      `bson:"sku"`
	Name       string      `bson:"name"`
	Attributes []Attribute `bson:"attributes,omitempty"`
	Hidden     bool        `bson:"hidden,omitempty"` // unconfirmed
	Record     bool        `bson:"record"`           // the Inventory Service has one
	Event      string      `bson:"event,omitempty"`  // the type of its latest inventory event
	EventAt    int64       `bson:"eventAt,omitempty"`
	Orderable  bool        `bson:"isOrderable"`
}

// Attribute is a name and a value of a variant.
type Attribute struct {
	Name  string `bson:"name"`
	Value string `bson:"value"`
}

// The statuses of a document. Only active ones are shown.
const (
	Pending   = "PENDING"
	Active    = "ACTIVE"
	Discarded = "DISCARDED"
)

var (
	statuses = map[product.Status]string{product.StatusPending: Pending, product.StatusActive: Active, product.StatusDiscarded: Discarded}
	statusOf = map[string]product.Status{Pending: product.StatusPending, Active: product.StatusActive, Discarded: product.StatusDiscarded}
)

// StockRanks order the stock statuses by their meaning.
var StockRanks = map[product.StockStatus]int32{product.OutOfStock: 0, product.LowStock: 1, product.InStock: 2}

// outOfStock is the one inventory event that keeps a variant from being ordered.
const outOfStock = "InventoryOutOfStockEvent"

// state is the aggregate's part of the document, for the aggregate's own fold.
func (d *Document) state() product.Product {
	return product.Product{Version: d.Version, Status: statusOf[d.Status], StockTotal: d.Total, Reserved: d.Reserved, LowStockThreshold: d.Threshold}
}

// fold adds a row's event to the document. It says whether more than the stock changed, and whether
// anything did.
func (d *Document) fold(r eventstore.Record, e product.Event) (catalogue, changed bool) {
	at := r.At.UnixMicro()
	catalogue, changed = true, true
	switch e := e.(type) {
	case product.Created:
		*d = Document{ID: d.ID, Pos: d.Pos, Rev: d.Rev, Version: d.Version, Tail: d.Tail, Name: e.Name, Description: e.Description, CreatedAt: at}
	case product.Updated:
		d.update(e)
	case product.VariantAdded:
		d.add(e)
	case product.VariantDiscarded:
		d.Variants = slices.DeleteFunc(d.Variants, func(v Variant) bool { return v.ID == e.VariantID.String() })
	case product.Discarded:
		d.Variants = nil
	case product.InventoryRecordCreated:
		changed = d.record(e)
	case product.InventoryChanged:
		changed = d.inventory(e, r.At)
	case product.Confirmed:
	default:
		catalogue, changed = false, e.Versioned()
	}
	if !changed {
		return false, false
	}
	state := d.state().Apply(e)
	d.Pos, d.Version, d.UpdatedAt = r.Pos, state.Version, at
	if e.Versioned() {
		d.AsOf = at
	}
	d.Status, d.Threshold, d.Total, d.Reserved, d.Available = statuses[state.Status], state.LowStockThreshold, state.StockTotal, state.Reserved, state.Available()
	if _, begins := initial(d, e); begins {
		d.Since, d.SinceAt = r.Version, at
	}
	if catalogue {
		d.derive()
	}
	stock := product.StatusOf(d.Available, d.Threshold)
	d.StockStatus, d.StockRank = string(stock), StockRanks[stock]
	d.Orderable = d.Available > 0 && slices.ContainsFunc(d.Variants, func(v Variant) bool { return v.Orderable && !v.Hidden })
	return catalogue, true
}

// initial says whether the product's visible history begins with this event, and with how much
// stock. An unconfirmed product's begins when it is confirmed: until then nobody may see it, and it
// can still be discarded as if it had never been.
func initial(d *Document, e product.Event) (stock int64, begins bool) {
	switch e := e.(type) {
	case product.Created:
		return e.InitialStock, !e.Unconfirmed
	case product.Confirmed:
		return d.Total, true
	}
	return 0, false
}

func (d *Document) update(e product.Updated) {
	if e.Name != nil {
		d.Name = *e.Name
	}
	if e.Description != nil {
		d.Description = *e.Description
	}
}

func (d *Document) add(e product.VariantAdded) {
	v := Variant{ID: e.ID.String(), SKU: e.SKU, Name: e.Name, Hidden: e.Unconfirmed}
	for _, a := range e.Attributes {
		v.Attributes = append(v.Attributes, Attribute(a))
	}
	d.Variants = append(d.Variants, v)
}

func (d *Document) variant(id uuid.UUID) *Variant {
	name := id.String()
	for i := range d.Variants {
		if d.Variants[i].ID == name {
			return &d.Variants[i]
		}
	}
	return nil
}

func (d *Document) record(e product.InventoryRecordCreated) bool {
	v := d.variant(e.VariantID)
	if v == nil || (v.Record && !v.Hidden) {
		return false
	}
	v.Record, v.Hidden = true, false
	return true
}

// clockSkew is how far ahead of the log's the Inventory Service's clock may run.
const clockSkew = time.Minute

// inventory takes in an event of the Inventory Service: the latest by its own timestamp counts,
// whatever the order of arrival. One from further ahead than clocks differ counts as of when it was
// logged: it must not win over all that is to come.
func (d *Document) inventory(e product.InventoryChanged, logged time.Time) bool {
	stated := e.Timestamp
	if stated.After(logged.Add(clockSkew)) {
		stated = logged
	}
	v, at := d.variant(e.VariantID), stated.UnixMicro()
	if v == nil || (v.Event != "" && at < v.EventAt) {
		return false
	}
	v.Event, v.EventAt = e.Type, at
	return true
}

// derive computes what is stored for the sake of filters and orders.
func (d *Document) derive() {
	d.SortName = product.SortKey(d.Name)
	text := []string{d.Name}
	for i := range d.Variants {
		v := &d.Variants[i]
		v.Orderable = v.Record && v.Event != outOfStock
		text = append(text, v.SKU, v.Name)
	}
	d.Words = product.Words(text...)
}

// size estimates what the document takes in memory.
func (d *Document) size() int {
	n := 512 + len(d.Name) + len(d.SortName) + len(d.Description) + cap(d.Tail)
	for _, w := range d.Words {
		n += 16 + len(w)
	}
	for _, v := range d.Variants {
		n += 200 + len(v.SKU) + len(v.Name)
		for _, a := range v.Attributes {
			n += 32 + len(a.Name) + len(a.Value)
		}
	}
	return n
}

// TimeOf is the time at microseconds since 1970.
func TimeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// Schema is the shape of the documents. Raise it with every change that old documents don't have:
// they are then built anew.
const Schema = 7

// Unshown are the facts no document shows anything of.
var Unshown = map[string]bool{
	product.TypeOf(product.ReservationConfirmed{}): true,
	product.TypeOf(product.StockConfirmed{}):       true,
	product.TypeOf(product.ReleaseIgnored{}):       true,
	product.TypeOf(product.OutcomeResent{}):        true,
}
