package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
)

// unreadables are the ways in which a level can be no level. Each changes what the service would have said.
var unreadables = map[string]func(item map[string]any){
	"negative":  func(item map[string]any) { item["availableQuantity"] = -2 },
	"fraction":  func(item map[string]any) { item["availableQuantity"] = 1.5 },
	"text":      func(item map[string]any) { item["availableQuantity"] = "many" },
	"too-large": func(item map[string]any) { item["availableQuantity"] = json.Number("9007199254740993") },
	"status":    func(item map[string]any) { item["status"] = "BACKORDER" },
	"zone":      func(item map[string]any) { item["updatedAt"] = "2026-01-02T03:04:05" },
	"missing":   func(item map[string]any) { delete(item, "updatedAt") },
	"case": func(item map[string]any) {
		item["AvailableQuantity"] = item["availableQuantity"]
		delete(item, "availableQuantity")
	},
	"other-id": func(item map[string]any) { item["productVariantId"] = "00000000-0000-4000-8000-000000000000" },
	"no-id":    func(item map[string]any) { delete(item, "productVariantId") },
}

func (f Fault) hitsLevel(l level) bool {
	return len(f.Variants) == 0 || slices.Contains(f.Variants, l.VariantID)
}

// unreadable spoils the levels of the fault's variants.
func (f Fault) unreadable(r reply) reply {
	switch body := r.body.(type) {
	case level:
		if f.hitsLevel(body) {
			r.body = f.spoiled(body)
		}
	case []level:
		items := make([]any, len(body))
		for i, l := range body {
			if items[i] = l; f.hitsLevel(l) {
				items[i] = f.spoiled(l)
			}
		}
		r.body = items
	}
	return r
}

func (f Fault) spoiled(l level) map[string]any {
	item := map[string]any{"productVariantId": l.VariantID, "availableQuantity": l.Available, "status": l.Status, "updatedAt": l.UpdatedAt}
	unreadables[f.As](item)
	return item
}

// absent leaves out the levels of the fault's variants.
func (f Fault) absent(r reply) reply {
	switch body := r.body.(type) {
	case level:
		if f.hitsLevel(body) {
			return refuse(http.StatusNotFound, "no inventory record")
		}
	case []level:
		r.body = slices.DeleteFunc(body, f.hitsLevel)
	}
	return r
}
