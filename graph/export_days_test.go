package graph

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/projection/read"
)

type dayExporterFunc func(where read.DayFilter, after read.DayID, each func(*read.Day) error) error

func (f dayExporterFunc) ExportDays(_ context.Context, where read.DayFilter, after read.DayID, each func(*read.Day) error) error {
	return f(where, after, each)
}

var exportedDay = read.Day{
	ProductID: uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-112233445566"), Name: "=A,1",
	Bucket: read.Bucket{Start: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Opening: 1, Closing: 2, Min: 3, Max: 4,
		ReservedQuantity: 5, ReleasedQuantity: 6, ExpiredQuantity: 7, AdjustedQuantity: -8, RefusedQuantity: 9, Refusals: 10, OutOfStockSeconds: 11, Movements: 12},
}

// exportedDayFields are what a row has in every format.
var exportedDayFields = map[string]any{
	"productId": "0190f3a4-5b6c-7d8e-9f00-112233445566", "day": "2026-11-23", "name": "=A,1", "start": "2026-11-23T00:00:00.000000Z", "end": "2026-11-24T00:00:00.000000Z",
	"opening": 1, "closing": 2, "minAvailable": 3, "maxAvailable": 4, "reservedQuantity": 5, "releasedQuantity": 6, "expiredQuantity": 7, "adjustedQuantity": -8,
	"refusedQuantity": 9, "refusals": 10, "outOfStockSeconds": 11, "movements": 12,
}

func dayExports(t *testing.T, f dayExporterFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(ExportDays(Config{}, everybody(t), f, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return server
}

func TestDaysHaveTheFieldsOfABucketInEveryFormat(t *testing.T) {
	server := dayExports(t, func(_ read.DayFilter, _ read.DayID, each func(*read.Day) error) error {
		d := exportedDay
		return each(&d)
	})
	resp, body, err := fetch(t, server.URL+"?bom=true")
	if err != nil || !strings.Contains(resp.Header.Get("Content-Disposition"), `"stock-days.csv"`) {
		t.Fatal(err, resp.Header)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(body, byteOrderMark))).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(exportedDayFields) || !strings.HasPrefix(body, byteOrderMark+"productId,day,name,") {
		t.Fatalf("%v in %s", err, body)
	}
	for i, name := range rows[0] {
		want := fmt.Sprint(exportedDayFields[name])
		if name == "name" {
			want = "'" + want // a spreadsheet would calculate it
		}
		if rows[1][i] != want {
			t.Errorf("%s is %q in CSV", name, rows[1][i])
		}
	}
	resp, body, err = fetch(t, server.URL+"?format=ndjson")
	if err != nil || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatal(err, resp.Header)
	}
	var row map[string]any
	if err := json.Unmarshal([]byte(body), &row); err != nil || len(row) != len(exportedDayFields) {
		t.Fatalf("%v in %s", err, body)
	}
	for name, want := range exportedDayFields {
		if fmt.Sprint(row[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v in NDJSON", name, row[name])
		}
	}
}

func TestAnExportOfDaysTakesDaysAndTimes(t *testing.T) {
	var filter read.DayFilter
	var id read.DayID
	server := dayExports(t, func(where read.DayFilter, after read.DayID, _ func(*read.Day) error) error {
		filter, id = where, after
		return nil
	})
	resp, body, err := fetch(t, server.URL+"?from=2026-11-01&to=2026-12-01T12:00:00%2B01:00&productId="+idA+"&after="+idA+".2026-11-23")
	if err != nil || resp.StatusCode != http.StatusOK || body != dayHeader {
		t.Fatalf("%v: %s", err, body)
	}
	day := func(month time.Month, d, hour int) time.Time {
		return time.Date(2026, month, d, hour, 0, 0, 0, time.UTC)
	}
	if !filter.From.Equal(day(11, 1, 0)) || !filter.To.Equal(day(12, 1, 11)) || !strings.EqualFold(filter.ProductID.String(), idA) || id.ProductID != filter.ProductID || !id.Day.Equal(day(11, 23, 0)) {
		t.Errorf("it asked for %+v from %s to %s, after %v", filter, filter.From, filter.To, id)
	}
	for query, says := range map[string]string{
		"from=2026-11-31": "a day such as", "to=2026-11": "a day such as", "from=0000-01-01": "a day such as", "from=20261101": "a day such as",
		"from=2026-11-02&to=2026-11-01": "after to", "after=" + idA + ".12": "productId and the day", "after=x.2026-11-23": "productId and the day",
		"after=" + idA: "productId and the day", "format=xml": "format: it must be", "limit=3": "no parameter", "bom=true&format=ndjson": "format=csv",
	} {
		resp, body, err := fetch(t, server.URL+"?"+query)
		if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, says) {
			t.Errorf("%s: %d, %v: %s", query, resp.StatusCode, err, body)
		}
	}
}

func TestAnExportOfDaysGoesOnOnlyAfterItsOwn(t *testing.T) {
	server := dayExports(t, func(read.DayFilter, read.DayID, func(*read.Day) error) error { return read.ErrBadRange })
	if resp, body, err := fetch(t, server.URL+"?after="+idA+".2026-11-23"); err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "no such row") {
		t.Errorf("%d, %v: %s", resp.StatusCode, err, body)
	}
}
