package command

import (
	"os"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"product-service/product"
)

// The description for machines and the code must name the same topics, fields, headers and reasons.
func TestTheDescriptionOfTheMessagesIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Required   []string
		Properties map[string]struct{ Enum []string }
	}
	var doc struct {
		AsyncAPI   string
		Channels   map[string]struct{ Address string }
		Components struct {
			Schemas  map[string]schema
			Messages map[string]struct {
				Examples []struct{ Payload map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, c := range doc.Channels {
		addresses = append(addresses, c.Address)
	}
	var c Config
	topics := slices.Concat(c.inputs(), c.deadLetterTopics(), []string{TopicReserved, TopicReservationFailed})
	same(t, "topics", addresses, topics)

	for name, e := range map[string]product.Event{"ProductReserved": reserved(1), "ProductReservationFailed": product.ReservationFailed{Reason: product.Expired}} {
		record := newFakeLog().append(t, uuid.New(), uuid.New(), 1, e, product.Origin{CorrelationID: "c"})
		o, _, err := outcomeOf(record)
		if err != nil {
			t.Fatal(err)
		}
		m := o.message(c, record)
		var fields, headers []string
		for f := range bodyOf(t, m) {
			fields = append(fields, f)
		}
		for _, h := range m.Headers {
			headers = append(headers, string(h.Key))
		}
		same(t, name, doc.Components.Schemas[name].Required, fields)
		same(t, name+"'s properties", keys(doc.Components.Schemas[name].Properties), fields)
		same(t, name+"'s headers", doc.Components.Schemas["SentHeaders"].Required, headers)
		for _, x := range doc.Components.Messages[name].Examples {
			same(t, name+"'s example", keys(x.Payload), fields)
		}
	}
	same(t, "reasons", doc.Components.Schemas["ProductReservationFailed"].Properties["reason"].Enum, []string{string(product.InvalidCommand), string(product.AlreadyReleased),
		string(product.ReservationConflict), string(product.UnknownProduct), string(product.Expired), string(product.InsufficientStock)})
	same(t, "reasons of dead letters", doc.Components.Schemas["DeadLetterHeaders"].Properties["dlq-reason"].Enum,
		[]string{ReasonUnreadable, ReasonInvalidCommand, ReasonTooOld, ReasonFailed, ReasonUnsent})

	for name, release := range map[string]bool{"ReserveProduct": false, "ReleaseProduct": true} {
		for _, x := range doc.Components.Messages[name].Examples {
			body, err := yaml.MarshalWithOptions(x.Payload, yaml.JSON())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeCommand(consumed(string(body)), release); err != nil {
				t.Errorf("the example of %s is not taken: %v\n%s", name, err, body)
			}
		}
	}
}

func keys[V any](m map[string]V) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}

func same(t *testing.T, what string, a, b []string) {
	t.Helper()
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	if !slices.Equal(a, b) {
		t.Errorf("%s: described %v, in the code %v", what, a, b)
	}
}
