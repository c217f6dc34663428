package product

import (
	"encoding/json"
	"fmt"
	"reflect"

	"product-service/ijson"
)

// The stored names. They are a storage format: never change one, and never change the meaning of a
// field under one.
var types = map[string]func([]byte) (Event, error){
	"ProductCreatedEvent":            decode[Created],
	"ProductUpdatedEvent":            decode[Updated],
	"ProductVariantAddedEvent":       decode[VariantAdded],
	"ProductVariantDiscardedEvent":   decode[VariantDiscarded],
	"ProductConfirmedEvent":          decode[Confirmed],
	"ProductDiscardedEvent":          decode[Discarded],
	"ProductStockAdjustedEvent":      decode[StockAdjusted],
	"ProductReservedEvent":           decode[Reserved],
	"ProductReservationRenewedEvent": decode[ReservationRenewed],
	"ProductReleasedEvent":           decode[Released],
	"ReservationConfirmed":           decode[ReservationConfirmed],
	"StockConfirmed":                 decode[StockConfirmed],
	"ReservationFailed":              decode[ReservationFailed],
	"RequestsRefused":                decode[RequestsRefused],
	"ReservationCancelled":           decode[ReservationCancelled],
	"ReleaseIgnored":                 decode[ReleaseIgnored],
	"OutcomeResent":                  decode[OutcomeResent],
	"InventoryRecordCreated":         decode[InventoryRecordCreated],
	"InventoryChanged":               decode[InventoryChanged],
}

// names is types the other way round.
var names = func() map[reflect.Type]string {
	byType := make(map[reflect.Type]string, len(types))
	for name, decode := range types {
		e, err := decode([]byte("{}"))
		if err != nil {
			panic(fmt.Sprintf("product: %s does not decode: %v", name, err))
		}
		byType[reflect.TypeOf(e)] = name
	}
	return byType
}()

// TypeOf returns the name an event is stored under.
func TypeOf(e Event) string { return names[reflect.TypeOf(e)] }

// Encode returns an event and its origin as the JSON object that is stored: the fields of both,
// side by side.
func Encode(e Event, from Origin) ([]byte, error) {
	if data, ok := quickEncode(e, from); ok {
		return data, nil
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", TypeOf(e), err)
	}
	if from == (Origin{}) || from == e.From() {
		return data, nil // there is none, or the event was decoded and its JSON has it
	}
	origin, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("encode the origin of %s: %w", TypeOf(e), err)
	}
	if len(data) == len("{}") {
		return origin, nil
	}
	return append(append(data[:len(data)-1], ','), origin[1:]...), nil
}

// Decode is the inverse of [Encode]. It fails for a name this version doesn't know, and for data
// that isn't a JSON object with its fields; fields it doesn't know are left out.
func Decode(name string, data []byte) (Event, error) {
	decode, ok := types[name]
	if !ok {
		return nil, fmt.Errorf("unknown event type %q", name)
	}
	e, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", name, err)
	}
	return e, nil
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := ijson.Unmarshal(data, &e); err != nil {
		return nil, err
	}
	return e, nil
}
