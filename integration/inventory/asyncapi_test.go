package inventory

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The description for machines shows bodies that are events and bodies that are none; the decoder
// must say the same of them.
func TestTheDescriptionOfTheEventsIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Messages struct {
				InventoryEvent struct {
					Examples []struct{ Payload map[string]any }
					Taken    []string                      `yaml:"x-taken"`
					Refused  []struct{ Body, Says string } `yaml:"x-refused"`
				} `yaml:"InventoryEvent"`
			}
			Schemas map[string]struct {
				Properties map[string]struct{ Enum []EventType }
			}
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	described := doc.Components.Messages.InventoryEvent
	if len(described.Examples) == 0 || len(described.Taken) == 0 || len(described.Refused) == 0 {
		t.Fatal("no examples, or no bodies that are taken or refused")
	}
	taken := described.Taken
	for _, x := range described.Examples {
		body, err := yaml.MarshalWithOptions(x.Payload, yaml.JSON())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, string(body))
	}
	for _, body := range taken {
		if _, err := ParseEvent([]byte(body), ""); err != nil {
			t.Errorf("an example is not taken: %v\n%s", err, body)
		}
	}
	for _, x := range described.Refused {
		if _, err := ParseEvent([]byte(x.Body), ""); !errors.Is(err, ErrEvent) || x.Says == "" || !strings.Contains(err.Error(), x.Says) {
			t.Errorf("a counter-example: %v; want %s\n%s", err, x.Says, x.Body)
		}
	}

	types := []EventType{OutOfStockEvent, LowStockEvent, BackInStockEvent}
	if got := doc.Components.Schemas["InventoryEvent"].Properties["type"].Enum; !slices.Equal(got, types) {
		t.Errorf("the types are described as %v, in the code they are %v", got, types)
	}
}
