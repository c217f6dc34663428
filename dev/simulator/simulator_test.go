package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

type client struct {
	t   *testing.T
	url string
}

func serve(t *testing.T, opts Options) (*Simulator, client) {
	t.Helper()
	sim, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(sim)
	server.Config.ConnState = sim.ConnState
	server.Start()
	t.Cleanup(func() { server.Close(); _ = sim.Close() })
	return sim, client{t, server.URL}
}

func (c client) do(method, path, body string, header ...string) (int, string, error) {
	c.t.Helper()
	req, err := http.NewRequest(method, c.url+path, bytes.NewBufferString(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func (c client) want(status int, contains, method, path, body string, header ...string) string {
	c.t.Helper()
	got, text, err := c.do(method, path, body, header...)
	if err != nil || got != status || !strings.Contains(text, contains) {
		c.t.Fatalf("%s %s: %d %s %v, want %d with %q", method, path, got, text, err, status, contains)
	}
	return text
}

func TestService(t *testing.T) {
	_, c := serve(t, Options{})
	a, b := uuid.NewString(), uuid.NewString()
	create := func(id string, n int) string {
		return fmt.Sprintf(`{"productVariantId":%q,"initialQuantity":%d,"lowStockThreshold":10}`, id, n)
	}
	first := c.want(201, `"status":"IN_STOCK"`, "POST", "/inventory", create(a, 100), "Idempotency-Key", "k1")
	if again := c.want(201, "", "POST", "/inventory", create(a, 100), "Idempotency-Key", "k1"); again != first {
		t.Errorf("repetition answered %s, first %s", again, first)
	}
	c.want(422, "Idempotency-Key", "POST", "/inventory", create(a, 99), "Idempotency-Key", "k1")
	c.want(409, "has an inventory record", "POST", "/inventory", create(a, 100), "Idempotency-Key", "k2")
	c.want(409, "", "POST", "/inventory", create(a, 100))
	c.want(422, "negative", "POST", "/inventory", create(b, -1))
	c.want(400, "", "POST", "/inventory", "{")
	c.want(201, "OUT_OF_STOCK", "POST", "/inventory", create(b, 0))
	c.want(200, `"availableQuantity":100`, "GET", "/inventory/"+a, "")
	c.want(404, "", "GET", "/inventory/"+uuid.NewString(), "")
	c.want(400, "", "GET", "/inventory/x", "")
	c.want(400, "", "GET", "/inventory", "")
	c.want(400, "allowed are 100", "GET", "/inventory?productVariantIds="+strings.Repeat(a+",", 100)+a, "")
	var levels []map[string]any
	text := c.want(200, "", "GET", "/inventory?productVariantIds="+a+","+uuid.NewString()+","+b, "")
	if err := json.Unmarshal([]byte(text), &levels); err != nil || len(levels) != 2 || levels[0]["productVariantId"] != a {
		t.Fatalf("levels: %s", text)
	}
	c.want(200, "LOW_STOCK", "POST", "/sim/level", `{"productVariantId":"`+a+`","availableQuantity":10}`)
	c.want(200, "IN_STOCK", "POST", "/sim/level", `{"productVariantId":"`+a+`","availableQuantity":11}`)
	c.want(200, "OUT_OF_STOCK", "POST", "/sim/level", `{"productVariantId":"`+a+`","availableQuantity":0}`)
	c.want(200, `"updatedAt":"2001-02-03T04:05:06Z"`, "POST", "/sim/level", `{"productVariantId":"`+a+`","availableQuantity":3,"updatedAt":"2001-02-03T04:05:06Z"}`)
	c.want(400, "needed", "POST", "/sim/level", `{"productVariantId":"`+a+`"}`)
	c.want(400, "negative", "POST", "/sim/level", `{"productVariantId":"`+a+`","availableQuantity":-1}`)
	c.want(200, "Simulated Inventory Service", "GET", "/", "")
	c.want(200, `"records":2`, "GET", "/sim/stats", "")
	c.want(200, a, "GET", "/sim/levels", "")
	c.want(200, `"create":0`, "DELETE", "/sim/stats", "")
}

func TestToken(t *testing.T) {
	_, c := serve(t, Options{Token: "secret"})
	c.want(401, "", "GET", "/inventory/"+uuid.NewString(), "")
	c.want(404, "", "GET", "/inventory/"+uuid.NewString(), "", "Authorization", "Bearer secret")
}

func TestEventsFollowTheStatus(t *testing.T) {
	var got []Event
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // a clock that stands still: versions must rise all the same
	sim, _ := serve(t, Options{Publish: func(e Event) error { got = append(got, e); return nil }, Now: func() time.Time { return now }})
	id := uuid.New()
	for _, n := range []int64{100, 50, 10, 5, 0, 0, 3, 40} {
		if _, err := sim.Set(id, n); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"InventoryLowStockEvent 10", "InventoryOutOfStockEvent 0", "InventoryLowStockEvent 3", "InventoryBackInStockEvent 40"}
	if len(got) != len(want) {
		t.Fatalf("events: %+v", got)
	}
	for i, e := range got {
		if text := fmt.Sprintf("%s %d", e.Type, *e.Available); text != want[i] || e.VariantID != id || e.ID == uuid.Nil {
			t.Errorf("event %d: %s, want %s", i, text, want[i])
		}
		if i > 0 && !e.At.After(got[i-1].At) {
			t.Errorf("event %d is not later than the one before", i)
		}
	}
}

func TestRecordsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	sim, c := serve(t, Options{Dir: dir})
	a := uuid.NewString()
	body := `{"productVariantId":"` + a + `","initialQuantity":7,"lowStockThreshold":1}`
	c.want(201, "", "POST", "/inventory", body, "Idempotency-Key", "k")
	if _, err := sim.Set(uuid.MustParse(a), 5); err != nil {
		t.Fatal(err)
	}
	// No Close: a killed process. The last line is cut short, as a kill in the middle of a write would.
	path := filepath.Join(dir, "inventory.jsonl")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"record":{"id":"`); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	_, c = serve(t, Options{Dir: dir})
	c.want(200, `"availableQuantity":5`, "GET", "/inventory/"+a, "")
	c.want(201, `"availableQuantity":7`, "POST", "/inventory", body, "Idempotency-Key", "k")
	c.want(200, "", "POST", "/sim/level", `{"productVariantId":"`+a+`","availableQuantity":6}`)
	_, c = serve(t, Options{Dir: dir})
	c.want(200, `"availableQuantity":6`, "GET", "/inventory/"+a, "")
	if err := os.WriteFile(path, []byte("not ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}); err == nil {
		t.Error("a foreign file was accepted")
	}
}

func TestFaults(t *testing.T) {
	sim, c := serve(t, Options{})
	id := uuid.New()
	if _, err := sim.Set(id, 100); err != nil {
		t.Fatal(err)
	}
	path := "/inventory?productVariantIds=" + id.String()
	for _, test := range []struct {
		fault  string
		status int // 0: no whole answer
		holds  string
	}{
		{`{"mode":"slow","delayMs":20}`, 200, "100"},
		{`{"mode":"fail"}`, 500, "simulated"},
		{`{"mode":"fail","status":503,"retryAfter":2}`, 503, "simulated"},
		{`{"mode":"reset"}`, 0, ""},
		{`{"mode":"away"}`, 0, ""},
		{`{"mode":"lost"}`, 0, ""},
		{`{"mode":"truncated"}`, 0, ""},
		{`{"mode":"drip","delayMs":1}`, 200, "100"},
		{`{"mode":"wrong"}`, 200, "<html>"},
		{`{"mode":"partial"}`, 200, "100"},
		{`{"mode":"fail","methods":["POST"]}`, 200, "100"},
		{`{"mode":"gateway"}`, 404, "<html>"},
		{`{"mode":"absent"}`, 200, "[]"},
		{`{"mode":"unreadable"}`, 200, `"availableQuantity":-2`},
		{`{"mode":"unreadable","as":"status"}`, 200, "BACKORDER"},
		{`{"mode":"fail","variants":["` + id.String() + `"]}`, 500, "simulated"},
		{`{"mode":"fail","variants":["` + uuid.NewString() + `"]}`, 200, "100"},
		{`{"mode":"unreadable","variants":["` + uuid.NewString() + `"]}`, 200, `"availableQuantity":100`},
		{`{"mode":"none"}`, 200, "100"},
	} {
		c.want(200, "mode", "POST", "/sim/fault", test.fault)
		status, text, err := c.do("GET", path, "")
		if half := status == 200 && strings.Contains(text, "productVariantId") && !json.Valid([]byte(text)); strings.Contains(test.fault, "truncated") != half {
			t.Errorf("%s: half a body: %v, %d %.80q", test.fault, half, status, text)
		}
		if (test.status == 0) != (err != nil) || (err == nil && (status != test.status || !strings.Contains(text, test.holds))) {
			t.Errorf("%s: %d %.80q %v", test.fault, status, text, err)
		}
	}
	c.want(200, "huge", "POST", "/sim/fault", `{"mode":"huge"}`)
	if _, text, err := c.do("GET", path, ""); err != nil || len(text) < 64<<20 {
		t.Errorf("huge: %d bytes, %v", len(text), err)
	}
	for _, bad := range []string{`{"mode":"sulk"}`, `{"mode":"fail","status":200}`, `{"mode":"unreadable","as":"nice"}`, `{"mode":"fail","rate":2}`, `{"mood":"fail"}`, `x`} {
		c.want(400, "error", "POST", "/sim/fault", bad)
	}
	c.want(200, "away", "POST", "/sim/fault", `{"mode":"away","seconds":0.05}`)
	for deadline := time.Now().Add(5 * time.Second); ; {
		if status, _, _ := c.do("GET", path, ""); status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the fault never healed by itself")
		}
	}
	stats := sim.Stats()
	if stats.Connections == 0 || stats.Calls["list"] < 14 || stats.Fault.Mode != None {
		t.Errorf("stats: %+v", stats)
	}
}
