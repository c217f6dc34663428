package audit

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"product-service/eventstore"
	"product-service/product"
	"product-service/projection/projectiontest"
	"product-service/projection/store"
	"product-service/projection/view"
)

// refusing is a log of a product that is sold out, refuses requests in several hours of several
// days, gets some back by an expiry, and sells out again.
func refusing() *projectiontest.Log {
	l, id := projectiontest.NewLog(), projectiontest.ID(0xaa, 1)
	l.Clock = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	l.Do(id, 0, product.Create{Name: "P", InitialStock: 5, LowStockThreshold: 1})
	l.Do(id, time.Minute, product.Reserve{ReservationID: projectiontest.ID(0xcc, 1), Quantity: 2, ExpiresAt: l.Clock.Add(time.Hour)})
	l.Do(id, time.Minute, product.Reserve{ReservationID: projectiontest.ID(0xcc, 2), Quantity: 3})
	for n := range 12 {
		l.Do(id, 20*time.Minute, product.Reserve{ReservationID: projectiontest.ID(0xcd, n), Quantity: int64(n + 1)})
	}
	l.Do(id, 20*time.Hour, product.Expire{ReservationID: projectiontest.ID(0xcc, 1)})
	l.Do(id, time.Minute, product.Reserve{ReservationID: projectiontest.ID(0xcc, 3), Quantity: 2})
	l.Do(id, 4*24*time.Hour, product.Reserve{ReservationID: projectiontest.ID(0xcd, 20), Quantity: 1})
	l.Do(id, 24*time.Hour, product.Release{ReservationID: projectiontest.ID(0xcc, 3)})
	l.Do(id, 24*time.Hour, product.Reserve{ReservationID: projectiontest.ID(0xcc, 4), Quantity: 1})
	return l
}

// forget leaves of the refusals of each hour one sum, in the place of the last, as pruning does.
// What is in the place of the others nobody shows.
func forget(t *testing.T, l *projectiontest.Log) {
	t.Helper()
	encoded := func(e product.Event) []byte {
		data, err := product.Encode(e, product.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	rows := l.Shards[eventstore.ShardOf(projectiontest.ID(0xaa, 1))]
	condensed := 0
	for i := range rows {
		event, err := product.Decode(rows[i].Type, rows[i].Data)
		if err != nil {
			t.Fatal(err)
		}
		var later *eventstore.Record
		for k := range rows[i+1:] {
			if r := &rows[i+1+k]; r.Version == 0 && r.At.Truncate(time.Hour).Equal(rows[i].At.Truncate(time.Hour)) {
				later = r
			}
		}
		switch sum := (product.RequestsRefused{}).Add(event); {
		case sum.Refusals == 0 || rows[i].Version > 0:
		case later == nil:
			rows[i].Type, rows[i].Data = product.TypeOf(sum), encoded(sum)
		default:
			next, err := product.Decode(later.Type, later.Data)
			if err != nil {
				t.Fatal(err)
			}
			sum = sum.Add(next)
			later.Type, later.Data = product.TypeOf(sum), encoded(sum)
			rows[i].Type, rows[i].Data = product.TypeOf(product.OutcomeResent{}), encoded(product.OutcomeResent{})
			condensed++
		}
	}
	if condensed < 5 {
		t.Fatalf("%d refusals were condensed", condensed)
	}
}

// Ensure that whatever is wrong with a figure of a day, an hour or a month is found, is said in
// words, and is healed from the log, also from one whose refusals are condensed.
func TestAuditOfDays(t *testing.T) {
	id := projectiontest.ID(0xaa, 1).String()
	day, next, month, today := view.DayID(id, 20513), view.DayID(id, 20514), id+".202603", "products_1"
	set := func(name string, value any) bson.D { return store.Set(bson.D{{Key: name, Value: value}}) }
	unset := func(name string) bson.D { return bson.D{{Key: "$unset", Value: bson.D{{Key: name, Value: ""}}}} }
	for name, harm := range map[string]struct {
		in, id string
		change bson.D
		where  string
		says   string
	}{
		"refused units":            {"days_1", day, set("sums.refusedQuantity", 1), "days", "Refused:1 "},
		"how many refusals":        {"days_1", day, set("sums.refusals", 100), "days", "Refusals:100"},
		"expired units":            {"days_1", next, set("sums.expiredQuantity", 1), "days", "Expired:1 "},
		"time out of stock":        {"days_1", day, set("sums.outOfStockSeconds", 86400), "days", "OutOfStock:86400"},
		"a name":                   {"days_1", day, set("name", "Q"), "days", `"Q"`},
		"how many days were idle":  {"days_1", view.DayID(id, 20518), set("idleDaysBefore", 1), "days", "after 1"},
		"no sums":                  {"days_1", day, unset("sums"), "days", "has no sums"},
		"an hour's refusals":       {"days_1", day, set("hours.09.refusals", 77), "days", "Refusals:77"},
		"an hour too many":         {"days_1", day, set("hours.03", view.Hour{Number: 20513*24 + 3}), "days", "in which nothing happened"},
		"another product's day":    {"days_1", day, set("product", projectiontest.ID(0xaa, 2).String()), "days", "of product"},
		"today's refusals":         {today, id, set("today.refusals", 5), "document", "the log comes to"},
		"today's time":             {today, id, set("today.outOfStockSeconds", 5), "document", "the log comes to"},
		"a month's refused":        {"months_1", month, set("refusedQuantity.01", 5), "days", "refusedQuantity on day 01"},
		"a month's day too many":   {"months_1", month, set("movements.28", 5), "days", "movements on day 28"},
		"a month's idle day":       {"months_1", month, unset("outOfStockSeconds.04"), "days", "outOfStockSeconds on day 04"},
		"a month's figure in text": {"months_1", month, set("movements.01", "five"), "days", "can't be read"},
		"another month":            {"months_1", month, set("month", time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)), "days", "described as 2026-04"},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := projectiontest.Open(t), refusing()
			if err := projectiontest.Drain(t.Context(), project(t, s, l, &projectiontest.Leases{Epoch: 1})); err != nil {
				t.Fatal(err)
			}
			forget(t, l)
			if found := differences(t, s, l, Options{}); len(found) > 0 {
				t.Fatalf("differences before: %+v", found)
			}
			if r, err := s.Database().Collection(harm.in).UpdateOne(t.Context(), store.ByID(harm.id), harm.change); err != nil || r.ModifiedCount != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			found := differences(t, s, l, Options{Heal: true})
			if !slices.Equal(places(found), []string{harm.where}) || !strings.Contains(found[0].What, harm.says) {
				t.Errorf("found %+v", found)
			}
			if found := differences(t, s, l, Options{}); len(found) > 0 {
				t.Errorf("after healing: %+v", found)
			}
			projectiontest.Compare(t, s, l)
		})
	}
}
