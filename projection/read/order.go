package read

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
)

// knownOrder is what is known of the order of all products by one of their fields: places in
// ascending order, and between which of them there is nothing. Pages of a list are cut from it,
// wherever their cursors are, without that the list is read for each.
type knownOrder struct {
	places []knownPlace
	joins  []bool // one more than places: whether nothing lies between a place and the one before it, or the end of the list
	bytes  int
	read   readStart // when the first of what is known was read
}

// knownPlace is a place where a product is, or, unsure, a place from which was read: a product may
// be there or not.
type knownPlace struct {
	place
	unsure bool
}

func newKnownOrder(read readStart) *knownOrder { return &knownOrder{joins: []bool{false}, read: read} }

// compare is the order of places.
func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.number, q.number), cmp.Compare(p.name, q.name), bytes.Compare(p.id[:], q.id[:]))
}

// upTo is how many places come before p, or are p.
func (o *knownOrder) upTo(p place) int {
	return sort.Search(len(o.places), func(i int) bool { return o.places[i].compare(p) > 0 })
}

// before is how many places come before p.
func (o *knownOrder) before(p place) int {
	return sort.Search(len(o.places), func(i int) bool { return o.places[i].compare(p) >= 0 })
}

// take returns up to n places that follow one another from a place on, without it; nil is the
// beginning. Descending it goes from the end. Not ok: some of them aren't known.
func (o *knownOrder) take(from *place, n int, descending bool) (found []place, ok bool) {
	at, end, step := 0, len(o.places), 1
	if descending {
		at, end, step = end, at, -1
	}
	switch {
	case from == nil:
	case descending:
		at = o.before(*from)
	default:
		at = o.upTo(*from)
	}
	for ; len(found) < n; at += step {
		switch {
		case !o.joins[at]:
			return nil, false
		case at == end:
			return found, true
		}
		next := at
		if descending {
			next = at - 1
		}
		if o.places[next].unsure {
			return nil, false
		}
		found = append(found, o.places[next].place)
	}
	return found, true
}

// add notes places that were read to follow one another from a place on, as [knownOrder.take] has
// it: to the end of the list, or not.
func (o *knownOrder) add(from *place, read []place, descending, toEnd bool) {
	known := make([]knownPlace, len(read), len(read)+1)
	for i, p := range read {
		known[i].place = p
	}
	lo, hi := 0, len(o.places)
	if descending {
		slices.Reverse(known)
		if from != nil {
			hi = o.before(*from)
		}
		if !toEnd {
			lo = o.before(known[0].place)
		}
	} else {
		if from != nil {
			lo = o.upTo(*from)
		}
		if !toEnd {
			hi = o.upTo(known[len(known)-1].place)
		}
	}
	// It follows right on what is known before it, and before what is known behind it, where it was
	// read from there or to the end of the list. Where neither is so, it is noted from where it was
	// read.
	first, last := o.joins[lo], o.joins[hi]
	if descending {
		first = first || toEnd
		if there := from == nil || (hi < len(o.places) && o.places[hi].place == *from); !there && !last {
			known = append(known, knownPlace{*from, true})
		} else {
			last = true
		}
	} else {
		last = last || toEnd
		if there := from == nil || (lo > 0 && o.places[lo-1].place == *from); !there && !first {
			known = slices.Insert(known, 0, knownPlace{*from, true})
		} else {
			first = true
		}
	}
	joins := append(slices.Repeat([]bool{true}, len(known)), last)
	joins[0] = joins[0] && first
	for _, p := range o.places[lo:hi] {
		o.bytes -= p.size()
	}
	for _, p := range known {
		o.bytes += p.size()
	}
	o.places = slices.Replace(o.places, lo, hi, known...)
	o.joins = slices.Replace(o.joins, lo, hi+1, joins...)
}

// size is about what a place takes in memory.
func (p place) size() int { return 64 + len(p.name) }
