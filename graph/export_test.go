package graph

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/projection/read"
	"product-service/projection/view"
)

// exporterFunc is an Exporter.
type exporterFunc func(where read.MovementFilter, after read.MovementID, each func(*read.Movement) error) error

func (f exporterFunc) Export(_ context.Context, where read.MovementFilter, after read.MovementID, each func(*read.Movement) error) error {
	return f(where, after, each)
}

var exported = read.Movement{
	ProductID: uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-112233445566"), Version: 3, Type: view.Released, Quantity: 2, Delta: 2, Total: 10, Reserved: 1,
	ReservationID: uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-000000000001"), SagaID: "=cmd|' /C calc'!A0", Reason: `a "reason", with comma`, Actor: "+ann@example",
	CommandID: uuid.MustParse("0190f3a4-5b6c-7d8e-9f00-000000000002"), OccurredAt: time.Date(2026, 11, 23, 14, 5, 0, 1000, time.UTC),
}

func exports(t *testing.T, n int, fail error) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(Export(Config{}, everybody(t), exporterFunc(func(_ read.MovementFilter, _ read.MovementID, each func(*read.Movement) error) error {
		for range n {
			m := exported
			if err := each(&m); err != nil {
				return err
			}
		}
		return fail
	}), slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return server
}

func fetch(t *testing.T, address string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestCSVHasTheColumnsOfAMovementAndDefusesFormulas(t *testing.T) {
	resp, body, err := fetch(t, exports(t, 2, nil).URL)
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") {
		t.Fatalf("%v, content type %q", err, resp.Header.Get("Content-Type"))
	}
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v:\n%s", len(rows), err, body)
	}
	row := map[string]string{}
	for i, name := range rows[0] {
		row[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"id": "0190f3a4-5b6c-7d8e-9f00-112233445566.3", "type": "RELEASED", "quantity": "2", "delta": "2", "totalAfter": "10", "reservedAfter": "1",
		"availableAfter": "9", "version": "3", "reservationId": "0190f3a4-5b6c-7d8e-9f00-000000000001", "sagaId": "'=cmd|' /C calc'!A0",
		"reason": `a "reason", with comma`, "actor": "'+ann@example", "correlationId": "", "occurredAt": "2026-11-23T14:05:00.000001Z",
	} {
		if row[name] != want {
			t.Errorf("%s is %q, not %q", name, row[name], want)
		}
	}
}

func TestNDJSONHasTheSameFieldsAsCSV(t *testing.T) {
	_, body, err := fetch(t, exports(t, 1, nil).URL+"?format=ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var row map[string]any
	if err := json.Unmarshal([]byte(body), &row); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for name := range strings.SplitSeq(strings.TrimSpace(csvHeader), ",") {
		if _, ok := row[name]; !ok {
			t.Errorf("%s is missing in %s", name, body)
		}
	}
	if row["sagaId"] != exported.SagaID || row["actor"] != exported.Actor || row["correlationId"] != nil || row["availableAfter"] != 9.0 {
		t.Errorf("the row is %v", row)
	}
}

// fetchCompressed asks as a browser does, which accepts compression, and takes the body as it is sent.
func fetchCompressed(t *testing.T, address string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestAnExportIsCompressedWhenAsked(t *testing.T) {
	resp := fetchCompressed(t, exports(t, 1000, nil).URL)
	plain, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(plain)
	if err != nil || strings.Count(string(body), "\n") != 1001 {
		t.Errorf("%d lines, %v", strings.Count(string(body), "\n"), err)
	}
}

func TestAnExportThatFailsHalfWayIsNotTakenForWhole(t *testing.T) {
	if _, _, err := fetch(t, exports(t, 5000, errors.New("the database went away")).URL); err == nil {
		t.Error("the client saw a whole answer")
	}
}

func TestAnExportThatFailsAtOnceSaysSo(t *testing.T) {
	resp, body, err := fetch(t, exports(t, 0, errors.New("the database went away")).URL)
	if err != nil || resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "database") {
		t.Errorf("%d, %v: %s", resp.StatusCode, err, body)
	}
}

func TestAnEmptyExportHasItsHeader(t *testing.T) {
	if resp, body, err := fetch(t, exports(t, 0, nil).URL); err != nil || resp.StatusCode != http.StatusOK || body != csvHeader {
		t.Errorf("%d, %v: %q", resp.StatusCode, err, body)
	}
}

// Whatever of the URL can't be read or isn't meant is refused with words, and nothing is exported.
func TestWrongParametersOfAnExportAreExplained(t *testing.T) {
	server := exports(t, 1, nil)
	long := strings.Repeat("limit", 1000)
	for query, says := range map[string]string{
		"format=xml": "csv, ndjson or parquet", "from=yesterday": "RFC 3339", "productId=7": "UUID", "after=x": "id of a movement", "limit=3": "no parameter",
		"to=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z": "given 2 times", "format=csv&format=csv": "given 2 times", "productid=" + idA: "no parameter",
		"productId=" + idA + ";format=ndjson": "can't be read", "productId=" + idA + "%zz": "can't be read", "from=2030-01-01T00:00:00Z;&format=csv": "can't be read",
		"productId=" + idA + "%": "can't be read", "productId=": "is empty", "productId": "is empty", "to=": "to is empty", "from=&format=csv": "from is empty", "after=": "is empty", "format=": "is empty",
		"from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z": "after to", "from=2026-11-24T00:00:00Z&to=0001-01-01T00:00:00Z": "after to",
		"from=2026-11-24T00:00:00+01:00": "%2B", "to=9999-12-31T23:59:59.9999999-05:00": "9999", "from=0000-01-01T00:00:00Z": "0001",
		"bom=yes": "true or false", "bom=true&format=ndjson": "format=csv", "bom=true&format=parquet": "format=csv", long + "=1": "no parameter", "after=" + long: "id of a movement",
	} {
		resp, body, err := fetch(t, server.URL+"?"+query)
		if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, says) || !strings.Contains(body, string(BadUserInput)) || len(body) > 500 {
			t.Errorf("%s: %d, %v: %s", query, resp.StatusCode, err, body)
		}
	}
}

func TestACSVBeginsWithAByteOrderMarkWhereItIsAskedFor(t *testing.T) {
	server := exports(t, 1, nil)
	for query, want := range map[string]string{"?bom=true": "\ufeffid,productId,", "?format=csv&bom=true": "\ufeffid,productId,", "": "id,", "?bom=false": "id,", "?bom=false&format=ndjson": `{"id":`} {
		if _, body, err := fetch(t, server.URL+query); err != nil || !strings.HasPrefix(body, want) || strings.Count(body, "\ufeff") != strings.Count(want, "\ufeff") {
			t.Errorf("%s: %v: %q", query, err, body)
		}
	}
}

// An apostrophe stands only before what a spreadsheet would calculate.
func TestWhatASpreadsheetWouldCalculateIsDefused(t *testing.T) {
	for text, want := range map[string]string{
		"=1+1": `"'=1+1"`, "+A1": `"'+A1"`, "-A1": `"'-A1"`, "-1+cmd|' /C calc'!A0": `"'-1+cmd|' /C calc'!A0"`, "@SUM(A1)": `"'@SUM(A1)"`,
		"\t=1": "\"'\t=1\"", "\r=1": "\"'\r=1\"", "\n=1": "\"'\n=1\"", "＝1+1": `"'＝1+1"`, "＋1": `"'＋1"`, "－A": `"'－A"`, "＠A": `"'＠A"`, "-": `"'-"`, "- 5": `"'- 5"`,
		`=A"1`: `"'=A""1"`,
		"-5":   "-5", "+5": "+5", "-5.25": "-5.25", "5-3": "5-3", "a=b": "a=b", "Rückgabe": "Rückgabe", "a,b": `"a,b"`, `a"b`: `"a""b"`, "": "", "'x": "'x", " =1": " =1",
	} {
		if got := string(appendCSVText(nil, text)); got != want {
			t.Errorf("%q is written as %s, want %s", text, got, want)
		}
	}
}

func TestAnExportGoesOnAfterAMovement(t *testing.T) {
	var got read.MovementID
	var filter read.MovementFilter
	server := httptest.NewServer(Export(Config{}, everybody(t), exporterFunc(func(where read.MovementFilter, after read.MovementID, _ func(*read.Movement) error) error {
		got, filter = after, where
		return nil
	}), slog.New(slog.DiscardHandler)))
	defer server.Close()
	if _, _, err := fetch(t, server.URL+"?after=0190F3A4-5b6c-7d8e-9f00-112233445566.12&from=2026-11-23T00:00:00Z&productId="+exported.ProductID.String()); err != nil {
		t.Fatal(err)
	}
	if got != (read.MovementID{ProductID: exported.ProductID, Version: 12}) || filter.ProductID != exported.ProductID || filter.From == nil {
		t.Errorf("it asked for %v after %v", filter, got)
	}
}

func TestAHeadOfAnExportReadsNothing(t *testing.T) {
	server := httptest.NewServer(Export(Config{}, everybody(t), exporterFunc(func(read.MovementFilter, read.MovementID, func(*read.Movement) error) error {
		t.Error("it was run")
		return nil
	}), slog.New(slog.DiscardHandler)))
	defer server.Close()
	resp, err := http.Head(server.URL + "?format=ndjson")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d, %v", resp.StatusCode, resp.Header)
	}
}

// As many exports run as may; one more is told that the service is busy, which is no fault of its own.
func TestTooManyExportsAreToldSo(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(Export(Config{}, everybody(t), exporterFunc(func(read.MovementFilter, read.MovementID, func(*read.Movement) error) error {
		began <- struct{}{}
		<-end
		return nil
	}), slog.New(slog.DiscardHandler)))
	defer server.Close()
	var running sync.WaitGroup
	for range maxExports {
		running.Go(func() { _, _, _ = fetch(t, server.URL) })
		<-began
	}
	resp, body, err := fetch(t, server.URL)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, string(InternalServerError)) {
		t.Errorf("%d, %v: %s", resp.StatusCode, err, body)
	}
	close(end)
	running.Wait()
}

// A connection serves other requests after an export, however much later.
func TestTheTimeOfAnExportEndsWithIt(t *testing.T) {
	var deadlines []time.Time
	w := &deadlined{ResponseRecorder: httptest.NewRecorder(), set: func(at time.Time) { deadlines = append(deadlines, at) }}
	Export(Config{}, everybody(t), exporterFunc(func(_ read.MovementFilter, _ read.MovementID, each func(*read.Movement) error) error {
		m := exported
		return each(&m)
	}), slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/export/stock-movements", nil))
	if n := len(deadlines); n < 2 || deadlines[0].IsZero() || !deadlines[n-1].IsZero() {
		t.Errorf("the deadlines were %v", deadlines)
	}
}

type deadlined struct {
	*httptest.ResponseRecorder
	set func(time.Time)
}

func (d *deadlined) SetWriteDeadline(at time.Time) error {
	d.set(at)
	return nil
}

// A client that goes away ends the export, and with it its read of the database.
func TestAnExportEndsWithItsClient(t *testing.T) {
	ended := make(chan error, 1)
	server := httptest.NewServer(Export(Config{}, everybody(t), exportUntil(func(ctx context.Context, each func(*read.Movement) error) error {
		var err error
		for err == nil {
			m := exported
			if err = each(&m); err == nil {
				err = ctx.Err()
			}
		}
		ended <- err
		return err
	}), slog.New(slog.DiscardHandler)))
	defer server.Close()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	_ = resp.Body.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}

// exportUntil is an Exporter of everything.
type exportUntil func(ctx context.Context, each func(*read.Movement) error) error

func (f exportUntil) Export(ctx context.Context, _ read.MovementFilter, _ read.MovementID, each func(*read.Movement) error) error {
	return f(ctx, each)
}
