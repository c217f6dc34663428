package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

// errUndecidable says that a command's decision can't be put into words.
var errUndecidable = errors.New("the command can't be decided")

// errCommitted says that an earlier attempt at a batch was committed after all.
var errCommitted = errors.New("the batch was committed")

// decider decides one batch: it holds the state of each product and reservation as the commands
// before have left it.
type decider struct {
	batch   []*Request
	answers []Answer
	repeats map[int]eventstore.Cursor
	before  *decider // the last attempt at this batch, where it isn't known whether it was committed

	snapshot     *eventstore.Snapshot
	changes      *eventstore.Changes
	products     map[uuid.UUID]product.Product
	reservations map[eventstore.ReservationKey]product.Reservation
	inbox        map[uuid.UUID]eventstore.InboxEntry
	versions     map[eventstore.Cursor]int64 // of rows of this batch
	variants     map[uuid.UUID]bool          // ids taken or confirmed in this batch
	skus         map[string]bool             // that are taken, as they look

	results map[string]int // for the metrics
	refused map[product.Reason]int
}

func newDecider(batch []*Request, before *decider) *decider {
	return &decider{batch: batch, before: before}
}

// keys names what the batch needs.
func (d *decider) keys() eventstore.Keys {
	var k eventstore.Keys
	var newVariants []product.Variant
	seen := make(map[uuid.UUID]bool, 16)
	addProduct := func(id uuid.UUID) {
		if !seen[id] {
			seen[id] = true
			k.Products = append(k.Products, id)
		}
	}
	for _, r := range d.batch {
		addProduct(r.ProductID)
		if r.ID != uuid.Nil {
			k.Commands = append(k.Commands, r.ID)
		}
		if id, ok := reservationOf(r.Command); ok {
			k.Reservations = append(k.Reservations, eventstore.ReservationKey{ProductID: r.ProductID, ReservationID: id})
		}
		switch c := r.Command.(type) {
		case product.Create:
			k.Variants = append(k.Variants, r.ProductID)
			newVariants = append(newVariants, c.Variants...)
		case product.AddVariant:
			newVariants = append(newVariants, c.Variant)
		case product.NoteInventoryRecord:
			k.Variants = append(append(k.Variants, c.VariantID), c.Siblings...)
		case product.DiscardVariant:
			k.Variants = append(k.Variants, c.VariantID)
		}
	}
	for _, v := range newVariants {
		addProduct(v.ID) // products and variants share their ids: no product of this one may come up meanwhile
		k.Variants = append(k.Variants, v.ID)
		k.SKUs = append(k.SKUs, strings.ReplaceAll(product.Trim(v.SKU), "\x00", ""))
		k.SKUKeys = append(k.SKUKeys, product.SKUKey(v.SKU))
	}
	if d.before != nil && d.before.changes != nil {
		for _, row := range d.before.changes.Rows() {
			k.Places = append(k.Places, placeOfRecord(row))
		}
	}
	return k
}

func reservationOf(c product.Command) (uuid.UUID, bool) {
	switch c := c.(type) {
	case product.Reserve:
		return c.ReservationID, true
	case product.Release:
		return c.ReservationID, true
	case product.Expire:
		return c.ReservationID, true
	}
	return uuid.Nil, false
}

// decide is run inside the transaction.
func (d *decider) decide(s *eventstore.Snapshot, c *eventstore.Changes) error {
	if d.before.committed(s) {
		return errCommitted
	}
	d.snapshot, d.changes = s, c
	d.answers, d.repeats = make([]Answer, len(d.batch)), map[int]eventstore.Cursor{}
	d.products = make(map[uuid.UUID]product.Product, len(s.Heads))
	d.reservations = make(map[eventstore.ReservationKey]product.Reservation, len(d.batch))
	d.inbox = make(map[uuid.UUID]eventstore.InboxEntry, len(d.batch))
	d.versions = map[eventstore.Cursor]int64{}
	d.variants, d.skus = map[uuid.UUID]bool{}, make(map[string]bool, len(s.Variants))
	for _, v := range s.Variants {
		d.skus[product.SKUKey(v.SKU)] = true
	}
	d.results, d.refused = map[string]int{}, map[product.Reason]int{}
	for i, r := range d.batch {
		if err := d.one(i, r); err != nil {
			return fmt.Errorf("%w: %w", errUndecidable, err)
		}
	}
	for id, p := range d.products {
		if p.Version != s.Heads[id].Version {
			c.SetHead(headOf(p))
		}
	}
	return nil
}

// committed says that this attempt was. Its shards are locked now, so it is in the log as a whole,
// or nothing of it ever will be. Another instance may have decided some of its commands meanwhile,
// even at the same positions: only rows that are all the same, in all they say, mean that what this
// attempt would answer is what happened. If they aren't, deciding anew is safe, for known commands
// are repeated.
func (d *decider) committed(s *eventstore.Snapshot) bool {
	if d == nil || d.changes == nil || len(d.changes.Rows()) == 0 {
		return false
	}
	for _, row := range d.changes.Rows() {
		there, ok := s.Records[placeOfRecord(row)]
		if !ok || there.ProductID != row.ProductID || there.Version != row.Version || there.Type != row.Type ||
			there.CommandID != row.CommandID || !bytes.Equal(there.Data, row.Data) {
			return false
		}
	}
	for id, entry := range d.inbox { // of the same content, which the rows need not tell
		there := s.Inbox[id]
		if there.AgeFrom = entry.AgeFrom; there != entry { // the database's clock has a say in that
			return false
		}
	}
	return true
}

func placeOfRecord(r eventstore.Record) eventstore.Cursor {
	return eventstore.Cursor{Shard: r.Shard, Pos: r.Pos}
}

func (d *decider) one(i int, r *Request) error {
	if known, ok := d.known(r.ID); ok {
		return d.repeat(i, r, known)
	}
	p := d.product(r.ProductID)
	key := eventstore.ReservationKey{ProductID: r.ProductID}
	state := product.State{Product: p, Now: d.snapshot.Now}
	id, named := reservationOf(r.Command)
	if key.ReservationID = id; named {
		state.Reservation = d.reservation(key)
	}
	cmd, refusal := d.ruleVariants(r.ProductID, r.Command)
	if cmd == nil {
		d.results["nothing"]++
		d.answers[i] = Answer{Version: p.Version, Refusal: refusal}
		return nil
	}
	decision := product.Decide(state, cmd)
	if decision.Refusal != nil {
		d.results["refused"]++
		d.answers[i] = Answer{Refusal: decision.Refusal}
		return nil
	}
	var last eventstore.Record
	for _, e := range decision.Events {
		p = p.Apply(e)
		row := eventstore.Row{ProductID: r.ProductID, Type: product.TypeOf(e), CommandID: r.ID}
		if row.CommandID == uuid.Nil {
			row.CommandID = internalID(r)
		}
		if e.Versioned() {
			row.Version = p.Version
		}
		var err error
		if row.Data, err = product.Encode(e, r.From); err != nil {
			return err
		}
		last = d.changes.Append(row)
		if named {
			d.setReservation(key, state.Reservation.Apply(e))
		}
		d.noteVariants(p, r.From, e)
	}
	d.tally(decision.Events)
	d.products[r.ProductID] = p
	d.answers[i] = Answer{Version: p.Version}
	if len(decision.Events) > 0 && r.ID != uuid.Nil {
		entry := eventstore.InboxEntry{CommandID: r.ID, Fingerprint: r.fingerprint, Shard: last.Shard, Pos: last.Pos, AgeFrom: r.AgeFrom}
		d.inbox[r.ID] = entry
		if !named { // sagas are told no version
			d.versions[placeOfRecord(last)] = p.Version
		}
		d.changes.Remember(entry)
	}
	return nil
}

func (d *decider) tally(events []product.Event) {
	switch {
	case len(events) == 0:
		d.results["nothing"]++
	case events[0].Versioned():
		d.results["event"]++
	default:
		d.results["fact"]++
		if failed, ok := events[0].(product.ReservationFailed); ok {
			d.refused[failed.Reason]++
		}
	}
}

// repeat answers a command whose id is known: with the outcome it got, or as a conflict where its
// content differs.
func (d *decider) repeat(i int, r *Request, known eventstore.InboxEntry) error {
	d.results["repeated"]++
	if r.AgeFrom.After(known.AgeFrom) {
		d.changes.RememberLonger(r.ID, r.AgeFrom) // this message may come again later than the one it repeats
	}
	same := known.Fingerprint == r.fingerprint
	if !same {
		d.answers[i].Refusal = conflicting
	}
	var answer product.Event
	switch c := r.Command.(type) {
	case product.Reserve:
		answer = d.answerAgain(r, known, same, product.Refuse{ReservationID: c.ReservationID, SagaID: c.SagaID, Quantity: c.Quantity})
	case product.Refuse:
		answer = d.answerAgain(r, known, same, c)
	case product.Release, product.NoteInventoryChange:
		return nil // never answered
	default:
		if same {
			d.repeats[i] = eventstore.Cursor{Shard: known.Shard, Pos: known.Pos}
		}
		return nil
	}
	data, err := product.Encode(answer, r.From)
	if err != nil {
		return err
	}
	d.changes.Append(eventstore.Row{ProductID: r.ProductID, Type: product.TypeOf(answer), CommandID: r.ID, Data: data})
	return nil
}

// answerAgain is what a saga is told when its command id comes again: the same outcome, or that the
// id is spent on another content.
func (d *decider) answerAgain(r *Request, known eventstore.InboxEntry, same bool, refuse product.Refuse) product.Event {
	if same {
		return product.OutcomeResent{Of: known.Pos}
	}
	refuse.Fingerprint = fmt.Sprintf("%016x", uint64(r.fingerprint))
	return product.Decide(product.State{Product: d.product(r.ProductID)}, refuse).Events[0]
}

var conflicting = &product.Refusal{Code: product.Conflict, Field: []string{"commandId"}, Message: "this command id was used before, for a command with another content"}

func (d *decider) known(id uuid.UUID) (eventstore.InboxEntry, bool) {
	if id == uuid.Nil {
		return eventstore.InboxEntry{}, false
	}
	if e, ok := d.inbox[id]; ok {
		return e, true
	}
	e, ok := d.snapshot.Inbox[id]
	return e, ok
}

func (d *decider) product(id uuid.UUID) product.Product {
	if p, ok := d.products[id]; ok {
		return p
	}
	p := productOf(id, d.snapshot.Heads[id])
	d.products[id] = p
	return p
}

func (d *decider) reservation(key eventstore.ReservationKey) product.Reservation {
	if r, ok := d.reservations[key]; ok {
		return r
	}
	return reservationFrom(d.snapshot.Reservations[key])
}

func (d *decider) setReservation(key eventstore.ReservationKey, r product.Reservation) {
	if r == d.reservation(key) {
		return
	}
	d.reservations[key] = r
	d.changes.SetReservation(eventstore.Reservation{ReservationKey: key, SagaID: r.SagaID, Quantity: r.Quantity, Held: r.Held,
		State: string(r.State), ExpiresAt: r.ExpiresAt})
}

// recall finds the versions that known commands of people came to.
func (d *decider) recall(ctx context.Context, store *eventstore.Store) error {
	var places []eventstore.Cursor
	for i, place := range d.repeats {
		if v, ok := d.versions[place]; ok {
			d.answers[i] = Answer{Version: v, Repeated: true}
		} else {
			places = append(places, place)
		}
	}
	if len(places) == 0 {
		return nil
	}
	records, err := store.At(ctx, places)
	if err != nil {
		return err
	}
	for _, record := range records {
		if d.versions[placeOfRecord(record)], err = versionAfter(record); err != nil {
			return err
		}
	}
	for i, place := range d.repeats {
		d.answers[i] = Answer{Version: d.versions[place], Repeated: true}
	}
	return nil
}

// versionAfter is the version that the stream had after a command of people.
func versionAfter(r eventstore.Record) (int64, error) {
	if r.Type != product.TypeOf(product.StockConfirmed{}) {
		return r.Version, nil
	}
	event, err := product.Decode(r.Type, r.Data)
	confirmed, _ := event.(product.StockConfirmed)
	return confirmed.StreamVersion, err
}

// settle tells everyone.
func (d *decider) settle(m *WriterMetrics, log *slog.Logger) {
	for i, r := range d.batch {
		if d.answers[i].Refusal == conflicting {
			log.Warn("a command id came again with another content; nothing was changed", "command_id", r.ID, "product_id", r.ProductID,
				"correlation_id", r.From.CorrelationID, "command", fmt.Sprintf("%T", r.Command))
		}
		r.Settle(d.answers[i])
	}
	m.count(d)
}
