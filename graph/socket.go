package graph

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"product-service/correlation"
	"product-service/graph/auth"
	"product-service/ijson"
)

// subprotocol is what sockets speak: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md.
const subprotocol = "graphql-transport-ws"

// Close codes of the protocol, besides those of RFC 6455.
const (
	closeBadMessage    websocket.StatusCode = 4400
	closeUnauthorized  websocket.StatusCode = 4401
	closeForbidden     websocket.StatusCode = 4403
	closeSubprotocol   websocket.StatusCode = 4406
	closeInitTimeout   websocket.StatusCode = 4408
	closeDuplicateID   websocket.StatusCode = 4409
	closeTooManyInits  websocket.StatusCode = 4429
	closeTerminated    websocket.StatusCode = 4499
	closeInternalError websocket.StatusCode = 4500
)

const (
	maxMessage  = 64 << 10 // bytes of a client's message
	maxIDLength = 128      // bytes of an operation's id
	closeTime   = 5 * time.Second
)

// timings are how long sockets and streams wait. They are those of [standardTimings] but in tests.
type timings struct {
	init  time.Duration // for connection_init
	ping  time.Duration // from a sign of life to the next
	pong  time.Duration // for the answer to a ping
	write time.Duration // for a client to take what is sent
	drain time.Duration // for all clients to be told that the service stops
}

var standardTimings = timings{init: 3 * time.Second, ping: 20 * time.Second, pong: 10 * time.Second, write: 10 * time.Second, drain: 5 * time.Second}

// socket is a client's WebSocket. It has one goroutine that reads, and while there is news one that sends it.
type socket struct {
	h       *handler
	counted *connection
	wire    net.Conn // below conn
	conn    *websocket.Conn
	ctx     context.Context // of all its operations; ends with it
	cancel  context.CancelFunc

	running sync.WaitGroup // operations that are executed, or begin
	sending sync.Mutex     // one message at a time, and none of an operation after its last

	mu         sync.Mutex
	inited     bool // connection_init came
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

// wantsSocket tells a request for a WebSocket. There are others that would have another protocol, and do without it.
func wantsSocket(r *http.Request) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Upgrade"), ",")), "websocket")
}

// upgrade makes a request for a WebSocket one. It returns once the socket is open, or is refused.
func (h *handler) upgrade(w http.ResponseWriter, r *http.Request) {
	if !h.config.sameOrigin(r) {
		h.refuse(r.Context(), w, mediaJSON, http.StatusForbidden, faultf(Forbidden, "pages of this origin may not open a socket here; CORS_ORIGINS names those that may"))
		return
	}
	s := &socket{h: h, operations: map[string]*operation{}, caller: auth.CallerOf(r.Context())}
	s.admit = func(c auth.Caller) context.Context { return h.gate.Admit(s.ctx, r, c) }
	var err error
	if s.counted, err = h.connections.add(r, s.leave, s.cut); err != nil {
		w.Header().Set("Retry-After", "5")
		h.refuse(r.Context(), w, mediaJSON, http.StatusServiceUnavailable, err)
		return
	}
	// A client that offers other protocols is answered with its own, so that it takes the socket, and sees the code that it is closed with.
	protocols := []string{subprotocol}
	offered := strings.TrimSpace(strings.Split(r.Header.Get("Sec-Websocket-Protocol"), ",")[0])
	if offered != "" {
		protocols = append(protocols, offered)
	}
	hijacked := &hijacked{ResponseWriter: w}
	conn, err := websocket.Accept(hijacked, r, &websocket.AcceptOptions{Subprotocols: protocols, InsecureSkipVerify: true}) // the origin was looked at
	if err != nil {
		h.connections.remove(s.counted)
		return // it was answered
	}
	conn.SetReadLimit(maxMessage)
	// The context of the request ends with this call, and holds on to what only a request needs.
	ctx := correlation.WithID(context.Background(), correlation.ID(r.Context()))
	ctx = correlation.WithTraceparent(ctx, correlation.TraceparentOf(r.Context()))
	s.wire = hijacked.conn
	s.open(ctx, conn)
}

// hijacked gives a connection buffers of the size that messages have: there are thousands of them.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

const socketBuffer = 1024

// Hijack implements [http.Hijacker].
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = conn
	var early []byte // what the client sent already
	if n := buffers.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := io.ReadFull(buffers.Reader, early); err != nil {
			return nil, nil, err
		}
	}
	if err := buffers.Writer.Flush(); err != nil { // the head of the answer
		return nil, nil, err
	}
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), conn), max(socketBuffer, len(early)))
	if len(early) > 0 {
		if _, err := reader.Peek(len(early)); err != nil { // whoever takes over looks for it in the buffer alone
			return nil, nil, err
		}
	}
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, socketBuffer)), nil
}

// sameOrigin says whether a request comes from no page, from one of this service's own origin, or from one of an allowed origin: a
// browser sends cookies, and reaches into private networks, for a socket of any page.
func (c Config) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(c.CORSOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func (s *socket) open(ctx context.Context, conn *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	s.ctx, s.cancel = context.WithCancel(ctx)
	switch {
	case s.leaving:
		go s.close(websocket.StatusGoingAway, "the service is stopping")
	case conn.Subprotocol() != subprotocol:
		go s.close(closeSubprotocol, "Subprotocol not acceptable: it must be "+subprotocol)
	default:
		s.awaited = time.AfterFunc(s.h.timings.init, func() { s.close(closeInitTimeout, "Connection initialisation timeout") })
		s.pinged = time.AfterFunc(s.h.timings.ping, s.ping)
		go s.read()
	}
}

// ping asks for a sign of life, which keeps proxies from ending the connection and finds out whether the client is there.
func (s *socket) ping() {
	ctx, cancel := context.WithTimeout(s.ctx, s.h.timings.pong)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		s.close(closeTerminated, "Terminated: the client didn't answer a ping")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.pinged.Reset(s.h.timings.ping)
	}
}

// closeOnPanic is deferred by goroutines of the socket: a panic of one closes the socket, and ends nothing else. The log has its cause, and the
// client learns that it is the server's fault.
func (s *socket) closeOnPanic() {
	if cause := recover(); cause != nil {
		s.h.presenter.log.ErrorContext(s.ctx, "a WebSocket was closed by a panic", "error", recovered(s.ctx, cause))
		s.close(closeInternalError, "Internal server error")
	}
}

// read takes messages in until the socket closes.
func (s *socket) read() {
	defer s.closeOnPanic()
	for {
		body, code, err := s.next()
		switch {
		case err != nil && code != 0:
			s.close(code, err.Error())
			return
		case err != nil:
			s.cut()
			return
		}
		if code, reason := s.receive(body); code != 0 {
			s.close(code, reason)
			return
		}
	}
}

// next returns the next message. A code says how to close the socket with the error.
func (s *socket) next() ([]byte, websocket.StatusCode, error) {
	kind, reader, err := s.conn.Reader(context.Background()) // which ends when the connection does
	if err == nil && kind != websocket.MessageText {
		return nil, websocket.StatusUnsupportedData, errors.New("messages must be text")
	}
	var body []byte
	if err == nil {
		body, err = io.ReadAll(reader)
	}
	switch {
	case err == nil && !utf8.Valid(body):
		return nil, websocket.StatusInvalidFramePayloadData, errors.New("the message isn't UTF-8")
	case errors.Is(err, websocket.ErrMessageTooBig):
		return nil, websocket.StatusMessageTooBig, fmt.Errorf("a message must have at most %d bytes", maxMessage)
	case err != nil && strings.Contains(err.Error(), "unmasked frame"): // for which the library sends no code
		return nil, websocket.StatusProtocolError, errors.New("a client's frames must be masked")
	}
	return body, 0, err
}

// message is what clients send.
type message struct {
	kind    string
	id      string
	payload json.RawMessage
}

// readMessage reads a message. The error says what is wrong with it.
func readMessage(body []byte) (m message, err error) {
	var fields struct {
		Type    ijson.String `json:"type"`
		ID      ijson.String `json:"id"`
		Payload ijson.Value  `json:"payload"`
	}
	if tooManyValues(body) {
		return m, fmt.Errorf("it has more than %d JSON values, which is the most it can have", maxBodyValues)
	}
	if err := ijson.Unmarshal(body, &fields); err != nil {
		return m, fmt.Errorf("it must be a JSON object; %w", err)
	}
	if fields.Type.Wrong != "" || fields.ID.Wrong != "" {
		return m, errors.New("its type and its id must be strings")
	}
	m = message{kind: fields.Type.Text, id: fields.ID.Text, payload: json.RawMessage(fields.Payload)}
	switch m.kind {
	case "connection_init", "ping", "pong":
		if _, err := object("payload", m.payload); err != nil {
			return m, errors.New("the payload of " + m.kind + " must be an object")
		}
		return m, nil
	case "subscribe", "complete":
		switch {
		case m.id == "":
			return m, errors.New(m.kind + " must have an id, which isn't empty")
		case len(m.id) > maxIDLength:
			return m, errors.New("an id must have at most 128 bytes")
		}
		return m, nil
	case "":
		return m, errors.New("it has no type")
	}
	return m, errors.New("its type must be connection_init, subscribe, complete, ping or pong")
}

// receive handles a message. A code says how to close the socket.
func (s *socket) receive(body []byte) (websocket.StatusCode, string) {
	m, err := readMessage(body)
	if err != nil {
		return closeBadMessage, "Invalid message received: " + err.Error()
	}
	switch m.kind {
	case "connection_init":
		return s.init(m.payload)
	case "ping":
		reply := []byte(`{"type":"pong"}`)
		if len(m.payload) > 0 {
			reply = append(append([]byte(`{"type":"pong","payload":`), m.payload...), '}')
		}
		s.send(nil, reply)
	case "subscribe":
		return s.subscribe(m)
	case "complete":
		s.complete(m.id)
	}
	return 0, ""
}

// init acknowledges a connection, once, and learns who its caller is.
func (s *socket) init(payload json.RawMessage) (websocket.StatusCode, string) {
	s.mu.Lock()
	again := s.inited
	s.inited = true
	if !again {
		s.awaited.Stop()
	}
	s.mu.Unlock()
	if again {
		return closeTooManyInits, "Too many initialisation requests"
	}
	caller, err := s.authenticate(payload)
	if err != nil {
		return closeForbidden, "Forbidden: " + err.Error()
	}
	admitted := s.admit(caller) // without the lock, which a panic would leave held
	s.mu.Lock()
	s.acked, s.caller = true, caller
	s.admitted, s.admit = admitted, nil
	if ends := caller.Ends(time.Now()); !ends.IsZero() && s.ctx.Err() == nil {
		s.awaited = time.AfterFunc(time.Until(ends), func() { s.close(closeForbidden, "Forbidden: the token has expired") })
	}
	s.mu.Unlock()
	s.send(nil, []byte(`{"type":"connection_ack"}`))
	return 0, ""
}

// authenticate says who the caller is by the Authorization of a payload, whatever the case of its name. Without one it is who asked
// for the socket.
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

// leave completes all operations, answers those under way, and closes the socket, because the service stops.
func (s *socket) leave() {
	s.mu.Lock()
	s.leaving = true
	opened := s.conn != nil
	all := slices.Collect(maps.Values(s.operations))
	s.mu.Unlock()
	if !opened {
		return // it closes as soon as it is
	}
	for _, op := range all {
		if s.follows(op) {
			s.finish(op, op.message("complete", nil))
		}
	}
	s.running.Wait() // for answers
	s.close(websocket.StatusGoingAway, "the service is stopping")
}

// close ends the socket with a code and a reason. The first to close it decides them.
func (s *socket) close(code websocket.StatusCode, reason string) {
	if s.end() {
		_ = s.wire.SetDeadline(time.Now().Add(closeTime)) // if it fails, so does the rest
		_ = s.conn.Close(code, closeReason(reason))       // a client that is gone doesn't answer
		s.h.connections.remove(s.counted)
	}
}

// cut ends the socket without another word.
func (s *socket) cut() {
	s.mu.Lock()
	opened := s.conn != nil
	s.mu.Unlock()
	if !opened {
		return
	}
	first := s.end()
	_ = s.wire.Close() // it may be closed already
	_ = s.conn.CloseNow()
	if first {
		s.h.connections.remove(s.counted)
	}
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

// maxReason is how many bytes the reason in a closing frame can have (RFC 6455, section 5.5).
const maxReason = 123

// closeReason cuts a reason to what fits, between characters.
func closeReason(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	cut := maxReason - len("…")
	for cut > 0 && !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut] + "…"
}
