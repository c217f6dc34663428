package read

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// Ensure that what is taken of a known order is what the list has there, whatever parts of the list
// were read, and that all of a part that was read is known.
func TestKnownOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []place
		for range rapid.IntRange(0, 30).Draw(t, "products") {
			id := uuid.UUID{15: byte(len(list))}
			list = append(list, place{number: rapid.Int64Range(0, 8).Draw(t, "number"), name: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "name"), id: id})
		}
		slices.SortFunc(list, place.compare)
		from := func() *place {
			if rapid.Bool().Draw(t, "from an end") {
				return nil
			}
			if len(list) == 0 || rapid.IntRange(0, 3).Draw(t, "where") == 0 { // where no product is any more
				return &place{number: rapid.Int64Range(0, 8).Draw(t, "number"), name: "a", id: uuid.UUID{15: 99}}
			}
			return &list[rapid.IntRange(0, len(list)-1).Draw(t, "at")]
		}
		// Of the list, as MongoDB reads it.
		read := func(from *place, n int, descending bool) (found []place, toEnd bool) {
			all := slices.Clone(list)
			if descending {
				slices.Reverse(all)
			}
			for _, p := range all {
				if c := 0; from != nil {
					if c = p.compare(*from); c == 0 || (c > 0) == descending {
						continue
					}
				}
				if len(found) == n {
					return found, false
				}
				found = append(found, p)
			}
			return found, len(found) < n
		}
		o := newKnownOrder(readStart{})
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			at, n, descending := from(), rapid.IntRange(1, 6).Draw(t, "n"), rapid.Bool().Draw(t, "descending")
			want, toEnd := read(at, n, descending)
			if got, ok := o.take(at, n, descending); ok && !slices.Equal(got, want) {
				t.Fatalf("%v, not %v, is taken from %v, descending %v", got, want, at, descending)
			}
			if rapid.Bool().Draw(t, "only look") {
				continue
			}
			o.add(at, want, descending, toEnd)
			if got, ok := o.take(at, n, descending); !ok || !slices.Equal(got, want) {
				t.Fatalf("%v, %v is taken of %v that was read from %v, descending %v", got, ok, want, at, descending)
			}
			bytes := 0
			for _, p := range o.places {
				bytes += p.size()
			}
			if !slices.IsSortedFunc(o.places, func(a, b knownPlace) int { return a.compare(b.place) }) || len(o.joins) != len(o.places)+1 || o.bytes != bytes {
				t.Fatalf("%v, %v, %d bytes", o.places, o.joins, o.bytes)
			}
		}
		for _, descending := range []bool{false, true} {
			all, toEnd := read(nil, 100, descending)
			if o.add(nil, all, descending, toEnd); len(o.places) != len(list) || slices.Contains(o.joins, false) {
				t.Fatalf("of all of %v is known: %v, %v", list, o.places, o.joins)
			}
		}
	})
}
