package graph

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"product-service/correlation"
	"product-service/graph/auth"
)

// timings are how long sockets and streams wait. They are those of [standardTimings] but in tests.
type timings struct {
	init  time.Duration // for connection_init
	ping  time.Duration // from a sign of life to the next
	pong  time.Duration // for the answer to a ping
	write time.Duration // for a client to take what is sent
	drain time.Duration // for all clients to be told that the service stops
}

var standardTimings = timings{
	init: 3 * time.Second, ping: 20 * time.Second, pong: 10 * time.Second, write: 10 * time.Second, drain: 5 * time.Second,
}

// socket is a client's WebSocket, from its opening to its end. It has one goroutine that reads, and while
// there is news one that sends it. All of them, and the callbacks of its timers, are [socket.guarded]. What
// runs on it is in socket_operation.go, what it speaks in socket_message.go.
type socket struct {
	h       *handler
	counted *connection
	ctx     context.Context // of all its operations; ends with it
	cancel  context.CancelFunc

	running sync.WaitGroup // operations that are executed, or begin
	sending sync.Mutex     // one message at a time, and none of an operation after its last

	mu         sync.Mutex
	wire       *wire // nil until it is open
	inited     bool  // connection_init came
	acked      bool
	caller     auth.Caller
	admit      func(auth.Caller) context.Context // nil once acked
	admitted   context.Context                   // of operations
	leaving    bool                              // the service stops
	operations map[string]*operation
	news       []*operation // that have something to send
	telling    bool         // somebody sends it
	awaited    *time.Timer  // connection_init, and then the token's end
	pinged     *time.Timer
}

// wantsSocket tells a request for a WebSocket. There are others that would have another protocol, and do
// without it.
func wantsSocket(r *http.Request) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Upgrade"), ",")), "websocket")
}

// upgrade makes a request for a WebSocket one. It returns once the socket is open, or is refused.
func (h *handler) upgrade(w http.ResponseWriter, r *http.Request) {
	if !h.config.sameOrigin(r) {
		h.refuse(r.Context(), w, mediaJSON, http.StatusForbidden,
			faultf(Forbidden, "pages of this origin may not open a socket here; CORS_ORIGINS names those that may"))
		return
	}
	// The context of the request ends with this call, and holds on to what only a request needs.
	ctx := correlation.WithID(context.Background(), correlation.ID(r.Context()))
	ctx = correlation.WithTraceparent(ctx, correlation.TraceparentOf(r.Context()))
	s := &socket{h: h, operations: map[string]*operation{}, caller: auth.CallerOf(r.Context())}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.admit = func(c auth.Caller) context.Context { return h.gate.Admit(s.ctx, r, c) }
	var err error
	if s.counted, err = h.connections.add(r, s.guarded(s.leave), s.guarded(s.cut)); err != nil {
		w.Header().Set("Retry-After", "5")
		h.refuse(r.Context(), w, mediaJSON, http.StatusServiceUnavailable, err)
		return
	}
	opened, err := acceptWire(w, r, h.timings)
	if err != nil {
		h.connections.remove(s.counted)
		return
	}
	s.guarded(func() { s.open(opened) })()
}

// sameOrigin says whether a request comes from no page, from one of this service's own origin, or from one
// of an allowed origin: a browser sends cookies, and reaches into private networks, for a socket of any
// page.
func (c Config) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(c.CORSOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// guarded is f for a goroutine of the socket: a panic in it closes the socket, and ends nothing else. The
// log has its cause, and the client learns that it is the server's fault.
func (s *socket) guarded(f func()) func() {
	return func() {
		defer func() {
			if cause := recover(); cause != nil {
				s.h.presenter.log.ErrorContext(s.ctx, "a WebSocket was closed by a panic", "error", recovered(s.ctx, cause))
				s.closes(closingf(closeInternalError, "Internal server error"))() // once closed, there is nothing left to panic
			}
		}()
		f()
	}
}

// closes is [socket.close] for a goroutine of the socket.
func (s *socket) closes(how *closing) func() { return s.guarded(func() { s.close(how) }) }

var serviceStops = closingf(websocket.StatusGoingAway, "the service is stopping")

func (s *socket) open(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire = w
	switch {
	case s.leaving:
		go s.closes(serviceStops)()
	case !w.speaks():
		go s.closes(closingf(closeSubprotocol, "Subprotocol not acceptable: it must be %s", subprotocol))()
	default:
		s.awaited = time.AfterFunc(s.h.timings.init, s.closes(closingf(closeInitTimeout, "Connection initialisation timeout")))
		s.pinged = time.AfterFunc(s.h.timings.ping, s.guarded(s.ping))
		go s.guarded(s.read)()
	}
}

// ping asks for a sign of life, which keeps proxies from ending the connection and finds out whether the
// client is there.
func (s *socket) ping() {
	if err := s.wire.ping(s.ctx); err != nil {
		s.close(closingf(closeTerminated, "Terminated: the client didn't answer a ping"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.pinged.Reset(s.h.timings.ping)
	}
}

// read takes messages in until the socket closes.
func (s *socket) read() {
	for {
		body, err := s.wire.next()
		if err == nil {
			err = s.receive(body)
		}
		if err == nil {
			continue
		}
		if why, told := errors.AsType[*closing](err); told {
			s.close(why)
		} else {
			s.cut()
		}
		return
	}
}

// receive handles a message. The error, a *closing, says how to close the socket because of it.
func (s *socket) receive(body []byte) error {
	m, err := readMessage(body)
	if err != nil {
		return closingf(closeBadMessage, "Invalid message received: %v", err)
	}
	switch m.kind {
	case messageInit:
		return s.init(m.payload)
	case messagePing:
		s.send(nil, message{kind: messagePong, payload: m.payload})
	case messageSubscribe:
		return s.subscribe(m)
	case messageComplete:
		s.complete(m.id)
	}
	return nil
}

// init acknowledges a connection, once, and learns who its caller is.
func (s *socket) init(payload json.RawMessage) error {
	s.mu.Lock()
	again := s.inited
	s.inited = true
	if !again {
		s.awaited.Stop()
	}
	s.mu.Unlock()
	if again {
		return closingf(closeTooManyInits, "Too many initialisation requests")
	}
	caller, err := s.authenticate(payload)
	if err != nil {
		return closingf(closeForbidden, "Forbidden: %v", err)
	}
	admitted := s.admit(caller) // without the lock, which a panic would leave held
	s.mu.Lock()
	s.acked, s.caller = true, caller
	s.admitted, s.admit = admitted, nil
	if ends := caller.Ends(time.Now()); !ends.IsZero() && s.ctx.Err() == nil {
		s.awaited = time.AfterFunc(time.Until(ends), s.closes(closingf(closeForbidden, "Forbidden: the token has expired")))
	}
	s.mu.Unlock()
	s.send(nil, message{kind: messageAck})
	return nil
}

// authenticate says who the caller is by the Authorization of a payload, whatever the case of its name.
// Without one it is who asked for the socket.
func (s *socket) authenticate(payload json.RawMessage) (auth.Caller, error) {
	fields, err := object("payload", payload)
	if err != nil {
		return auth.Caller{}, err
	}
	for name, value := range fields {
		if !strings.EqualFold(name, "Authorization") || value == nil {
			continue
		}
		text, ok := value.(string)
		if !ok {
			return auth.Caller{}, errors.New("Authorization must be a string")
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.h.config.Timeout)
		defer cancel()
		return s.h.gate.Authorization(ctx, text)
	}
	return s.caller, nil
}

// leave completes all operations, answers those under way, and closes the socket, because the
// service stops.
func (s *socket) leave() {
	s.mu.Lock()
	s.leaving = true
	opened := s.wire != nil
	all := slices.Collect(maps.Values(s.operations))
	s.mu.Unlock()
	if !opened {
		return // it closes as soon as it is
	}
	for _, op := range all {
		if s.follows(op) {
			s.finish(op, messageComplete, nil)
		}
	}
	s.running.Wait() // for answers
	s.close(serviceStops)
}

// close ends the socket as it is told. The first to close it decides how.
func (s *socket) close(how *closing) {
	if s.end() {
		defer s.h.connections.remove(s.counted)
		s.wire.close(how)
	}
}

// cut ends the socket without another word.
func (s *socket) cut() {
	s.mu.Lock()
	opened := s.wire != nil
	s.mu.Unlock()
	if !opened {
		return
	}
	if s.end() {
		defer s.h.connections.remove(s.counted)
	}
	s.wire.cut() // also where it is being closed, which may take its time
}

// end ends all that the socket does. It says whether it was the first to.
func (s *socket) end() bool {
	s.mu.Lock()
	first := s.ctx.Err() == nil
	s.cancel()
	for _, t := range []*time.Timer{s.awaited, s.pinged} {
		if t != nil {
			t.Stop()
		}
	}
	all := slices.Collect(maps.Values(s.operations))
	s.mu.Unlock()
	for _, op := range all {
		s.drop(op)
	}
	return first
}
