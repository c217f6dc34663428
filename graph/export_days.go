package graph

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"product-service/graph/model"
	"product-service/projection/read"
)

// DayExporter streams days, by product and day.
type DayExporter interface {
	ExportDays(ctx context.Context, where read.DayFilter, after read.DayID, each func(*read.Day) error) error
}

// ExportDays returns what serves GET /export/stock-days to callers who may read histories: a row a product and day (UTC), by product
// and day, also where nothing happened. The days are those that overlap the span from from up to but without to. See [exportOf].
func ExportDays(c Config, gate *Gate, exporter DayExporter, log *slog.Logger) http.Handler {
	return exportOf[read.Day]{
		name: "stock-days", header: dayHeader, csv: appendDayCSV, json: appendDayJSON, time: dayOrTime,
		open: func(e export) (rows[read.Day], error) {
			where, after := read.DayFilter{ProductID: e.productID, From: e.from, To: e.to}, read.DayID{}
			if e.after != "" {
				id, day, err := cutRowID(e.after)
				if err == nil {
					after.ProductID = id
					after.Day, err = time.Parse(time.DateOnly, day)
				}
				if err != nil {
					return nil, badInput("after: it must be the productId and the day of a row, such as 0190f3a4-5b6c-7d8e-9f00-112233445566.2026-11-23")
				}
			}
			return func(ctx context.Context, each func(*read.Day) error) error {
				return exporter.ExportDays(ctx, where, after, each)
			}, nil
		},
	}.handler(c, gate, log)
}

// dayOrTime reads a DateTime, or a day as its midnight (UTC).
func dayOrTime(text any) (time.Time, error) {
	if text, ok := text.(string); ok && len(text) == len(time.DateOnly) {
		day, err := time.Parse(time.DateOnly, text)
		if err == nil && day.Year() > 0 {
			return day, nil
		}
	}
	at, err := model.UnmarshalDateTime(text)
	if err != nil {
		err = fmt.Errorf("%w, or a day such as 2026-02-28", err)
	}
	return at, err
}

// dayColumns are the numbers of a day, by the names of a StockBucket's fields.
var dayColumns = [...]string{"opening", "closing", "minAvailable", "maxAvailable", "reservedQuantity", "releasedQuantity", "expiredQuantity",
	"adjustedQuantity", "refusedQuantity", "refusals", "outOfStockSeconds", "movements"}

func dayNumbers(d *read.Day) [len(dayColumns)]int64 {
	return [...]int64{d.Opening, d.Closing, d.Min, d.Max, d.ReservedQuantity, d.ReleasedQuantity, d.ExpiredQuantity,
		d.AdjustedQuantity, d.RefusedQuantity, d.Refusals, d.OutOfStockSeconds, d.Movements}
}

var dayHeader = "productId,day,name,start,end," + strings.Join(dayColumns[:], ",") + "\r\n"

func appendDayCSV(b []byte, d *read.Day) []byte {
	b = append(append(b, d.ProductID.String()...), ',')
	b = d.Start.AppendFormat(b, time.DateOnly)
	b = appendCSVText(append(b, ','), d.Name)
	b = d.Start.AppendFormat(append(b, ','), exportStamp)
	b = d.End.AppendFormat(append(b, ','), exportStamp)
	for _, n := range dayNumbers(d) {
		b = strconv.AppendInt(append(b, ','), n, 10)
	}
	return append(b, "\r\n"...)
}

func appendDayJSON(b []byte, d *read.Day) []byte {
	b = append(append(append(b, `{"productId":"`...), d.ProductID.String()...), '"')
	b = d.Start.AppendFormat(append(b, `,"day":"`...), time.DateOnly)
	b = appendJSONText(append(b, `","name":`...), d.Name)
	b = d.Start.AppendFormat(append(b, `,"start":"`...), exportStamp)
	b = d.End.AppendFormat(append(b, `","end":"`...), exportStamp)
	b = append(b, '"')
	for i, n := range dayNumbers(d) {
		b = append(append(append(b, `,"`...), dayColumns[i]...), `":`...)
		b = strconv.AppendInt(b, n, 10)
	}
	return append(b, "}\n"...)
}
