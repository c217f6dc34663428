package graph

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"product-service/graph/auth"
	"product-service/integration/inventory"
	"product-service/product"
	"product-service/projection/read"
)

// liveServer serves the API to real connections, and lets clients follow what changes.
type liveServer struct {
	*httptest.Server
	api  *API
	stop func() // as the service does; returns when Run has
}

// serveLive starts a server that ends with the test, which must leave no goroutine behind.
func serveLive(t *testing.T, f *fakes, adjust func(*timings), settings ...string) *liveServer {
	t.Helper()
	return serveAPI(t, newTestHandler(t, f, append([]string{"GRAPHQL_SUBSCRIPTION_INTERVAL", "1ms"}, settings...)...), adjust)
}

func serveAPI(t *testing.T, api *API, adjust func(*timings)) *liveServer {
	t.Helper()
	return serveOn(t, api, httptest.NewUnstartedServer(api), adjust)
}

// serveOn starts the server that it is given.
func serveOn(t *testing.T, api *API, server *httptest.Server, adjust func(*timings)) *liveServer {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
	})
	if adjust != nil {
		adjust(&api.inner.timings)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := api.Run(ctx); err != nil {
			t.Errorf("Run ended with %v", err)
		}
	}()
	server.Start()
	s := &liveServer{Server: server, api: api, stop: func() { cancel(); <-ended }}
	t.Cleanup(func() {
		s.stop()
		s.Close()
	})
	return s
}

// socketClient is a client's end of a socket.
type socketClient struct {
	*websocket.Conn
	t *testing.T
}

func (s *liveServer) dial(t *testing.T, o *websocket.DialOptions) (*socketClient, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, s.URL+"/graphql", o)
	if err != nil {
		return nil, resp, err
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &socketClient{conn, t}, resp, nil
}

// socket opens a socket and says nothing.
func (s *liveServer) socket(t *testing.T) *socketClient {
	t.Helper()
	c, _, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// connected opens a socket and has it acknowledged.
func (s *liveServer) connected(t *testing.T) *socketClient {
	t.Helper()
	c := s.socket(t)
	c.say(`{"type":"connection_init"}`)
	if got := c.hear(); got.Type != "connection_ack" {
		t.Fatalf("the answer to connection_init is %+v", got)
	}
	return c
}

func (c *socketClient) say(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("send %.80s: %v", text, err)
	}
}

// begin sends an operation.
func (c *socketClient) begin(id, query, variables string) {
	c.t.Helper()
	payload := map[string]any{"query": query}
	if variables != "" {
		payload["variables"] = json.RawMessage(variables)
	}
	c.subscribe(id, payload)
}

// subscribe sends the parameters of a request.
func (c *socketClient) subscribe(id string, payload map[string]any) {
	c.t.Helper()
	encoded, err := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": payload})
	if err != nil {
		c.t.Fatal(err)
	}
	c.say(string(encoded))
}

// heard is a message of the server.
type heard struct {
	ID      string
	Type    string
	Payload json.RawMessage
}

func (c *socketClient) hear() heard {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	kind, body, err := c.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		c.t.Fatalf("read: %v %v", kind, err)
	}
	var m heard
	if err := json.Unmarshal(body, &m); err != nil {
		c.t.Fatalf("%v: %s", err, body)
	}
	return m
}

// stock is the stock in the next value of an operation.
func (c *socketClient) stock(id string) stockValue {
	c.t.Helper()
	m := c.hear()
	if m.ID != id || m.Type != "next" {
		c.t.Fatalf("got %s of %q: %s", m.Type, m.ID, m.Payload)
	}
	return stockIn(c.t, m.Payload)
}

type stockValue struct {
	ProductID        string
	Total, Available int64
	Version          int64
}

func stockIn(t *testing.T, payload []byte) stockValue {
	t.Helper()
	var got struct {
		Data   struct{ StockChanged stockValue }
		Errors []any
	}
	if err := json.Unmarshal(payload, &got); err != nil || len(got.Errors) > 0 {
		t.Fatalf("%v: %s", err, payload)
	}
	return got.Data.StockChanged
}

// closing waits for the socket to be closed, and returns how.
func (c *socketClient) closing() (websocket.StatusCode, string) {
	c.t.Helper()
	code, reason := c.ending()
	if code == -1 {
		c.t.Fatal("the socket ended without a code")
	}
	return code, reason
}

// ending waits for the socket to end, and returns how it was closed; -1 where it wasn't.
func (c *socketClient) ending() (websocket.StatusCode, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			return closed.Code, closed.Reason
		}
		if err != nil {
			if ctx.Err() != nil {
				c.t.Fatal("the socket doesn't end")
			}
			return -1, ""
		}
	}
}

// shelf is products whose stock changes.
type shelf struct {
	*fakes
	mu       sync.Mutex
	products map[uuid.UUID]*read.Product
}

func newShelf(ids ...uuid.UUID) *shelf {
	s := &shelf{fakes: &fakes{}, products: map[uuid.UUID]*read.Product{}}
	s.byIDs = func(ids []uuid.UUID) ([]*read.Product, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		found := make([]*read.Product, len(ids))
		for i, id := range ids {
			if p := s.products[id]; p != nil {
				shown := *p
				found[i] = &shown
			}
		}
		return found, nil
	}
	for _, id := range ids {
		s.set(id, 1)
	}
	return s
}

// set makes the product's total and version v, and tells of it.
func (s *shelf) set(id uuid.UUID, v int64) {
	s.mu.Lock()
	s.products[id] = &read.Product{ID: id, Total: v, Version: v, AsOf: time.Now()}
	s.mu.Unlock()
	s.changed(id)
}

const followStock = `subscription($ids: [ID!]!) { stockChanged(productIds: $ids) { productId total available version } }`

func idList(ids ...uuid.UUID) string {
	encoded, _ := json.Marshal(map[string]any{"ids": ids}) // strings have no error
	return string(encoded)
}

// Each breach of the protocol closes the socket with the code that the protocol has for it.
func TestSocketIsClosedWithTheCodeOfTheBreach(t *testing.T) {
	s := serveLive(t, newShelf().fakes, nil)
	init := `{"type":"connection_init"}`
	for _, c := range []struct {
		name string
		says []string
		code websocket.StatusCode
	}{
		{"not JSON", []string{init, `{`}, 4400},
		{"a list", []string{init, `[]`}, 4400},
		{"null", []string{init, `null`}, 4400},
		{"no type", []string{init, `{"id":"1"}`}, 4400},
		{"an unknown type", []string{init, `{"type":"start","id":"1"}`}, 4400},
		{"a type that only the server has", []string{init, `{"type":"next","id":"1","payload":{}}`}, 4400},
		{"a type that is no string", []string{init, `{"type":1}`}, 4400},
		{"bad message before the init", []string{`hello`}, 4400},
		{"an init with a payload that is no object", []string{`{"type":"connection_init","payload":"x"}`}, 4400},
		{"a ping with a payload that is no object", []string{`{"type":"ping","payload":[]}`}, 4400},
		{"subscribe without an id", []string{init, `{"type":"subscribe","payload":{"query":"{__typename}"}}`}, 4400},
		{"subscribe with an empty id", []string{init, `{"type":"subscribe","id":"","payload":{"query":"{__typename}"}}`}, 4400},
		{"subscribe with a number for an id", []string{init, `{"type":"subscribe","id":1,"payload":{"query":"{__typename}"}}`}, 4400},
		{"subscribe with a very long id", []string{init, `{"type":"subscribe","id":"` + strings.Repeat("x", 200) + `","payload":{"query":"{__typename}"}}`}, 4400},
		{"subscribe without a payload", []string{init, `{"type":"subscribe","id":"1"}`}, 4400},
		{"subscribe without a query", []string{init, `{"type":"subscribe","id":"1","payload":{}}`}, 4400},
		{"subscribe with variables that are no object", []string{init, `{"type":"subscribe","id":"1","payload":{"query":"{__typename}","variables":[]}}`}, 4400},
		{"complete without an id", []string{init, `{"type":"complete"}`}, 4400},
		{"subscribe before the init", []string{`{"type":"subscribe","id":"1","payload":{"query":"{__typename}"}}`}, 4401},
		{"two inits", []string{init, init}, 4429},
		{"an id that is in use", []string{init,
			`{"type":"subscribe","id":"é1","payload":{"query":"subscription{stockChanged(productIds:[\"` + uuid.NewString() + `\"]){total}}"}}`,
			`{"type":"subscribe","id":"é1","payload":{"query":"{__typename}"}}`}, 4409},
		{"a message that is too long", []string{init, `{"type":"ping","payload":{"x":"` + strings.Repeat("x", 70<<10) + `"}}`}, 1009},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := s.socket(t)
			for _, text := range c.says {
				client.say(text)
			}
			code, reason := client.closing()
			if code != c.code || reason == "" {
				t.Errorf("closed with %d %q, not with %d and a reason", code, reason, c.code)
			}
		})
	}
}

func TestSocketOfAnotherSubprotocolIsClosed(t *testing.T) {
	s := serveLive(t, &fakes{}, nil)
	for _, offered := range [][]string{nil, {"graphql-ws"}, {"soap", "graphql-ws"}} {
		c, _, err := s.dial(t, &websocket.DialOptions{Subprotocols: offered})
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := c.closing(); code != 4406 {
			t.Errorf("with %v offered it is closed with %d", offered, code)
		}
	}
	c, _, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{"graphql-ws", subprotocol}})
	if err != nil || c.Subprotocol() != subprotocol {
		t.Errorf("where ours is the second offered: %v, %v", c, err)
	}
}

func TestFramesThatAreNoTextCloseTheSocket(t *testing.T) {
	s := serveLive(t, &fakes{}, nil)
	for _, c := range []struct {
		kind websocket.MessageType
		body string
		code websocket.StatusCode
	}{
		{websocket.MessageBinary, `{"type":"connection_init"}`, websocket.StatusUnsupportedData},
		{websocket.MessageText, "{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}", websocket.StatusInvalidFramePayloadData},
	} {
		client := s.connected(t)
		if err := client.Write(t.Context(), c.kind, []byte(c.body)); err != nil {
			t.Fatal(err)
		}
		if code, _ := client.closing(); code != c.code {
			t.Errorf("%v %q: closed with %d, not %d", c.kind, c.body, code, c.code)
		}
	}
}

// A frame that isn't masked is one that no browser sends (RFC 6455, section 5.1).
func TestUnmaskedFrameClosesTheSocket(t *testing.T) {
	s := serveLive(t, &fakes{}, nil)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n\x81\x02{}", subprotocol); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	defer resp.Body.Close()
	frame := make([]byte, 4)
	if _, err := io.ReadFull(reader, frame); err != nil || frame[0] != 0x88 || int(frame[2])<<8+int(frame[3]) != 1002 {
		t.Errorf("the answer is % x, %v", frame, err)
	}
}

func TestSocketThatSaysNothingIsClosed(t *testing.T) {
	s := serveLive(t, &fakes{}, func(w *timings) { w.init = 30 * time.Millisecond })
	if code, _ := s.socket(t).closing(); code != 4408 {
		t.Errorf("closed with %d", code)
	}
	if standardTimings.init != 3*time.Second {
		t.Errorf("clients have %s to say something", standardTimings.init)
	}
	c := s.socket(t)
	c.say(`{"type":"ping"}`) // which is no connection_init
	if code, _ := c.closing(); code != 4408 {
		t.Errorf("closed with %d", code)
	}
}

func TestPingIsAnswered(t *testing.T) {
	s := serveLive(t, &fakes{}, nil)
	c := s.socket(t) // before the init too
	c.say(`{"type":"ping"}`)
	if got := c.hear(); got.Type != "pong" || got.Payload != nil {
		t.Errorf("got %+v", got)
	}
	c.say(`{"type":"ping","payload":{"a":[1]}}`)
	if got := c.hear(); got.Type != "pong" || string(got.Payload) != `{"a":[1]}` {
		t.Errorf("got %+v", got)
	}
	c.say(`{"type":"pong"}`) // needs no answer
	c.say(`{"type":"connection_init","payload":{}}`)
	if got := c.hear(); got.Type != "connection_ack" {
		t.Errorf("got %+v", got)
	}
}

// A client is asked for a sign of life; one that gives none is let go.
func TestSilentClientIsLetGo(t *testing.T) {
	s := serveLive(t, &fakes{}, func(w *timings) { w.ping, w.pong = 20*time.Millisecond, 20*time.Millisecond })
	silent := s.connected(t) // it reads nothing, and so answers no ping
	var pings atomic.Int64
	alive, _, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}, OnPingReceived: func(context.Context, []byte) bool {
		pings.Add(1)
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	alive.say(`{"type":"connection_init"}`)
	go func() {
		for pings.Load() < 5 {
			time.Sleep(time.Millisecond)
		}
		_ = alive.Write(context.Background(), websocket.MessageText, []byte(`{"type":"ping"}`))
	}()
	for alive.hear().Type != "pong" { // pings are answered while it reads
	}
	if code, _ := silent.closing(); code != 4499 {
		t.Errorf("closed with %d", code)
	}
}

func TestQueriesAndMutationsWorkOverASocket(t *testing.T) {
	c := newCatalogue(1)
	f := fakesOf(c)
	f.execute = func(context.Context, uuid.UUID, uuid.UUID, product.Origin, product.Command) (int64, *product.Refusal, error) {
		return 4, nil, nil
	}
	s := serveLive(t, f, nil)
	client := s.connected(t)
	expect := func(kind, id, part string) {
		t.Helper()
		if got := client.hear(); got.Type != kind || got.ID != id || !strings.Contains(string(got.Payload), part) {
			t.Fatalf("got %s of %s: %s; want %s of %s with %s", got.Type, got.ID, got.Payload, kind, id, part)
		}
	}
	client.begin("q", `query($id: ID!) { product(id: $id) { id } }`, `{"id":"`+c[0].ID.String()+`"}`)
	expect("next", "q", `{"data":{"product":{"id":"`+c[0].ID.String()+`"}}}`)
	expect("complete", "q", "")
	client.begin("q", `mutation { adjustStock(input: {productId: "`+c[0].ID.String()+`", delta: 1, reason: "found"}) { version } }`, "") // the id is free again
	expect("next", "q", `{"data":{"adjustStock":{"version":4}}}`)
	expect("complete", "q", "")
	client.begin("partial", `{ product(id: "x") { id } }`, "")
	expect("next", "partial", string(BadUserInput))
	expect("complete", "partial", "")
	for query, code := range map[string]Code{
		`{`:           ParseFailed,
		`{ nothing }`: ValidationFailed,
		`query($id: ID!) { node(id: $id) { id } }`:                       BadUserInput,
		`{ product(id: "1") { id ` + strings.Repeat("name ", 50) + `} }`: QueryTooComplex,
	} {
		client.begin("bad", query, "")
		expect("error", "bad", `[{"message":`)
		client.begin("bad", query, "") // again, for its code
		expect("error", "bad", `"code":"`+string(code)+`"`)
	}
}

// Errors over a socket lead to the log by the id that the request for the socket came with.
func TestErrorsOfASocketHaveItsCorrelationID(t *testing.T) {
	s := serveLive(t, &fakes{}, nil)
	c, resp, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}, HTTPHeader: http.Header{"X-Correlation-Id": {"shop-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("X-Correlation-ID"); got != "shop-1" {
		t.Errorf("the answer has the correlation id %q", got)
	}
	c.say(`{"type":"connection_init"}`)
	c.hear()
	c.begin("1", `{ nothing }`, "")
	if got := c.hear(); !strings.Contains(string(got.Payload), `"correlationId":"shop-1"`) {
		t.Errorf("got %s", got.Payload)
	}
}

func TestStockIsFollowedOverASocket(t *testing.T) {
	a, b := uuid.New(), uuid.New()
	products := newShelf(a)
	s := serveLive(t, products.fakes, nil)
	client := s.connected(t)
	client.begin("1", followStock, idList(a, b))
	if got := client.stock("1"); got.ProductID != a.String() || got.Version != 1 {
		t.Fatalf("the present value is %+v", got)
	}
	products.set(a, 2)
	if got := client.stock("1"); got.ProductID != a.String() || got.Total != 2 {
		t.Fatalf("the change is %+v", got)
	}
	products.set(b, 7) // it exists from now on
	if got := client.stock("1"); got.ProductID != b.String() || got.Available != 7 {
		t.Fatalf("the new one is %+v", got)
	}
	client.say(`{"type":"complete","id":"1"}`)
	client.begin("1", followStock, idList(b)) // the id is free again; of what it was nothing follows
	if got := client.stock("1"); got.ProductID != b.String() || got.Version != 7 {
		t.Fatalf("the present value is %+v", got)
	}
	products.set(a, 3)
	products.set(b, 8)
	if got := client.stock("1"); got.ProductID != b.String() || got.Version != 8 {
		t.Fatalf("after complete came %+v", got)
	}
}

// Another document, other variables and another operation of the same document have responses of their own.
func TestOperationsThatDifferShareNothing(t *testing.T) {
	id := uuid.New()
	products := newShelf(id)
	s := serveLive(t, products.fakes, nil)
	client := s.connected(t)
	for query, want := range map[string]string{
		`subscription { stockChanged(productIds: ["` + id.String() + `"]) { version } }`:                                       `{"data":{"stockChanged":{"version":1}}}`,
		`subscription { s: stockChanged(productIds: ["` + id.String() + `"]) { v: version __typename } }`:                      `{"data":{"s":{"v":1,"__typename":"ProductStock"}}}`,
		`subscription($t: Boolean = true) { stockChanged(productIds: "` + id.String() + `") { version total @skip(if: $t) } }`: `{"data":{"stockChanged":{"version":1}}}`,
	} {
		client.begin("1", query, "")
		if got := client.hear(); string(got.Payload) != want {
			t.Errorf("%s gives %s", query, got.Payload)
		}
		client.say(`{"type":"complete","id":"1"}`)
	}
	both := `query A { __typename } subscription B { stockChanged(productIds: ["` + id.String() + `"]) { version } }`
	encoded, _ := json.Marshal(both)
	client.say(`{"id":"2","type":"subscribe","payload":{"operationName":"B","query":` + string(encoded) + `}}`)
	if got := client.hear(); string(got.Payload) != `{"data":{"stockChanged":{"version":1}}}` {
		t.Errorf("operation B gives %s", got.Payload)
	}
}

func TestWrongSubscriptionsAreExplained(t *testing.T) {
	s := serveLive(t, newShelf().fakes, nil)
	client := s.connected(t)
	id := uuid.NewString()
	many := make([]string, 101)
	for i := range many {
		many[i] = uuid.NewString()
	}
	for query, want := range map[string]string{
		`subscription { stockChanged(productIds: []) { total } }`:                                                 `1 to 100 ids`,
		`subscription { stockChanged(productIds: ["x"]) { total } }`:                                              `must be a UUID`,
		`subscription { stockChanged(productIds: ["` + id + `", "` + id + `"]) { total } }`:                       `twice`,
		`subscription { stockChanged(productIds: ["` + strings.Join(many, `","`) + `"]) { total } }`:              `101 ids`,
		`subscription { inventoryChanged(variantIds: ["` + strings.Join(many, `","`) + `"]) { status } }`:         `101 ids`,
		`subscription { inventoryChanged(variantIds: ["` + id + `", "` + strings.ToUpper(id) + `"]) { status } }`: `twice`,
		`subscription { __typename }`: `introspection`,
		`subscription { a: stockChanged(productIds: ["` + id + `"]) { total } b: stockChanged(productIds: ["` + id + `"]) { total } }`: `exactly one field`,
		`subscription { stockChanged(productIds: ["` + id + `"]) @skip(if: true) { total } }`:                                          `exactly one field`,
	} {
		client.begin("1", query, "")
		if got := client.hear(); got.Type != "error" || !strings.Contains(string(got.Payload), want) {
			t.Errorf("%.100s: %s %s", query, got.Type, got.Payload)
		}
	}
}

func TestLevelsAreFollowedOverASocket(t *testing.T) {
	variant, unknown := uuid.New(), uuid.New()
	var left atomic.Int64
	left.Store(5)
	f := &fakes{level: func(_ context.Context, id uuid.UUID) inventory.Result {
		if id != variant {
			return inventory.Result{Outcome: inventory.Unavailable}
		}
		n := left.Load()
		return inventory.Result{Outcome: inventory.Known, Level: inventory.Level{VariantID: id, Available: n, Status: inventory.InStock,
			UpdatedAt: time.Unix(100-n, 0), FetchedAt: time.Now(), Source: inventory.FromEvent}}
	}}
	s := serveLive(t, f, nil)
	client := s.connected(t)
	client.begin("1", `subscription($ids: [ID!]!) { inventoryChanged(variantIds: $ids) { productVariantId availableQuantity source isStale } }`, idList(variant, unknown))
	want := func(n int) {
		t.Helper()
		payload := fmt.Sprintf(`{"data":{"inventoryChanged":{"productVariantId":"%s","availableQuantity":%d,"source":"EVENT","isStale":false}}}`, variant, n)
		if got := client.hear(); string(got.Payload) != payload {
			t.Fatalf("got %s, want %s", got.Payload, payload)
		}
	}
	want(5)
	f.changed(variant) // to what it is
	left.Store(7)      // older than what is known
	f.changed(variant)
	left.Store(3)
	f.changed(variant)
	want(3)
}

// A token goes into connection_init; its scopes hold for all that the socket runs.
func TestTokenOfASocket(t *testing.T) {
	g := newGuarded(t)
	s := serveAPI(t, g.API, nil)
	token := func(lifetime time.Duration, scopes ...string) string {
		signed, err := g.issuer.Token("ann", lifetime, scopes...)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + signed
	}
	history := `{ stockMovements { totalCount } }`
	first := func(c *socketClient, query string) heard {
		c.begin("1", query, "")
		got := c.hear()
		c.hear() // complete
		return got
	}
	none := s.connected(t)
	if got := first(none, history); got.Type != "next" || !strings.Contains(string(got.Payload), string(Unauthenticated)) {
		t.Errorf("without a token: %s %s", got.Type, got.Payload)
	}
	for _, name := range []string{"Authorization", "authorization"} {
		c := s.socket(t)
		c.say(`{"type":"connection_init","payload":{"` + name + `":"` + token(time.Hour, auth.StockHistory) + `"}}`)
		c.hear()
		if got := first(c, history); strings.Contains(string(got.Payload), "errors") {
			t.Errorf("with a token as %s: %s", name, got.Payload)
		}
		if got := first(c, `mutation { adjustStock(input: {productId: "`+someID+`", delta: 1, reason: "x"}) { version } }`); !strings.Contains(string(got.Payload), string(Forbidden)) {
			t.Errorf("a mutation with a token that reads: %s", got.Payload)
		}
	}
	header, _, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}, HTTPHeader: http.Header{"Authorization": {token(time.Hour, auth.StockHistory)}}})
	if err != nil {
		t.Fatal(err)
	}
	header.say(`{"type":"connection_init"}`)
	header.hear()
	if got := first(header, history); strings.Contains(string(got.Payload), "errors") {
		t.Errorf("with a token in the request's header: %s", got.Payload)
	}
	for _, payload := range []string{`"Bearer x"`, `"Basic YTpi"`, `1`, `{}`, `"` + token(-time.Hour) + `"`, `"` + token(time.Hour) + `x"`} {
		c := s.socket(t)
		c.say(`{"type":"connection_init","payload":{"Authorization":` + payload + `}}`)
		if code, reason := c.closing(); code != 4403 || !strings.HasPrefix(reason, "Forbidden: ") {
			t.Errorf("with %.40s: closed with %d %q", payload, code, reason)
		}
	}
}

// What a token lets a client follow ends with the token.
func TestFollowingEndsWithTheToken(t *testing.T) {
	g := newGuarded(t)
	s := serveAPI(t, g.API, nil)
	signed, err := g.issuer.Token("ann", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c := s.socket(t)
	c.say(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + signed + `"}}`)
	c.hear()
	c.begin("1", followStock, idList(uuid.MustParse(someID)))
	c.stock("1")
	stream := s.events(t, http.MethodPost, followStock, idList(uuid.MustParse(someID)), http.Header{"Authorization": {"Bearer " + signed}})
	if got := stream.next(); got.event != "next" {
		t.Fatalf("got %+v", got)
	}
	if code, reason := c.closing(); code != 4403 || !strings.Contains(reason, "expired") {
		t.Errorf("closed with %d %q", code, reason)
	}
	if got := stream.next(); got.event != "complete" {
		t.Errorf("the stream ends with %+v", got)
	}
}

func TestOperationsOfASocketAreBounded(t *testing.T) {
	s := serveLive(t, newShelf().fakes, nil, "GRAPHQL_MAX_SOCKET_OPERATIONS", "3")
	client := s.connected(t)
	for i := range 3 {
		client.begin(fmt.Sprint(i), followStock, idList(uuid.New()))
	}
	client.begin("more", followStock, idList(uuid.New()))
	if got := client.hear(); got.ID != "more" || got.Type != "error" || !strings.Contains(string(got.Payload), string(QueryTooComplex)) {
		t.Errorf("got %+v", got)
	}
	client.say(`{"type":"complete","id":"0"}`)
	client.begin("more", `{ __typename }`, "")
	if got := client.hear(); got.ID != "more" || got.Type != "next" {
		t.Errorf("with one completed: %+v", got)
	}
}

func TestSocketsAreBounded(t *testing.T) {
	s := serveLive(t, &fakes{}, nil, "GRAPHQL_MAX_SOCKETS", "2")
	first := s.connected(t)
	s.connected(t)
	_, resp, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}})
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %v %v", resp, err)
	}
	if got := s.events(t, http.MethodGet, followStock, idList(uuid.New()), nil); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream of events beside them: %d", got.StatusCode)
	}
	if err := first.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, _, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}})
		if err == nil {
			_ = c.CloseNow()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that is free isn't given away")
		}
	}
}

func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	c := newConnections(Config{MaxSockets: 10, MaxSocketsPerAddress: 2}, everybody(t), newTestHandler(t, &fakes{}).inner.metrics)
	from := func(addr string) (*connection, error) {
		r := httptest.NewRequest(http.MethodGet, "/graphql", nil)
		r.RemoteAddr = addr
		return c.add(r, func() {}, func() {})
	}
	var last *connection
	for i := range 2 {
		var err error
		if last, err = from(fmt.Sprintf("192.0.2.1:%d", 1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := from("192.0.2.1:2000"); err == nil {
		t.Error("one more of the same address was let in")
	}
	if _, err := from("[2001:db8::1]:2000"); err != nil {
		t.Errorf("one of another address: %v", err)
	}
	for range 4 {
		if _, err := from("127.0.0.1:2000"); err != nil {
			t.Errorf("a proxy on this host: %v", err)
		}
	}
	c.remove(last)
	c.remove(last)
	if _, err := from("192.0.2.1:2000"); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
	if _, err := from("192.0.2.1:2001"); err == nil {
		t.Error("one that goes twice makes room for two")
	}
}

// A page may open a socket where it is one of ours, or of an allowed origin.
func TestSocketsAreForAllowedOrigins(t *testing.T) {
	s := serveLive(t, &fakes{}, nil, "CORS_ORIGINS", "https://shop.example")
	for origin, ok := range map[string]bool{
		"": true, s.URL: true, strings.Replace(s.URL, "http:", "https:", 1): true, "https://shop.example": true, "https://shop.example.evil": false,
		"http://shop.example": false, "https://evil.example": false, "null": false, "file://": false, "https://shop.example:444": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		_, resp, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}, HTTPHeader: header})
		if (err == nil) != ok || !ok && resp.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: %v %v", origin, resp.Status, err)
		}
	}
}

// A client that takes nothing for too long is cut off: it holds up nobody else, and nothing piles
// up for it.
func TestClientThatTakesNothingIsCutOff(t *testing.T) {
	s := serveLive(t, &fakes{}, func(w *timings) { w.write = 50 * time.Millisecond })
	c := s.connected(t)
	ping := []byte(`{"type":"ping","payload":{"x":"` + strings.Repeat("x", 60<<10) + `"}}`)
	for range 10_000 { // far more than the buffers between here and there hold
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err := c.Write(ctx, websocket.MessageText, ping)
		cancel()
		if err != nil {
			return
		}
	}
	t.Error("it can go on for ever")
}

func TestShutdownCompletesWhatIsFollowed(t *testing.T) {
	a := uuid.New()
	products := newShelf(a)
	s := serveLive(t, products.fakes, nil)
	client, idle := s.connected(t), s.connected(t)
	client.begin("1", followStock, idList(a))
	client.stock("1")
	client.begin("2", followStock, idList(uuid.New(), a))
	client.stock("2")
	stream := s.events(t, http.MethodPost, followStock, idList(a), nil)
	if got := stream.next(); got.event != "next" {
		t.Fatalf("got %+v", got)
	}
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	completed := map[string]bool{}
	for range 2 {
		m := client.hear()
		completed[m.ID] = m.Type == "complete"
	}
	if !completed["1"] || !completed["2"] {
		t.Errorf("completed: %v", completed)
	}
	for _, c := range []*socketClient{client, idle} {
		if code, _ := c.closing(); code != websocket.StatusGoingAway {
			t.Errorf("closed with %d", code)
		}
	}
	if got := stream.next(); got.event != "complete" {
		t.Errorf("the stream ends with %+v", got)
	}
	if _, err := stream.reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after its end: %v", err)
	}
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Fatal("it doesn't stop")
	}
	if _, resp, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}}); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a socket after the end: %v %v", resp, err)
	}
}

// What is under way when the service stops is answered before the socket closes.
func TestShutdownWaitsForWhatRuns(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	f := &fakes{byIDs: func(ids []uuid.UUID) ([]*read.Product, error) {
		close(begun)
		<-finish
		return []*read.Product{{ID: ids[0], Name: "late"}}, nil
	}}
	s := serveLive(t, f, nil)
	client := s.connected(t)
	client.begin("1", `{ product(id: "`+uuid.NewString()+`") { name } }`, "")
	<-begun
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, resp, err := s.dial(t, &websocket.DialOptions{Subprotocols: []string{subprotocol}}); err != nil && resp.StatusCode == http.StatusServiceUnavailable {
			break // it stops
		} else if time.Now().After(deadline) {
			t.Fatal("it doesn't stop")
		}
	}
	close(finish)
	if got := client.hear(); string(got.Payload) != `{"data":{"product":{"name":"late"}}}` {
		t.Errorf("got %+v", got)
	}
	if got := client.hear(); got.Type != "complete" {
		t.Errorf("got %+v", got)
	}
	if code, _ := client.closing(); code != websocket.StatusGoingAway {
		t.Errorf("closed with %d", code)
	}
	<-stopped
}

// A client that doesn't take its leave holds the shutdown up no longer than it may.
func TestShutdownWaitsForNobody(t *testing.T) {
	s := serveLive(t, &fakes{}, func(w *timings) { w.drain = 50 * time.Millisecond })
	s.connected(t) // it reads nothing, and so doesn't answer the closing frame
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}
