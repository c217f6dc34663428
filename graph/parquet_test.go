package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"product-service/projection/read"
)

// parquetOf fetches a Parquet file as a browser would, which accepts compression.
func parquetOf(t *testing.T, address string) *parquet.File {
	t.Helper()
	resp := fetchCompressed(t, address)
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Type") != "application/vnd.apache.parquet" || resp.Header.Get("Content-Encoding") != "" ||
		!strings.HasSuffix(resp.Header.Get("Content-Disposition"), `.parquet"`) {
		t.Fatalf("%v, headers %v", err, resp.Header)
	}
	file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// columnTypes are the columns of a file, in order, with their logical types.
func columnTypes(f *parquet.File) (types []string) {
	for _, field := range f.Schema().Fields() {
		optional := ""
		if field.Optional() {
			optional = "?"
		}
		types = append(types, field.Name()+optional+" "+field.Type().String())
	}
	return types
}

func TestAParquetFileOfMovementsHasTypedColumns(t *testing.T) {
	file := parquetOf(t, exports(t, rowGroup+10, nil).URL+"?format=parquet")
	text, number := " STRING", " INT(64,true)"
	want := []string{"id" + text, "productId" + text, "type" + text, "quantity" + number, "delta" + number, "totalAfter" + number, "reservedAfter" + number,
		"availableAfter" + number, "version" + number, "reservationId?" + text, "sagaId?" + text, "reason?" + text, "actor?" + text, "commandId" + text,
		"correlationId?" + text, "occurredAt TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)"}
	if got := columnTypes(file); !slices.Equal(got, want) {
		t.Errorf("the columns are\n%q, want\n%q", got, want)
	}
	groups := file.RowGroups()
	if len(groups) != 2 || groups[0].NumRows() != rowGroup || groups[1].NumRows() != 10 {
		t.Errorf("%d row groups of %d rows", len(groups), file.NumRows())
	}
	rows := parquet.NewGenericReader[movementRecord](file)
	defer func() { _ = rows.Close() }()
	read := make([]movementRecord, rowGroup+10)
	if n, err := rows.Read(read); n != len(read) || (err != nil && !errors.Is(err, io.EOF)) {
		t.Fatal(n, err)
	}
	for _, row := range read {
		if row != recordMovement(&exported) {
			t.Fatalf("a row is %+v", row)
		}
	}
}

func TestAParquetFileOfDaysHasTypedColumns(t *testing.T) {
	file := parquetOf(t, dayExports(t, func(_ read.DayFilter, _ read.DayID, each func(*read.Day) error) error {
		d := exportedDay
		return each(&d)
	}).URL+"?format=parquet")
	want := []string{"productId STRING", "day DATE", "name STRING", "start TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", "end TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)"}
	for _, name := range dayColumns {
		want = append(want, name+" INT(64,true)")
	}
	if got := columnTypes(file); !slices.Equal(got, want) {
		t.Errorf("the columns are\n%q, want\n%q", got, want)
	}
	rows := parquet.NewGenericReader[dayRecord](file)
	defer func() { _ = rows.Close() }()
	var got [2]dayRecord
	if n, err := rows.Read(got[:]); n != 1 || !errors.Is(err, io.EOF) || got[0] != recordDay(&exportedDay) {
		t.Errorf("%d rows, %v: %+v", n, err, got[0])
	}
}

func TestAnEmptyParquetFileHasItsColumns(t *testing.T) {
	if file := parquetOf(t, exports(t, 0, nil).URL+"?format=parquet"); file.NumRows() != 0 || len(columnTypes(file)) != 16 {
		t.Errorf("%d rows of %v", file.NumRows(), columnTypes(file))
	}
}

func TestAParquetFileThatFailsHalfWayIsNotTakenForWhole(t *testing.T) {
	for _, n := range []int{10, rowGroup + 10} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, exports(t, n, errors.New("the database went away")).URL+"?format=parquet", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil {
			t.Errorf("after %d rows the client saw a whole answer", n)
		}
	}
}

// readByOthers reads Parquet files with what others made.
var readByOthers = map[string]string{
	"duckdb": `import duckdb, json, sys
for f in sys.argv[1:]:
    r = duckdb.sql("select * from read_parquet('" + f + "')")
    print(json.dumps({n: [str(t), str(v)] for n, t, v in zip(r.columns, r.types, r.fetchall()[0])}))`,
	"pyarrow": `import pyarrow.parquet as pq, json, sys
for f in sys.argv[1:]:
    t = pq.read_table(f)
    print(json.dumps({n: [str(t.schema.field(n).type), str(t.column(n)[0].as_py())] for n in t.column_names}))`,
}

// Ensure that others than the library that writes the files read them, with the types that are meant.
func TestOthersReadParquetFiles(t *testing.T) {
	dir := t.TempDir()
	movements, days := filepath.Join(dir, "movements.parquet"), filepath.Join(dir, "days.parquet")
	write := func(path, address string) {
		_, body, err := fetch(t, address+"?format=parquet")
		if err == nil {
			err = os.WriteFile(path, []byte(body), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(movements, exports(t, rowGroup+10, nil).URL)
	write(days, dayExports(t, func(_ read.DayFilter, _ read.DayID, each func(*read.Day) error) error {
		d := exportedDay
		return each(&d)
	}).URL)
	for library, program := range readByOthers {
		t.Run(library, func(t *testing.T) {
			if err := exec.CommandContext(t.Context(), "python3", "-c", "import "+library).Run(); err != nil {
				t.Skipf("python3 has no %s here (pip install %s)", library, library)
			}
			cmd := exec.CommandContext(t.Context(), "python3", "-c", program, movements, days)
			cmd.Env = append(os.Environ(), "TZ=UTC") // times are shown in it
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var rows []map[string][2]string
			for line := range strings.Lines(string(out)) {
				var row map[string][2]string
				if err := json.Unmarshal([]byte(line), &row); err != nil {
					t.Fatalf("%v in %s", err, line)
				}
				rows = append(rows, row)
			}
			m, d := rows[0], rows[1]
			for name, want := range map[string]string{
				"id": "0190f3a4-5b6c-7d8e-9f00-112233445566.3", "type": "RELEASED", "sagaId": exported.SagaID, "correlationId": "None", "availableAfter": "9",
				"reservationId": exported.ReservationID.String(),
			} {
				if m[name][1] != want {
					t.Errorf("%s is %q", name, m[name])
				}
			}
			for name, want := range exportedDayFields {
				if name != "start" && name != "end" && d[name][1] != fmt.Sprint(want) {
					t.Errorf("%s is %q", name, d[name])
				}
			}
			if at := m["occurredAt"]; !strings.Contains(at[1], ":00.000001+") || !strings.Contains(strings.ToLower(at[0]), "timestamp") {
				t.Errorf("occurredAt is %q", at)
			}
			if day := d["day"][0]; !strings.HasPrefix(strings.ToLower(day), "date") {
				t.Errorf("day is of type %s", day)
			}
		})
	}
}

// BenchmarkExport writes movements and days in each format.
func BenchmarkExport(b *testing.B) {
	const rows = 100_000
	movements := Export(Config{}, everybody(b), exporterFunc(func(_ read.MovementFilter, _ read.MovementID, each func(*read.Movement) error) error {
		for n := range int64(rows) {
			m := exported
			m.Version, m.OccurredAt = n, m.OccurredAt.Add(1)
			if err := each(&m); err != nil {
				return err
			}
		}
		return nil
	}), slog.New(slog.DiscardHandler))
	days := ExportDays(Config{}, everybody(b), dayExporterFunc(func(_ read.DayFilter, _ read.DayID, each func(*read.Day) error) error {
		for n := range int64(rows) {
			d := exportedDay
			d.Opening, d.Start = n, d.Start.AddDate(0, 0, int(n%365))
			if err := each(&d); err != nil {
				return err
			}
		}
		return nil
	}), slog.New(slog.DiscardHandler))
	for name, handler := range map[string]http.Handler{"movements": movements, "days": days} {
		for format := range exportMedia {
			b.Run(name+"/"+format, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w := &deadlinedDiscard{header: http.Header{}}
					handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?format="+format, nil))
				}
				b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// deadlinedDiscard is an answer that nobody reads.
type deadlinedDiscard struct{ header http.Header }

func (d *deadlinedDiscard) Header() http.Header              { return d.header }
func (d *deadlinedDiscard) Write(p []byte) (int, error)      { return len(p), nil }
func (d *deadlinedDiscard) WriteHeader(int)                  {}
func (d *deadlinedDiscard) Flush()                           {}
func (d *deadlinedDiscard) SetWriteDeadline(time.Time) error { return nil }
