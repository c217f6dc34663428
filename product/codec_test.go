package product

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var writeGolden = flag.Bool("golden", false, "write the golden files that are missing; one that is there is never changed")

// Where every golden event came from.
var origin = Origin{CorrelationID: "booking-17", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}

// goldens has a value of each stored type with every field set; each has a file in testdata with
// the bytes it is stored as.
func goldens(from Origin) map[string]Event {
	name, description, threshold, quantity := "Big tent", "For <four> & more", int64(3), int64(0)
	expires := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	v, f := versioned{from}, fact{from}
	return map[string]Event{
		"ProductCreatedEvent":            Created{v, "Tent", "For two", 10, 2, true},
		"ProductUpdatedEvent":            Updated{v, &name, &description, &threshold},
		"ProductVariantAddedEvent":       VariantAdded{v, Variant{variantID, "SKU-1", "Red", []Attribute{{"size", "M"}, {"note", "ünï"}}, 3, 1}, true},
		"ProductVariantDiscardedEvent":   VariantDiscarded{v, variantID},
		"ProductConfirmedEvent":          Confirmed{v},
		"ProductDiscardedEvent":          Discarded{v, "no inventory record within 5s"},
		"ProductStockAdjustedEvent":      StockAdjusted{v, -3, "count", 7, 4},
		"ProductReservedEvent":           Reserved{v, holdID, "saga", 4, &expires, 10, 8},
		"ProductReservationRenewedEvent": ReservationRenewed{v, holdID, "saga", 4, &expires, 10, 8},
		"ProductReleasedEvent":           Released{v, holdID, "saga", 3, 1, "EXPIRED", true, 10, 5},
		"ReservationConfirmed":           ReservationConfirmed{f, holdID, "saga", 4, 10, 8, 9},
		"StockConfirmed":                 StockConfirmed{f, 24, "count", 9},
		"ReservationFailed":              ReservationFailed{f, holdID, "saga", 40, InsufficientStock, 2, "f00d"},
		"RequestsRefused":                RequestsRefused{f, 3, 40},
		"ReservationCancelled":           ReservationCancelled{f, holdID, "saga", "gave up"},
		"ReleaseIgnored":                 ReleaseIgnored{f, holdID, "saga", 2, "twice"},
		"OutcomeResent":                  OutcomeResent{f, 4711},
		"InventoryRecordCreated":         InventoryRecordCreated{f, variantID},
		"InventoryChanged":               InventoryChanged{f, variantID, "InventoryOutOfStockEvent", expires, &quantity},
	}
}

func TestGolden(t *testing.T) {
	stored := goldens(origin)
	for name, value := range goldens(Origin{}) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".json")
			encoded, err := Encode(value, origin)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(file); *writeGolden && os.IsNotExist(err) {
				if err := os.WriteFile(file, append(encoded, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v: run this test with -golden to write it", err)
			}
			if golden = bytes.TrimSpace(golden); !bytes.Equal(encoded, golden) {
				t.Errorf("it is stored as\n%s, but was stored as\n%s", encoded, golden)
			}
			if decoded, err := Decode(name, golden); err != nil || !reflect.DeepEqual(decoded, stored[name]) {
				t.Errorf("the golden file decodes to\n%+v, %v; want\n%+v", decoded, err, stored[name])
			}
			if TypeOf(value) != name {
				t.Errorf("%T is stored as %q, want %q", value, TypeOf(value), name)
			}
		})
	}
}

// What a person did is stored with who that was. Events from before that was kept have nobody, see
// [TestGolden].
func TestGoldenOfWhatAPersonDid(t *testing.T) {
	by := Origin{CorrelationID: "c-1", Actor: "auth0|5f7c8ec7c33c6c004bbafe82"}
	for name, value := range map[string]func(versioned) Event{
		"ProductCreatedEvent":       func(v versioned) Event { return Created{v, "Tent", "For two", 10, 2, false} },
		"ProductStockAdjustedEvent": func(v versioned) Event { return StockAdjusted{v, -3, "count", 7, 4} },
	} {
		file := filepath.Join("testdata", "actor", name+".json")
		encoded, err := Encode(value(versioned{}), by)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); *writeGolden && os.IsNotExist(err) {
			if err := os.WriteFile(file, append(encoded, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v: run this test with -golden to write it", err)
		}
		if golden = bytes.TrimSpace(golden); !bytes.Equal(encoded, golden) {
			t.Errorf("it is stored as\n%s, but was stored as\n%s", encoded, golden)
		}
		if decoded, err := Decode(name, golden); err != nil || !reflect.DeepEqual(decoded, value(versioned{by})) || decoded.From().Actor != by.Actor {
			t.Errorf("the golden file decodes to %+v, %v", decoded, err)
		}
	}
}

// A file outlives its type: a name that was ever stored can neither be dropped nor be given to
// another type, for the goldens of both would have to be changed.
func TestEveryStoredNameHasOneTypeAndOneGoldenForEver(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if _, ok := types[name]; !ok {
			t.Errorf("%s was stored once, but can't be decoded any more", name)
		}
	}
	values := goldens(origin)
	if len(files) != len(types) || len(values) != len(types) {
		t.Errorf("there are %d types, %d golden values and %d golden files", len(types), len(values), len(files))
	}
	if len(names) != len(types) {
		t.Errorf("%d names stand for %d types: two names share one", len(types), len(names))
	}
	for name, value := range values {
		for i := range reflect.TypeOf(value).NumField() {
			if field := reflect.TypeOf(value).Field(i); reflect.ValueOf(value).Field(i).IsZero() {
				t.Errorf("the golden value of %s has no %s", name, field.Name)
			}
		}
	}
}

func TestEncodeLeavesAnEmptyOriginOut(t *testing.T) {
	for _, test := range []struct {
		event Event
		from  Origin
		want  string
	}{
		{Confirmed{}, Origin{}, `{}`},
		{Confirmed{}, Origin{CorrelationID: "c"}, `{"correlationId":"c"}`},
		{OutcomeResent{Of: 1}, Origin{}, `{"of":1}`},
		{OutcomeResent{Of: 1}, Origin{Traceparent: "t"}, `{"of":1,"traceparent":"t"}`},
		{OutcomeResent{fact{origin}, 1}, Origin{}, `{"correlationId":"booking-17","traceparent":"` + origin.Traceparent + `","of":1}`},
		{OutcomeResent{fact{origin}, 1}, origin, `{"correlationId":"booking-17","traceparent":"` + origin.Traceparent + `","of":1}`},
	} {
		if got, err := Encode(test.event, test.from); err != nil || string(got) != test.want {
			t.Errorf("Encode(%+v, %+v) = %s, %v; want %s", test.event, test.from, got, err, test.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"ProductMislaidEvent", `{}`, `unknown event type "ProductMislaidEvent"`},
		{"", `{}`, `unknown event type ""`},
		{"ProductCreatedEvent", ``, "decode ProductCreatedEvent"},
		{"ProductCreatedEvent", `null`, "null"},
		{"ProductCreatedEvent", `[]`, "decode ProductCreatedEvent"},
		{"ProductCreatedEvent", `{"name":1}`, "name"},
		{"ProductReservedEvent", `{"quantity":1.5}`, "quantity"},
		{"ProductReservedEvent", `{"reservationId":"x"}`, "decode ProductReservedEvent"},
		{"ProductReservedEvent", `{"expiresAt":"tomorrow"}`, "decode ProductReservedEvent"},
		{"ProductReservedEvent", `{} {}`, "decode ProductReservedEvent"},
	} {
		if e, err := Decode(test.name, []byte(test.data)); err == nil || e != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Decode(%s, %s) = %v, %v; want an error with %q", test.name, test.data, e, err, test.want)
		}
	}
	if _, err := Decode("ProductConfirmedEvent", []byte(`{"of":1,"new":{}}`)); err != nil {
		t.Errorf("an unknown field is refused: %v", err)
	}
}

// What decodes encodes again, and to the same.
func FuzzDecode(f *testing.F) {
	for name, value := range goldens(Origin{}) {
		data, err := Encode(value, origin)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
	}
	f.Add("ProductConfirmedEvent", []byte("null"))
	f.Add("ProductReservedEvent", []byte(`{"expiresAt":"0000-01-01T00:00:00+23:59","sagaId":"\ud800"}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		first, err := Decode(name, data)
		if err != nil {
			return
		}
		once, err := Encode(first, first.From())
		if err != nil {
			t.Fatalf("%s %s decodes to %+v, which doesn't encode: %v", name, data, first, err)
		}
		second, err := Decode(TypeOf(first), once)
		if err != nil {
			t.Fatalf("%s doesn't decode again: %v", once, err)
		}
		if twice, err := Encode(second, Origin{}); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("it is\n%s first and then\n%s, %v", once, twice, err)
		}
		Product{}.Apply(first)
		Reservation{}.Apply(first)
	})
}
