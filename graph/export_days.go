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
	"product-service/projection/view"
)

// DayExporter streams days, by product and day.
type DayExporter interface {
	ExportDays(ctx context.Context, where read.DayFilter, after read.DayID, each func(*read.Day) error) error
}

// ExportDays returns what serves GET /export/stock-days to callers who may read histories: a row a
// product and day (UTC), by product and day, also where nothing happened. The days are those that
// overlap the span that is asked for. See [exportOf].
func ExportDays(c Config, gate *Gate, exporter DayExporter, log *slog.Logger) http.Handler {
	return exportOf[read.Day]{
		name: "stock-days", header: dayHeader, csv: appendDayCSV, json: appendDayJSON, parquet: newParquet(recordDay), time: dayOrTime,
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

// dayRecord is a day in a Parquet file. Day is the number of the day since 1970, times are microseconds.
type dayRecord struct {
	ProductID         string `parquet:"productId,dict"`
	Day               int32  `parquet:"day,date"`
	Name              string `parquet:"name,dict"`
	Start             int64  `parquet:"start,timestamp(microsecond:utc)"`
	End               int64  `parquet:"end,timestamp(microsecond:utc)"`
	Opening           int64  `parquet:"opening"`
	Closing           int64  `parquet:"closing"`
	MinAvailable      int64  `parquet:"minAvailable"`
	MaxAvailable      int64  `parquet:"maxAvailable"`
	ReservedQuantity  int64  `parquet:"reservedQuantity"`
	ReleasedQuantity  int64  `parquet:"releasedQuantity"`
	ExpiredQuantity   int64  `parquet:"expiredQuantity"`
	AdjustedQuantity  int64  `parquet:"adjustedQuantity"`
	RefusedQuantity   int64  `parquet:"refusedQuantity"`
	Refusals          int64  `parquet:"refusals"`
	OutOfStockSeconds int64  `parquet:"outOfStockSeconds"`
	Movements         int64  `parquet:"movements"`
}

func recordDay(d *read.Day) dayRecord {
	return dayRecord{
		ProductID: d.ProductID.String(), Day: int32(d.Start.Unix() / view.SecondsPerDay), Name: d.Name, Start: d.Start.UnixMicro(), End: d.End.UnixMicro(),
		Opening: d.Opening, Closing: d.Closing, MinAvailable: d.Min, MaxAvailable: d.Max, ReservedQuantity: d.ReservedQuantity, ReleasedQuantity: d.ReleasedQuantity,
		ExpiredQuantity: d.ExpiredQuantity, AdjustedQuantity: d.AdjustedQuantity, RefusedQuantity: d.RefusedQuantity, Refusals: d.Refusals,
		OutOfStockSeconds: d.OutOfStockSeconds, Movements: d.Movements,
	}
}
