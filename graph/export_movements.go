package graph

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/projection/read"
)

// Exporter streams movements, the oldest first.
type Exporter interface {
	Export(ctx context.Context, where read.MovementFilter, after read.MovementID, each func(*read.Movement) error) error
}

// Export returns what serves GET /export/stock-movements to callers who may read histories: the
// movements of a product or of all, the oldest first. See [exportOf].
func Export(c Config, gate *Gate, exporter Exporter, log *slog.Logger) http.Handler {
	return exportOf[read.Movement]{
		name: "stock-movements", header: csvHeader, csv: appendCSV, json: appendJSON, parquet: newParquet(recordMovement), time: model.UnmarshalDateTime,
		open: func(e export) (rows[read.Movement], error) {
			where, after := read.MovementFilter{ProductID: e.productID, From: e.from, To: e.to}, read.MovementID{}
			if e.after != "" {
				id, version, err := cutRowID(e.after)
				if err == nil {
					after.ProductID = id
					after.Version, err = strconv.ParseInt(version, 10, 64)
				}
				if err != nil {
					return nil, badInput("after: it must be the id of a movement, such as 0190f3a4-5b6c-7d8e-9f00-112233445566.12")
				}
			}
			return func(ctx context.Context, each func(*read.Movement) error) error {
				return exporter.Export(ctx, where, after, each)
			}, nil
		},
	}.handler(c, gate, log)
}

const csvHeader = "id,productId,type,quantity,delta,totalAfter,reservedAfter,availableAfter,version,reservationId,sagaId,reason,actor,commandId,correlationId,occurredAt\r\n"

func appendCSV(b []byte, m *read.Movement) []byte {
	b = appendMovementID(b, m)
	b = append(append(b, ','), m.ProductID.String()...)
	b = append(append(b, ','), m.Type...)
	for _, n := range [...]int64{m.Quantity, m.Delta, m.Total, m.Reserved, m.Available(), m.Version} {
		b = strconv.AppendInt(append(b, ','), n, 10)
	}
	b = append(b, ',')
	if m.ReservationID != uuid.Nil {
		b = append(b, m.ReservationID.String()...)
	}
	b = appendCSVText(append(b, ','), m.SagaID)
	b = appendCSVText(append(b, ','), m.Reason)
	b = appendCSVText(append(b, ','), m.Actor)
	b = append(append(b, ','), m.CommandID.String()...)
	b = appendCSVText(append(b, ','), m.CorrelationID)
	b = m.OccurredAt.AppendFormat(append(b, ','), exportStamp)
	return append(b, "\r\n"...)
}

func appendMovementID(b []byte, m *read.Movement) []byte {
	return strconv.AppendInt(append(append(b, m.ProductID.String()...), '.'), m.Version, 10)
}

func appendJSON(b []byte, m *read.Movement) []byte {
	b = append(appendMovementID(append(b, `{"id":"`...), m), `","productId":"`...)
	b = append(append(b, m.ProductID.String()...), `","type":"`...)
	b = append(append(b, m.Type...), '"')
	for i, n := range [...]int64{m.Quantity, m.Delta, m.Total, m.Reserved, m.Available(), m.Version} {
		b = strconv.AppendInt(append(b, exportNumbers[i]...), n, 10)
	}
	b = append(b, `,"reservationId":`...)
	if m.ReservationID == uuid.Nil {
		b = append(b, "null"...)
	} else {
		b = append(append(append(b, '"'), m.ReservationID.String()...), '"')
	}
	b = appendJSONText(append(b, `,"sagaId":`...), m.SagaID)
	b = appendJSONText(append(b, `,"reason":`...), m.Reason)
	b = appendJSONText(append(b, `,"actor":`...), m.Actor)
	b = append(append(append(b, `,"commandId":"`...), m.CommandID.String()...), '"')
	b = appendJSONText(append(b, `,"correlationId":`...), m.CorrelationID)
	b = m.OccurredAt.AppendFormat(append(b, `,"occurredAt":"`...), exportStamp)
	return append(b, "\"}\n"...)
}

var exportNumbers = [...]string{`,"quantity":`, `,"delta":`, `,"totalAfter":`, `,"reservedAfter":`, `,"availableAfter":`, `,"version":`}

// movementRecord is a movement in a Parquet file. Times are microseconds.
type movementRecord struct {
	ID             string `parquet:"id"`
	ProductID      string `parquet:"productId,dict"`
	Type           string `parquet:"type,dict"`
	Quantity       int64  `parquet:"quantity"`
	Delta          int64  `parquet:"delta"`
	TotalAfter     int64  `parquet:"totalAfter"`
	ReservedAfter  int64  `parquet:"reservedAfter"`
	AvailableAfter int64  `parquet:"availableAfter"`
	Version        int64  `parquet:"version"`
	ReservationID  string `parquet:"reservationId,optional"`
	SagaID         string `parquet:"sagaId,optional"`
	Reason         string `parquet:"reason,optional,dict"`
	Actor          string `parquet:"actor,optional,dict"`
	CommandID      string `parquet:"commandId"`
	CorrelationID  string `parquet:"correlationId,optional"`
	OccurredAt     int64  `parquet:"occurredAt,timestamp(microsecond:utc)"`
}

func recordMovement(m *read.Movement) movementRecord {
	r := movementRecord{
		ID: string(appendMovementID(make([]byte, 0, 56), m)), ProductID: m.ProductID.String(), Type: string(m.Type), Quantity: m.Quantity, Delta: m.Delta,
		TotalAfter: m.Total, ReservedAfter: m.Reserved, AvailableAfter: m.Available(), Version: m.Version, SagaID: m.SagaID, Reason: m.Reason,
		Actor: m.Actor, CommandID: m.CommandID.String(), CorrelationID: m.CorrelationID, OccurredAt: m.OccurredAt.UnixMicro(),
	}
	if m.ReservationID != uuid.Nil {
		r.ReservationID = m.ReservationID.String()
	}
	return r
}
