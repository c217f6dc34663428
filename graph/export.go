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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"product-service/graph/auth"
	"product-service/graph/model"
	"product-service/projection/read"
)

// Exporter streams movements, the oldest first.
type Exporter interface {
	Export(ctx context.Context, where read.MovementFilter, after read.MovementID, each func(*read.Movement) error) error
}

const (
	maxExports   = 4                // at a time: each keeps a cursor of the database open
	exportStall  = 30 * time.Second // how long a client may take nothing
	exportBuffer = 64 << 10
)

// Export returns what serves GET /export/stock-movements to callers who may read histories: the movements of a product or of all as CSV
// (RFC 4180; with bom=true behind a byte order mark) or NDJSON, streamed as they are read. A download that broke off is resumed with
// after=ID of its last whole row. An export that fails half-way ends the
// connection without the last chunk, so that nobody takes it for whole.
func Export(c Config, gate *Gate, exporter Exporter, log *slog.Logger) http.Handler {
	slots := make(chan struct{}, maxExports)
	present := presenter{log}
	refuse := func(w http.ResponseWriter, r *http.Request, status int, err error) {
		present.refuse(r.Context(), w, mediaJSON, status, err)
	}
	return edge(c, gate, auth.StockHistory, present, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := parseExport(r.URL.RawQuery)
		if err != nil {
			refuse(w, r, http.StatusBadRequest, err)
			return
		}
		if r.Method == http.MethodHead {
			newExportWriter(w, e).header()
			return
		}
		if err := spend(r.Context(), exportCost); err != nil {
			refuse(w, r, statusOf(w.Header(), err), err)
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
		out := newExportWriter(w, e)
		err = exporter.Export(r.Context(), e.where, e.after, out.row)
		switch {
		case err == nil:
			err = out.close()
		case !out.started && errors.Is(err, read.ErrBadRange):
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
	bom    bool // a CSV begins with a byte order mark
	where  read.MovementFilter
	after  read.MovementID
}

// exportParameters are what the URL of an export may have, each once and not empty.
var exportParameters = []string{"productId", "from", "to", "format", "bom", "after"}

// parseExport reads the query of a URL. What can't be read is refused: left out it would be exported more than was asked for.
func parseExport(raw string) (e export, err error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return e, badInput("the parameters can't be read: they are separated by &, and ; %% + and other reserved characters in them are written as %%3B, %%25, %%2B")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(exportParameters, name):
			return e, badInput("there is no parameter %q; there are %s", model.Abbreviate(name), strings.Join(exportParameters, ", "))
		case len(values) > 1:
			return e, badInput("%s is given %d times; it may be given once", name, len(values))
		case values[0] == "":
			return e, badInput("%s is empty; it must have a value, or be left out", name)
		}
	}
	if id := query.Get("productId"); id != "" {
		if e.where.ProductID, err = parseID(id); err != nil {
			return e, badInput("productId: %s", err)
		}
	}
	if e.where.From, err = exportTime(query, "from"); err != nil {
		return e, err
	}
	if e.where.To, err = exportTime(query, "to"); err != nil {
		return e, err
	}
	if from, to := e.where.From, e.where.To; from != nil && to != nil && from.After(*to) {
		return e, badInput("from %s is after to %s; it must be at most that", stamp(*from), stamp(*to))
	}
	switch e.format = query.Get("format"); e.format {
	case "":
		e.format = "csv"
	case "csv", "ndjson":
	default:
		return e, badInput("format: it must be csv or ndjson")
	}
	switch bom := query.Get("bom"); {
	case bom == "true" && e.format != "csv":
		return e, badInput("bom: a byte order mark is for format=csv alone")
	case bom != "" && bom != "true" && bom != "false":
		return e, badInput("bom: it must be true or false")
	default:
		e.bom = bom == "true"
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

func exportTime(query url.Values, name string) (*time.Time, error) {
	if !query.Has(name) {
		return nil, nil
	}
	at, err := model.UnmarshalDateTime(query.Get(name))
	if err != nil {
		return nil, badInput("%s: %s (in a URL + is written as %%2B)", name, err)
	}
	return &at, nil
}

// exportWriter writes rows through buffers of fixed size, and starts the answer with the first of them.
type exportWriter struct {
	response http.ResponseWriter
	control  *http.ResponseController
	asked    export
	started  bool

	out  *bufio.Writer
	line []byte
}

func newExportWriter(w http.ResponseWriter, asked export) *exportWriter {
	return &exportWriter{response: w, control: http.NewResponseController(w), asked: asked}
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
	h.Set("Content-Type", media[x.asked.format])
	h.Set("Content-Disposition", `attachment; filename="stock-movements.`+x.asked.format+`"`)
}

func (x *exportWriter) start() {
	x.started = true
	x.header()
	x.out = bufio.NewWriterSize(x, exportBuffer)
	if x.asked.format == "csv" {
		if x.asked.bom {
			_, _ = x.out.WriteString(byteOrderMark)
		}
		_, _ = x.out.WriteString(csvHeader) // its error comes again with the next write
	}
}

func (x *exportWriter) row(m *read.Movement) error {
	if !x.started {
		x.start()
	}
	if x.asked.format == "csv" {
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

const csvHeader = "id,productId,type,quantity,delta,totalAfter,reservedAfter,availableAfter,version,reservationId,sagaId,reason,actor,commandId,correlationId,occurredAt\r\n"

// byteOrderMark tells Excel that a CSV is in UTF-8.
const byteOrderMark = "\ufeff"

const exportStamp = "2006-01-02T15:04:05.000000Z"

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

// appendCSVText writes a text that somebody else chose. A spreadsheet would run one that begins like a formula, so that gets an
// apostrophe in front (OWASP, "CSV Injection").
func appendCSVText(b []byte, text string) []byte {
	formula := isFormula(text)
	if !formula && !strings.ContainsAny(text, "\",\r\n") {
		return append(b, text...)
	}
	b = append(b, '"')
	if formula {
		b = append(b, '\'')
	}
	return append(append(b, strings.ReplaceAll(text, `"`, `""`)...), '"')
}

// isFormula says whether a spreadsheet would calculate a cell instead of showing it. A number with its sign is only shown.
func isFormula(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 || !strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return false
	}
	return !signedNumber.MatchString(text)
}

var signedNumber = regexp.MustCompile(`^[+-][0-9]+(\.[0-9]+)?$`)

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
