package view_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"product-service/product"
	"product-service/projection/view"
)

// stored is a value as the database would hold it.
func stored(t rapid.TB, value any) bson.M {
	t.Helper()
	raw, err := bson.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return unordered(t, raw)
}

// unordered is a document in which the order of fields tells nothing.
func unordered(t rapid.TB, raw bson.Raw) (m bson.M) {
	t.Helper()
	d := bson.NewDecoder(bson.NewDocumentReader(bytes.NewReader(raw)))
	d.DefaultDocumentM()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Ensure that what is encoded by hand is what the driver makes of the same fields.
func TestBlocksAndSegmentsAreEncodedAsTheirFields(t *testing.T) {
	type (
		blockFields   view.Block // without the methods
		segmentFields view.Segment
	)
	rapid.Check(t, func(t *rapid.T) {
		rows, _ := history(t)
		if len(rows) == 0 {
			return
		}
		e, movements := folded(t, rows)
		for _, b := range e.Blocks {
			if diff := cmp.Diff(stored(t, blockFields(b)), stored(t, b)); diff != "" {
				t.Fatalf("(-fields +block)\n%s", diff)
			}
		}
		var journal view.Segments
		for i := range movements {
			if movements[i].Type.Visible() {
				journal.Add(&movements[i])
			}
		}
		for _, s := range journal {
			if diff := cmp.Diff(stored(t, (*segmentFields)(s)), stored(t, s)); diff != "" {
				t.Fatalf("(-fields +segment)\n%s", diff)
			}
		}
	})
}

// Ensure that an update makes of the document that was loaded the one that its rows were folded
// into, whether the server can append to the tail or not.
func TestAnUpdateMakesTheDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, _ := history(t)
		appends := rapid.Bool().Draw(t, "appends")
		if len(rows) == 0 {
			return
		}
		e := view.NewEntry(rows[0].ProductID)
		var document bson.M // nil: there is none
		for _, r := range rows {
			if view.Unshown[r.Type] {
				continue
			}
			event, err := product.Decode(r.Type, r.Data)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := e.Fold(r, event); err != nil {
				t.Fatal(err)
			}
			if !e.Changed || rapid.IntRange(0, 9).Draw(t, "in the page") > 0 {
				continue // more rows come with the same page
			}
			if e.Loaded < 0 || e.Catalogue {
				document = stored(t, &e.Doc)
			} else {
				document = updated(t, document, e, appends)
			}
			if diff := cmp.Diff(stored(t, &e.Doc), document); diff != "" {
				t.Fatalf("(-folded +stored)\n%s", diff)
			}
			if e.Written(); rapid.Bool().Draw(t, "forgotten") { // and so read again
				raw, err := bson.Marshal(document)
				if err != nil {
					t.Fatal(err)
				}
				e = view.NewEntry(rows[0].ProductID)
				if err := e.Load(raw); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// updated is the document after the entry's update, as the database carries it out.
func updated(t rapid.TB, document bson.M, e *view.Entry, appends bool) bson.M {
	t.Helper()
	guard := stored(t, e.Guard())
	for _, key := range []string{"_id", "pos", "rev"} {
		if guard[key] != document[key] || len(guard) != 3 {
			t.Fatalf("the guard is %v, the document %v", guard, document)
		}
	}
	raw, err := e.StockUpdate(appends)
	if err != nil {
		t.Fatal(err)
	}
	update := unordered(t, raw)
	set, _ := update["$set"].(bson.M)
	var pushed bson.A
	if push, ok := update["$push"].(bson.M); ok {
		pushed = push["tail"].(bson.M)["$each"].(bson.A)
	}
	if len(pushed) > 0 && (!appends || set["tail"] != nil) {
		t.Fatalf("%d movements are appended to a tail that is written, or that can't be appended to", len(pushed))
	}
	maps.Copy(document, set)
	tail, _ := document["tail"].(bson.A)
	document["tail"] = append(slices.Clip(tail), pushed...)
	return document
}
