package graph

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// eventReader reads an answer as a client of server-sent events does.
type eventReader struct {
	*http.Response
	t      *testing.T
	reader *bufio.Reader
}

// events sends an operation and accepts events, unless the header says otherwise.
func (s *liveServer) events(t *testing.T, method, query, variables string, header http.Header) *eventReader {
	t.Helper()
	return s.eventsOf(t, method, map[string]any{"query": query, "variables": json.RawMessage(or(variables, "null"))}, header)
}

// eventsOf sends the parameters of a request.
func (s *liveServer) eventsOf(t *testing.T, method string, params map[string]any, header http.Header) *eventReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	encoded, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	target, body := s.URL+"/graphql", string(encoded)
	if method == http.MethodGet {
		values := url.Values{}
		for name, value := range params {
			text, ok := value.(string)
			if !ok {
				object, _ := json.Marshal(value) // it could be encoded before
				text = string(object)
			}
			values.Set(name, text)
		}
		target, body = target+"?"+values.Encode(), ""
	}
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", mediaEvents)
	r.Header.Set("Content-Type", mediaJSON)
	maps.Copy(r.Header, header)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &eventReader{resp, t, bufio.NewReader(resp.Body)}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

type serverEvent struct{ event, data, comment string }

// next reads the next event, or comment where there is no event in a block.
func (e *eventReader) block() serverEvent {
	e.t.Helper()
	var got serverEvent
	for {
		line, err := e.reader.ReadString('\n')
		if err != nil {
			e.t.Fatalf("the stream ended: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			return got
		case name == "event":
			got.event = strings.TrimPrefix(value, " ")
		case name == "data":
			got.data = strings.TrimPrefix(value, " ")
		case name == "":
			got.comment = line
		default:
			e.t.Fatalf("the stream has the line %q", line)
		}
	}
}

func (e *eventReader) next() serverEvent {
	e.t.Helper()
	for {
		if got := e.block(); got.event != "" {
			return got
		}
	}
}

func TestStockIsFollowedByEvents(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			id := uuid.New()
			products := newShelf(id)
			s := serveLive(t, products.fakes, nil)
			stream := s.events(t, method, followStock, idList(id), nil)
			if stream.StatusCode != http.StatusOK || stream.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" || stream.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v", stream.StatusCode, stream.Header)
			}
			for v := int64(1); v < 4; v++ {
				if v > 1 {
					products.set(id, v)
				}
				if got := stream.next(); got.event != "next" || stockIn(t, []byte(got.data)).Version != v {
					t.Fatalf("version %d is %+v", v, got)
				}
			}
		})
	}
}

func TestQueriesAreAnsweredByEventsToo(t *testing.T) {
	s := serveLive(t, newShelf().fakes, nil)
	for query, want := range map[string]string{
		`{ __typename }`:              `{"data":{"__typename":"Query"}}`,
		`{ product(id: "x") { id } }`: string(BadUserInput),
		`{ nothing }`:                 string(ValidationFailed),
		`{`:                           string(ParseFailed),
		`subscription { stockChanged(productIds: []) { total } }`: string(BadUserInput),
	} {
		stream := s.events(t, http.MethodPost, query, "", nil)
		if got := stream.next(); stream.StatusCode != http.StatusOK || got.event != "next" || !strings.Contains(got.data, want) {
			t.Errorf("%s: %d %+v", query, stream.StatusCode, got)
		}
		if got := stream.next(); got.event != "complete" || got.data != "" {
			t.Errorf("%s ends with %+v", query, got)
		}
	}
}

func TestEventsKeepToTheRulesOfHTTP(t *testing.T) {
	s := serveLive(t, newShelf().fakes, nil)
	follow := `subscription { stockChanged(productIds: ["` + uuid.NewString() + `"]) { total } }`
	accept := func(media string) http.Header { return http.Header{"Accept": {media}} }
	for _, c := range []struct {
		name, method, query string
		header              http.Header
		status              int
		media               string
	}{
		{"a mutation by GET", http.MethodGet, plainMutation, nil, 405, mediaJSON},
		{"a GET of another site", http.MethodGet, follow, http.Header{"Sec-Fetch-Site": {"cross-site"}, "Content-Type": nil}, 403, ""},
		{"a subscription by a client that takes one answer", http.MethodPost, follow, accept("application/json"), 406, mediaJSON},
		{"a subscription by a client that takes anything", http.MethodPost, follow, accept("*/*"), 200, mediaEvents},
		{"a subscription by a client that prefers JSON where there is one answer", http.MethodPost, follow, accept("application/graphql-response+json, application/json;q=0.9, text/event-stream;q=0.5"), 200, mediaEvents},
		{"a query by that client", http.MethodPost, `{__typename}`, accept("application/graphql-response+json, application/json;q=0.9, text/event-stream;q=0.5"), 200, mediaResponse},
		{"a query by a client that takes all alike", http.MethodPost, `{__typename}`, accept("application/json, text/event-stream"), 200, mediaJSON},
		{"a query by a client that takes anything", http.MethodPost, `{__typename}`, accept("*/*"), 200, mediaJSON},
		{"events that have no weight", http.MethodPost, follow, accept("application/json, text/event-stream;q=0"), 406, mediaJSON},
	} {
		got := s.events(t, c.method, c.query, "", c.header)
		if media, _, _ := strings.Cut(got.Header.Get("Content-Type"), ";"); got.StatusCode != c.status || c.media != "" && media != c.media {
			t.Errorf("%s: %d %s", c.name, got.StatusCode, media)
		}
	}
}

// A stream on which nothing happens still says something, so that proxies keep it.
func TestStreamIsKeptAlive(t *testing.T) {
	s := serveLive(t, newShelf().fakes, func(w *timings) { w.ping = 5 * time.Millisecond })
	stream := s.events(t, http.MethodPost, followStock, idList(uuid.New()), nil)
	for range 5 {
		if got := stream.block(); got.comment == "" {
			t.Errorf("got %+v", got)
		}
	}
}

// A client that goes leaves nothing behind.
func TestStreamEndsWithItsClient(t *testing.T) {
	products := newShelf(uuid.New())
	s := serveLive(t, products.fakes, nil)
	stream := s.events(t, http.MethodPost, followStock, idList(uuid.New()), nil)
	stream.block()
	_ = stream.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.api.inner.connections.mu.Lock()
		open := len(s.api.inner.connections.open)
		s.api.inner.connections.mu.Unlock()
		if open == 0 && len(s.api.subscriptions.stock.Followed()) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, and %v are followed", open, s.api.subscriptions.stock.Followed())
		}
	}
}
