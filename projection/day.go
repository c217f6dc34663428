package projection

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const (
	microsPerHour = 3600 * 1_000_000
	microsPerDay  = 24 * microsPerHour
)

// day holds what happened to a product on one day (UTC), by the hour: a year by hour is 365 documents. An hour is written when a later one
// begins; until then it is in the product. Whoever writes it has folded all of it, so it is always the same and needs no guard.
type day struct {
	ID      string          `bson:"_id"`
	Product string          `bson:"product"`
	Day     int64           `bson:"day"`   // since 1970
	Hours   map[string]hour `bson:"hours"` // "00" to "23", those in which something moved
}

// hour sums up the movements of one hour. Levels are of what is available; the lowest and highest count the opening one too.
type hour struct {
	Number    int64 `bson:"hour"` // since 1970
	Opening   int64 `bson:"o"`
	Closing   int64 `bson:"c"`
	Min       int64 `bson:"lo"`
	Max       int64 `bson:"hi"`
	Reserved  int64 `bson:"res"`
	Released  int64 `bson:"rel"` // expired ones too
	Adjusted  int64 `bson:"adj"` // net, the initial stock too
	Movements int64 `bson:"n"`
}

func (h hour) add(m *movement) hour {
	level := m.Total - m.Reserved
	if h.Movements == 0 {
		opening := level - m.Delta
		h = hour{Number: m.At / microsPerHour, Opening: opening, Min: opening, Max: opening}
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

// key names the hour in its day.
func (h hour) key() string { return hourKey(h.Number) }

func hourKey(number int64) string { return fmt.Sprintf("%02d", number%24) }

// dayModels write the hours that ended, a day in one operation.
func dayModels(product string, ended []hour) []mongo.WriteModel {
	var models []mongo.WriteModel
	for len(ended) > 0 {
		number := ended[0].Number / 24
		fields := bson.D{{Key: "product", Value: product}, {Key: "day", Value: number}}
		for len(ended) > 0 && ended[0].Number/24 == number {
			fields = append(fields, bson.E{Key: "hours." + ended[0].key(), Value: ended[0]})
			ended = ended[1:]
		}
		models = append(models, mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: dayID(product, number)}}).SetUpdate(set(fields)).SetUpsert(true))
	}
	return models
}
