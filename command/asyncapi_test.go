package command

import (
	"os"
	"slices"
	"strings"
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
				Taken    []string                      `yaml:"x-taken"`
				Refused  []struct{ Body, Says string } `yaml:"x-refused"`
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
		[]string{ReasonUnreadable, ReasonInvalidCommand, ReasonConflict, ReasonTooOld, ReasonFailed, ReasonUnsent})

	for name, release := range map[string]bool{"ReserveProduct": false, "ReleaseProduct": true} {
		m := doc.Components.Messages[name]
		taken := m.Taken
		for _, x := range m.Examples {
			body, err := yaml.MarshalWithOptions(x.Payload, yaml.JSON())
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, string(body))
		}
		if len(m.Examples) == 0 || len(m.Taken) == 0 || len(m.Refused) == 0 {
			t.Errorf("%s has no examples, or no bodies that are taken or refused", name)
		}
		for _, body := range taken {
			if _, err := decodeCommand(consumed(body), release); err != nil {
				t.Errorf("an example of %s is not taken: %v\n%s", name, err, body)
			}
		}
		for _, x := range m.Refused {
			if _, err := decodeCommand(consumed(x.Body), release); err == nil || !strings.Contains(err.Error(), x.Says) {
				t.Errorf("a counter-example of %s: %v; want %s\n%s", name, err, x.Says, x.Body)
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
