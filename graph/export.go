package graph

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"product-service/graph/auth"
	"product-service/graph/model"
	"product-service/projection/read"
)

const (
	maxExports   = 4                // at a time: each keeps a cursor of the database open
	exportStall  = 30 * time.Second // how long a client may take nothing
	exportBuffer = 64 << 10
)

// exportOf is an export of rows of a kind as a file.
type exportOf[Row any] struct {
	name      string // of the file, without its ending
	header    string // of a CSV
	csv, json func(to []byte, row *Row) []byte
	parquet   func(io.Writer) encoder[Row]

	time func(text any) (time.Time, error) // reads from and to
	// open takes what was asked for. It fails with what is to be said to the client.
	open func(export) (rows[Row], error)
}

// rows calls each with one row after the other.
type rows[Row any] func(ctx context.Context, each func(*Row) error) error

// handler serves the export to callers who may read histories: as CSV (RFC 4180; with bom=true
// behind a byte order mark), NDJSON or Parquet, streamed as the rows are read. A download that
// broke off is resumed with after, which names its last whole row. An export that fails half-way
// ends the connection without the last chunk, so that nobody takes it for whole.
func (x exportOf[Row]) handler(c Config, gate *Gate, log *slog.Logger) http.Handler {
	slots := make(chan struct{}, maxExports)
	present := presenter{log}
	refuse := func(w http.ResponseWriter, r *http.Request, status int, err error) {
		present.refuse(r.Context(), w, mediaJSON, status, err)
	}
	return edge(c, gate, auth.StockHistory, present, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := x.parse(r.URL.RawQuery)
		var all rows[Row]
		if err == nil {
			all, err = x.open(e)
		}
		if err != nil {
			refuse(w, r, http.StatusBadRequest, err)
			return
		}
		out := newExportWriter(w, x, e)
		if r.Method == http.MethodHead {
			out.headers()
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
		err = all(r.Context(), out.row)
		switch {
		case err == nil:
			err = out.close()
		case !out.started && errors.Is(err, read.ErrBadRange):
			refuse(w, r, http.StatusBadRequest, badInput("after=%s: the export has no such row to go on after", model.Abbreviate(e.after)))
			return
		case !out.started:
			refuse(w, r, http.StatusInternalServerError, fmt.Errorf("export %s: %w", x.name, err))
			return
		}
		if err != nil {
			if r.Context().Err() == nil {
				log.ErrorContext(r.Context(), "an export broke off", "export", x.name, "error", err)
			}
			panic(http.ErrAbortHandler)
		}
	}), http.MethodGet, http.MethodHead)
}

// export is what a request asks for.
type export struct {
	format    string
	bom       bool      // a CSV begins with a byte order mark
	productID uuid.UUID // uuid.Nil: of all products
	from, to  *time.Time
	after     string // names the row behind which it goes on
}

// exportParameters are what the URL of an export may have, each once and not empty.
var exportParameters = []string{"productId", "from", "to", "format", "bom", "after"}

// parse reads the query of a URL. What can't be read is refused: left out it would be exported more
// than was asked for.
func (x exportOf[Row]) parse(raw string) (e export, err error) {
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
		if e.productID, err = parseID(id); err != nil {
			return e, badInput("productId: %s", err)
		}
	}
	if e.from, err = x.timeOf(query, "from"); err != nil {
		return e, err
	}
	if e.to, err = x.timeOf(query, "to"); err != nil {
		return e, err
	}
	if from, to := e.from, e.to; from != nil && to != nil && from.After(*to) {
		return e, badInput("from %s is after to %s; it must be at most that", stamp(*from), stamp(*to))
	}
	switch e.format = query.Get("format"); e.format {
	case "":
		e.format = "csv"
	case "csv", "ndjson", "parquet":
	default:
		return e, badInput("format: it must be csv, ndjson or parquet")
	}
	switch bom := query.Get("bom"); {
	case bom == "true" && e.format != "csv":
		return e, badInput("bom: a byte order mark is for format=csv alone")
	case bom != "" && bom != "true" && bom != "false":
		return e, badInput("bom: it must be true or false")
	default:
		e.bom = bom == "true"
	}
	e.after = query.Get("after")
	return e, nil
}

func (x exportOf[Row]) timeOf(query url.Values, name string) (*time.Time, error) {
	if !query.Has(name) {
		return nil, nil
	}
	at, err := x.time(query.Get(name))
	if err != nil {
		return nil, badInput("%s: %s (in a URL + is written as %%2B)", name, err)
	}
	return &at, nil
}

// cutRowID parts the name of a row: a product's id, and what the row is of it.
func cutRowID(text string) (productID uuid.UUID, of string, err error) {
	id, of, _ := strings.Cut(text, ".")
	productID, err = parseID(id)
	return productID, of, err
}

// exportWriter starts the answer with the first row, and writes rows through a buffer of fixed size.
type exportWriter[Row any] struct {
	response http.ResponseWriter
	control  *http.ResponseController
	of       exportOf[Row]
	asked    export
	started  bool

	out  *bufio.Writer
	file encoder[Row]
}

// encoder writes rows in a format.
type encoder[Row any] interface {
	row(*Row) error
	close() error
}

func newExportWriter[Row any](w http.ResponseWriter, of exportOf[Row], asked export) *exportWriter[Row] {
	return &exportWriter[Row]{response: w, control: http.NewResponseController(w), of: of, asked: asked}
}

// Write passes a full buffer on; a client that takes none of it in time is given up.
func (x *exportWriter[Row]) Write(p []byte) (int, error) {
	if err := x.control.SetWriteDeadline(time.Now().Add(exportStall)); err != nil {
		return 0, err
	}
	return x.response.Write(p)
}

// exportMedia are the formats of exports.
var exportMedia = map[string]string{
	"csv": "text/csv; charset=utf-8; header=present", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet",
}

// headers sets the headers of an answer.
func (x *exportWriter[Row]) headers() {
	h := x.response.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", exportMedia[x.asked.format])
	h.Set("Content-Disposition", `attachment; filename="`+x.of.name+`.`+x.asked.format+`"`)
}

func (x *exportWriter[Row]) start() {
	x.started = true
	x.headers()
	x.out = bufio.NewWriterSize(x, exportBuffer)
	switch x.asked.format {
	case "csv":
		if x.asked.bom {
			_, _ = x.out.WriteString(byteOrderMark)
		}
		_, _ = x.out.WriteString(x.of.header) // its error comes again with the next write
		x.file = &lines[Row]{out: x.out, write: x.of.csv}
	case "ndjson":
		x.file = &lines[Row]{out: x.out, write: x.of.json}
	default:
		x.file = x.of.parquet(x.out)
	}
}

func (x *exportWriter[Row]) row(r *Row) error {
	if !x.started {
		x.start()
	}
	return x.file.row(r)
}

func (x *exportWriter[Row]) close() error {
	if !x.started {
		x.start()
	}
	if err := x.file.close(); err != nil {
		return err
	}
	if err := x.out.Flush(); err != nil {
		return err
	}
	if err := x.control.Flush(); err != nil {
		return err
	}
	return x.control.SetWriteDeadline(time.Time{}) // the next request on the connection has a time of its own
}

// lines writes a line a row.
type lines[Row any] struct {
	out   io.Writer
	write func(to []byte, row *Row) []byte
	line  []byte
}

func (l *lines[Row]) row(r *Row) error {
	l.line = l.write(l.line[:0], r)
	_, err := l.out.Write(l.line)
	return err
}

func (l *lines[Row]) close() error { return nil }

// byteOrderMark tells Excel that a CSV is in UTF-8.
const byteOrderMark = "\ufeff"

const exportStamp = "2006-01-02T15:04:05.000000Z"

// appendCSVText writes a text that somebody else chose. A spreadsheet would run one that begins
// like a formula, so that gets an apostrophe in front (OWASP, "CSV Injection").
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

// isFormula says whether a spreadsheet would calculate a cell instead of showing it. A number with
// its sign is only shown.
func isFormula(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 || !strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return false
	}
	return !signedNumber.MatchString(text)
}

var signedNumber = regexp.MustCompile(`^[+-][0-9]+(\.[0-9]+)?$`)

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
