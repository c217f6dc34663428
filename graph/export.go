package graph

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"product-service/projection"
)

// Exporter streams movements, the oldest first.
type Exporter interface {
	Export(ctx context.Context, where projection.MovementFilter, after projection.MovementID, each func(*projection.Movement) error) error
}

const (
	maxExports   = 4                // at a time: each keeps a cursor of the database open
	exportStall  = 30 * time.Second // how long a client may take nothing
	exportBuffer = 64 << 10
)

// Export returns what serves GET /export/stock-movements: the movements of a product or of all as CSV (RFC 4180) or NDJSON, streamed as
// they are read. A download that broke off is resumed with after=ID of its last whole row. An export that fails half-way ends the
// connection without the last chunk, so that nobody takes it for whole.
func Export(c Config, exporter Exporter, log *slog.Logger) http.Handler {
	slots := make(chan struct{}, maxExports)
	present := presenter{log}
	refuse := func(w http.ResponseWriter, r *http.Request, status int, err error) {
		present.refuse(r.Context(), w, mediaJSON, status, err)
	}
	return edge(c, present, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := parseExport(r.URL.Query())
		if err != nil {
			refuse(w, r, http.StatusBadRequest, err)
			return
		}
		if r.Method == http.MethodHead {
			newExportWriter(w, e.format).header()
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			w.Header().Set("Retry-After", "10")
			refuse(w, r, http.StatusServiceUnavailable, faultf(InternalServerError, "the service is busy: %d exports are under way, which is as many as can be at a time; try again", maxExports))
			return
		}
		out := newExportWriter(w, e.format)
		err = exporter.Export(r.Context(), e.where, e.after, out.row)
		switch {
		case err == nil:
			err = out.close()
		case !out.started && errors.Is(err, projection.ErrBadRange):
			refuse(w, r, http.StatusBadRequest, badInput("after=%s.%d: the export has no such movement to go on after", e.after.ProductID, e.after.Version))
			return
		case !out.started:
			refuse(w, r, http.StatusInternalServerError, fmt.Errorf("export movements: %w", err))
			return
		}
		if err != nil {
			if r.Context().Err() == nil {
				log.ErrorContext(r.Context(), "an export of movements broke off", "error", err)
			}
			panic(http.ErrAbortHandler)
		}
	}), http.MethodGet, http.MethodHead)
}

// export is what a request asks for.
type export struct {
	format string
	where  projection.MovementFilter
	after  projection.MovementID
}

func parseExport(query url.Values) (e export, err error) {
	for name, values := range query {
		switch name {
		case "productId", "from", "to", "format", "after":
			if len(values) > 1 {
				return e, badInput("%s is given %d times; it may be given once", name, len(values))
			}
		default:
			return e, badInput("there is no parameter %q; there are productId, from, to, format and after", name)
		}
	}
	if id := query.Get("productId"); id != "" {
		if e.where.ProductID, err = parseID(id); err != nil {
			return e, badInput("productId: %s", err)
		}
	}
	for name, at := range map[string]*time.Time{"from": &e.where.From, "to": &e.where.To} {
		if text := query.Get(name); text != "" {
			if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return e, badInput("%s: it must be a time as RFC 3339 has them, such as 2026-11-23T14:05:00Z (a + written as %%2B)", name)
			}
		}
	}
	switch e.format = query.Get("format"); e.format {
	case "":
		e.format = "csv"
	case "csv", "ndjson":
	default:
		return e, badInput("format: it must be csv or ndjson")
	}
	if after := query.Get("after"); after != "" {
		id, version, _ := strings.Cut(after, ".")
		if e.after.ProductID, err = parseID(id); err == nil {
			e.after.Version, err = strconv.ParseInt(version, 10, 64)
		}
		if err != nil {
			return e, badInput("after: it must be the id of a movement, such as 0190f3a4-5b6c-7d8e-9f00-112233445566.12")
		}
	}
	return e, nil
}

// exportWriter writes rows through buffers of fixed size, and starts the answer with the first of them.
type exportWriter struct {
	response http.ResponseWriter
	control  *http.ResponseController
	format   string
	started  bool

	out  *bufio.Writer
	line []byte
}

func newExportWriter(w http.ResponseWriter, format string) *exportWriter {
	return &exportWriter{response: w, control: http.NewResponseController(w), format: format}
}

// Write passes a full buffer on; a client that takes none of it in time is given up.
func (x *exportWriter) Write(p []byte) (int, error) {
	if err := x.control.SetWriteDeadline(time.Now().Add(exportStall)); err != nil {
		return 0, err
	}
	return x.response.Write(p)
}

// header sets the headers of an answer.
func (x *exportWriter) header() {
	h := x.response.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	media := map[string]string{"csv": "text/csv; charset=utf-8; header=present", "ndjson": "application/x-ndjson"}
	h.Set("Content-Type", media[x.format])
	h.Set("Content-Disposition", `attachment; filename="stock-movements.`+x.format+`"`)
}

func (x *exportWriter) start() {
	x.started = true
	x.header()
	x.out = bufio.NewWriterSize(x, exportBuffer)
	if x.format == "csv" {
		_, _ = x.out.WriteString(csvHeader) // its error comes again with the next write
	}
}

func (x *exportWriter) row(m *projection.Movement) error {
	if !x.started {
		x.start()
	}
	if x.format == "csv" {
		x.line = appendCSV(x.line[:0], m)
	} else {
		x.line = appendJSON(x.line[:0], m)
	}
	_, err := x.out.Write(x.line)
	return err
}

func (x *exportWriter) close() error {
	if !x.started {
		x.start()
	}
	if err := x.out.Flush(); err != nil {
		return err
	}
	if err := x.control.Flush(); err != nil {
		return err
	}
	return x.control.SetWriteDeadline(time.Time{}) // the next request on the connection has a time of its own
}

const csvHeader = "id,productId,type,quantity,delta,totalAfter,reservedAfter,availableAfter,version,reservationId,sagaId,reason,commandId,correlationId,occurredAt\r\n"

const exportTime = "2006-01-02T15:04:05.000000Z"

func appendCSV(b []byte, m *projection.Movement) []byte {
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
	b = append(append(b, ','), m.CommandID.String()...)
	b = appendCSVText(append(b, ','), m.CorrelationID)
	b = m.OccurredAt.AppendFormat(append(b, ','), exportTime)
	return append(b, "\r\n"...)
}

// appendCSVText writes a text that somebody else chose. A spreadsheet would run one that begins like a formula, so that gets a quote in
// front (OWASP, "CSV Injection").
func appendCSVText(b []byte, text string) []byte {
	if text == "" {
		return b
	}
	formula := strings.ContainsRune("=+-@\t\r\n", rune(text[0]))
	if !formula && !strings.ContainsAny(text, "\",\r\n") {
		return append(b, text...)
	}
	b = append(b, '"')
	if formula {
		b = append(b, '\'')
	}
	return append(append(b, strings.ReplaceAll(text, `"`, `""`)...), '"')
}

func appendMovementID(b []byte, m *projection.Movement) []byte {
	return strconv.AppendInt(append(append(b, m.ProductID.String()...), '.'), m.Version, 10)
}

func appendJSON(b []byte, m *projection.Movement) []byte {
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
	b = append(append(append(b, `,"commandId":"`...), m.CommandID.String()...), '"')
	b = appendJSONText(append(b, `,"correlationId":`...), m.CorrelationID)
	b = m.OccurredAt.AppendFormat(append(b, `,"occurredAt":"`...), exportTime)
	return append(b, "\"}\n"...)
}

var exportNumbers = [...]string{`,"quantity":`, `,"delta":`, `,"totalAfter":`, `,"reservedAfter":`, `,"availableAfter":`, `,"version":`}

// appendJSONText writes a text, or null where there is none.
func appendJSONText(b []byte, text string) []byte {
	if text == "" {
		return append(b, "null"...)
	}
	quoted, err := json.Marshal(text)
	if err != nil { // no string fails
		return append(b, "null"...)
	}
	return append(b, quoted...)
}
