package projection

import (
	"go.mongodb.org/mongo-driver/v2/bson"
)

const (
	microsPerHour = 3600 * 1_000_000
	microsPerDay  = 24 * microsPerHour
)

// day holds what happened to a product on one day (UTC), by the hour: a year by hour is 365 documents.
type day struct {
	ID      string          `bson:"_id"`
	Pos     int64           `bson:"pos"`
	Rev     int64           `bson:"rev"`
	Product string          `bson:"product"`
	Day     int64           `bson:"day"`   // since 1970
	Hours   map[string]hour `bson:"hours"` // "00" to "23", those in which something moved

	loaded  int64           // the position it has in the database; -1 where it isn't there
	touched map[string]bool // the hours that were changed since
}

// hour sums up the movements of one hour. Levels are of what is available; the lowest and highest count the opening one too.
type hour struct {
	Opening   int64 `bson:"o"`
	Closing   int64 `bson:"c"`
	Min       int64 `bson:"lo"`
	Max       int64 `bson:"hi"`
	Reserved  int64 `bson:"res"`
	Released  int64 `bson:"rel"` // expired ones too
	Adjusted  int64 `bson:"adj"` // net, the initial stock too
	Movements int64 `bson:"n"`
}

func newDay(product string, number int64, rev int64) *day {
	return &day{ID: dayID(product, number), Product: product, Day: number, Rev: rev, Hours: map[string]hour{}, loaded: -1}
}

// add sums up a movement, unless it is summed up already.
func (d *day) add(m *movement, pos int64) {
	if pos <= d.Pos {
		return
	}
	key := hourKey(m.At)
	d.Hours[key] = d.Hours[key].add(m)
	d.Pos = pos
	if d.touched == nil {
		d.touched = map[string]bool{}
	}
	d.touched[key] = true
}

func (h hour) add(m *movement) hour {
	level := m.Total - m.Reserved
	if h.Movements == 0 {
		opening := level - m.Delta
		h.Opening, h.Min, h.Max = opening, opening, opening
	}
	h.Closing, h.Min, h.Max = level, min(h.Min, level), max(h.Max, level)
	h.Movements++
	switch m.Type {
	case Reserved:
		h.Reserved += m.Quantity
	case Released, Expired:
		h.Released += m.Quantity
	default:
		h.Adjusted += m.Delta
	}
	return h
}

// changes are the hours that were touched, with the guard's new state.
func (d *day) changes() bson.D {
	set := bson.D{{Key: "pos", Value: d.Pos}}
	for key := range d.touched {
		set = append(set, bson.E{Key: "hours." + key, Value: d.Hours[key]})
	}
	return set
}
