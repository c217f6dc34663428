package graph

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/projection/read"
)

const secret = "the password is 12345"

// A resolver that panics fails its operation, and nothing else of the socket. The client is told no more
// than that.
func TestPanicOfAResolverFailsItsOperation(t *testing.T) {
	s := serveLive(t, &fakes{byIDs: func([]uuid.UUID) ([]*read.Product, error) { panic(secret) }}, nil)
	client := s.connected(t)
	for _, query := range []string{`{ product(id: "` + someID + `") { name } }`, `{ __typename a: products { nodes { id } } node(id: "` + someID + `") { id } }`} {
		client.begin("1", query, "")
		if got := client.hear(); got.Type != "next" || strings.Contains(string(got.Payload), "password") || !strings.Contains(string(got.Payload), string(InternalServerError)) && query[2] == 'p' {
			t.Errorf("%s: %+v: %s", query, got.Type, got.Payload)
		}
		if got := client.hear(); got.Type != "complete" {
			t.Errorf("%s: then came %+v", query, got)
		}
	}
	client.say(`{"type":"ping"}`)
	if got := client.hear(); got.Type != "pong" {
		t.Errorf("the socket goes on with %+v", got)
	}
}

// trap makes the next writes to a connection or an answer panic, once it is armed.
type trap struct{ armed atomic.Int64 } // how many writes are to panic

func (p *trap) spring() {
	if p.armed.Add(-1) >= 0 {
		panic(secret)
	}
}

// trapListener sets a trap to each connection.
type trapListener struct {
	net.Listener
	last atomic.Pointer[trap] // to the youngest
}

func (l *trapListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	set := &trap{}
	l.last.Store(set)
	return trapConn{conn, set}, err
}

type trapConn struct {
	net.Conn
	trap *trap
}

func (c trapConn) Write(b []byte) (int, error) {
	c.trap.spring()
	return c.Conn.Write(b)
}

type trapWriter struct {
	http.ResponseWriter
	trap *trap
}

func (w trapWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w trapWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w trapWriter) Write(b []byte) (int, error) {
	w.trap.spring()
	return w.ResponseWriter.Write(b)
}

// logged makes the handler log into what is returned.
func logged(api *API) *lockedBuffer {
	var log lockedBuffer
	api.inner.presenter = presenter{slog.New(slog.NewTextHandler(&log, nil))}
	return &log
}

// A panic in what a socket does by itself, in whichever of its goroutines, closes it with 4500 and ends no
// other socket. The client isn't told the cause, and the log is. Nothing of the socket is left behind.
func TestPanicOfASocketClosesIt(t *testing.T) {
	for name, c := range map[string]struct {
		adjust func(*timings)
		before func(*socketClient, uuid.UUID)           // the trap is armed
		after  func(*liveServer, *socketClient, func()) // the trap is armed; the function changes what is followed
		code   websocket.StatusCode
	}{
		"that takes messages in":       {after: func(_ *liveServer, c *socketClient, _ func()) { c.say(`{"type":"ping"}`) }, code: closeInternalError},
		"that executes an operation":   {after: func(_ *liveServer, c *socketClient, _ func()) { c.begin("1", `{ __typename }`, "") }, code: closeInternalError},
		"that sends news":              {before: follows1, after: func(_ *liveServer, _ *socketClient, change func()) { change() }, code: closeInternalError},
		"that asks for a sign of life": {adjust: func(w *timings) { w.ping = 50 * time.Millisecond }, code: closeInternalError},
		"that takes leave":             {before: follows1, after: func(s *liveServer, _ *socketClient, _ func()) { go s.stop() }, code: closeInternalError},
		"that closes it":               {after: func(_ *liveServer, c *socketClient, _ func()) { c.say(`{`) }, code: -1}, // there is nothing left to tell it by
	} {
		t.Run(name, func(t *testing.T) {
			id := uuid.New()
			products := newShelf(id)
			api := newTestHandler(t, products.fakes, "GRAPHQL_SUBSCRIPTION_INTERVAL", "1ms")
			log := logged(api)
			server := httptest.NewUnstartedServer(api)
			listener := &trapListener{Listener: server.Listener}
			server.Listener = listener
			s := serveOn(t, api, server, c.adjust)
			other, client := s.socket(t), s.connected(t)
			if c.before != nil {
				c.before(client, id)
			}
			listener.last.Load().armed.Store(1)
			if c.after != nil {
				c.after(s, client, func() { products.set(id, 2) })
			}
			if code, reason := client.ending(); code != c.code || code > 0 && reason != "Internal server error" {
				t.Errorf("closed with %d %q, not with %d", code, reason, c.code)
			}
			within(t, "the socket is forgotten", func() bool { return api.Connections() <= 1 })
			within(t, "the log leads to the cause", func() bool {
				return strings.Contains(log.String(), secret) && strings.Contains(log.String(), "panic_test.go")
			})
			if name == "that takes leave" {
				return
			}
			other.say(`{"type":"ping"}`)
			if got := other.hear(); got.Type != "pong" {
				t.Errorf("another socket goes on with %+v", got)
			}
		})
	}
}

func follows1(c *socketClient, id uuid.UUID) {
	c.begin("1", followStock, idList(id))
	c.stock("1")
}

// explosive is a value that panics when it is encoded.
type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic(secret) }

// explodingSchema has an explosive in each of its responses.
type explodingSchema struct{ graphql.ExecutableSchema }

func (s explodingSchema) Exec(ctx context.Context) graphql.ResponseHandler {
	respond := s.ExecutableSchema.Exec(ctx)
	return func(ctx context.Context) *graphql.Response {
		resp := respond(ctx)
		if resp != nil {
			resp.Errors = append(resp.Errors, &gqlerror.Error{Extensions: map[string]any{"x": explosive{}}})
		}
		return resp
	}
}

// A value that can't be encoded fails for those who follow it, and comes as an error. They go on following.
func TestPanicOfWhatIsFollowedIsAnError(t *testing.T) {
	id := uuid.New()
	products := newShelf(id)
	api := newTestHandler(t, products.fakes, "GRAPHQL_SUBSCRIPTION_INTERVAL", "1ms")
	log := logged(api)
	api.inner.schema = explodingSchema{api.inner.schema}
	s := serveAPI(t, api, nil)
	client := s.connected(t)
	client.begin("1", followStock, idList(id))
	stream := s.events(t, http.MethodPost, followStock, idList(id), nil)
	for v := range int64(3) {
		if v > 0 { // after the present value
			products.set(id, 1+v)
		}
		for over, payload := range map[string]string{"a socket": string(client.hear().Payload), "events": stream.next().data} {
			if !strings.Contains(payload, string(InternalServerError)) || !strings.HasSuffix(payload, `"data":null}`) || strings.Contains(payload, secret) {
				t.Errorf("over %s: %s", over, payload)
			}
		}
	}
	if !strings.Contains(log.String(), secret) {
		t.Error("the log doesn't say why")
	}
}

// A panic in the middle of a stream of events ends it as the protocol has it, where that can still be sent,
// and else the connection.
func TestPanicInAStreamEndsIt(t *testing.T) {
	for _, writes := range []int64{1, 1000} {
		var trap trap
		id := uuid.New()
		products := newShelf(id)
		api := newTestHandler(t, products.fakes, "GRAPHQL_SUBSCRIPTION_INTERVAL", "1ms")
		log := logged(api)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { api.ServeHTTP(trapWriter{w, &trap}, r) }))
		s := serveOn(t, api, server, nil)
		stream := s.events(t, http.MethodPost, followStock, idList(id), nil)
		if got := stream.next(); got.event != "next" {
			t.Fatalf("got %+v", got)
		}
		trap.armed.Store(writes)
		products.set(id, 2)
		if writes == 1 {
			if got := stream.next(); got.event != "next" || !strings.HasPrefix(got.data, `{"errors":[`) || !strings.Contains(got.data, string(InternalServerError)) || strings.Contains(got.data, secret) {
				t.Errorf("it ends with %+v", got)
			}
			if got := stream.next(); got.event != "complete" {
				t.Errorf("then comes %+v", got)
			}
		}
		rest, err := io.ReadAll(stream.reader)
		if len(rest) > 0 || (err == nil) != (writes == 1) {
			t.Errorf("with %d writes that panic the rest is %q (%v)", writes, rest, err)
		}
		within(t, "the stream is forgotten", func() bool { return api.Connections() == 0 })
		if !strings.Contains(log.String(), secret) {
			t.Error("the log doesn't say why")
		}
	}
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// within waits until something is so.
func within(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
