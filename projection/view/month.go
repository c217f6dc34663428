package view

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// Month holds what reports over all products are ordered by: of a product and a month (UTC) the
// figures of each day that has ended, where they aren't 0. It follows from the days, and is there
// because a month of ten thousand products is ten thousand small documents of this kind, but three
// hundred thousand large ones of days.
//
// A day in which nothing happened has a figure only if nothing was available in it. It is written
// when the next day in which something happened has ended.
type Month struct {
	ID      string                      `bson:"_id"`
	Product string                      `bson:"product"`
	Date    time.Time                   `bson:"month"`   // its first midnight, UTC
	Figures map[string]map[string]int64 `bson:",inline"` // by the names of [MonthFigures], and by the day: "01" to "31"
}

// OutOfStockSeconds is the one figure that days have in which nothing happened.
const OutOfStockSeconds = "outOfStockSeconds"

// MonthFigures are the names of the figures: those of a StockBucket's fields.
var MonthFigures = []string{"reservedQuantity", "releasedQuantity", "expiredQuantity", "refusedQuantity", OutOfStockSeconds, "movements"}

// MonthsOf are the parts of months that follow from days of one product, in order. A document is
// made of all parts that have its id.
func MonthsOf(days []Day) (months []Month) {
	of := func(product string, day int64) *Month {
		at := Midnight(day)
		id := product + "." + at.Format("200601")
		if n := len(months); n == 0 || months[n-1].ID != id {
			date := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
			months = append(months, Month{ID: id, Product: product, Date: date, Figures: map[string]map[string]int64{}})
		}
		return &months[len(months)-1]
	}
	for i := range days {
		d := &days[i]
		if d.Sums == nil {
			continue
		}
		number := d.Date.Unix() / SecondsPerDay
		if d.Sums.Opening == 0 {
			for idle := number - d.Idle; idle < number; idle++ {
				of(d.Product, idle).set(OutOfStockSeconds, idle, SecondsPerDay)
			}
		}
		for _, name := range MonthFigures {
			of(d.Product, number).set(name, number, d.Sums.Number(name))
		}
	}
	return months
}

func (m *Month) set(figure string, day, value int64) {
	if value == 0 {
		return
	}
	if m.Figures[figure] == nil {
		m.Figures[figure] = map[string]int64{}
	}
	m.Figures[figure][Midnight(day).Format("02")] = value
}

// Fields are what is known of the month beside its id, by the names that an update sets them under:
// days are written one after the other.
func (m *Month) Fields() bson.D {
	fields := bson.D{{Key: "product", Value: m.Product}, {Key: "month", Value: m.Date}}
	for figure, days := range m.Figures {
		for day, value := range days {
			fields = append(fields, bson.E{Key: figure + "." + day, Value: value})
		}
	}
	return fields
}

// SumOfMonth adds up a figure of a stored month over the days from first up to but without end,
// which are numbers since 1970.
func SumOfMonth(month bson.Raw, figure string, first, end int64) (sum int64, err error) {
	damaged := fmt.Errorf("the month %s of a product: %w", month.Lookup("_id"), ErrDamaged)
	start, ok := month.Lookup("month").DateTimeOK()
	if !ok {
		return 0, damaged
	}
	value := month.Lookup(figure)
	if value.IsZero() {
		return 0, nil
	}
	before := start/1000/SecondsPerDay - 1 // the number of the day before its first
	err = eachField(byte(value.Type), value.Value, func(key []byte, v bsoncore.Value) bool {
		n, ok := v.AsInt64OK()
		if !ok || len(key) != 2 {
			return false
		}
		if day := before + int64(key[0]-'0')*10 + int64(key[1]-'0'); first <= day && day < end {
			sum += n
		}
		return true
	})
	if err != nil {
		return 0, damaged
	}
	return sum, nil
}
