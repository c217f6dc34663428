package graph

import (
	"context"
	"encoding/json"
	"time"

	"github.com/coder/websocket"

	"product-service/graph/live"
)

// operation is one that a client has begun on a socket and that hasn't ended.
type operation struct {
	id     string
	ctx    context.Context
	cancel context.CancelFunc

	// These belong to the socket's mu.
	feed   *live.Subscriber // nil: it isn't a subscription, or hasn't begun
	queued bool             // it is among the socket's news
	ended  bool
}

// message is a message about the operation.
func (op *operation) message(kind string, payload []byte) []byte {
	id, _ := json.Marshal(op.id) // a string has no error
	m := make([]byte, 0, len(id)+len(payload)+48)
	m = append(append(m, `{"id":`...), id...)
	m = append(append(append(m, `,"type":"`...), kind...), '"')
	if payload != nil {
		m = append(append(m, `,"payload":`...), payload...)
	}
	return append(m, '}')
}

// subscribe begins an operation.
func (s *socket) subscribe(m message) (websocket.StatusCode, string) {
	req, _, malformed := readBody(m.payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.acked:
		return closeUnauthorized, "Unauthorized: connection_init comes first, and is waited for"
	case malformed != nil:
		return closeBadMessage, "Invalid message received: " + malformed.Error()
	case s.operations[m.id] != nil:
		return closeDuplicateID, "Subscriber for " + m.id + " already exists"
	case s.leaving, s.ctx.Err() != nil:
		return 0, ""
	}
	op := &operation{id: m.id}
	if most := s.h.config.MaxSocketOperations; len(s.operations) >= most {
		refused := faultf(QueryTooComplex, "the socket runs %d operations, which is as many as it can at once: complete one first", most)
		go s.send(nil, op.message("error", s.h.presenter.encodeErrors(s.ctx, s.h.presenter.refusal(s.ctx, refused).Errors)))
		return 0, ""
	}
	op.ctx, op.cancel = context.WithCancel(s.admitted)
	s.operations[m.id] = op
	req.wake = func() { s.tell(op) }
	s.running.Go(func() { s.run(op, req) })
	return 0, ""
}

// run runs an operation to its end, or until it follows something.
func (s *socket) run(op *operation, req request) {
	defer s.closeOnPanic()
	ctx, cancel := context.WithTimeout(op.ctx, s.h.config.Timeout)
	defer cancel()
	var a answer
	var served bool
	if err := safely(ctx, func() error { a, served = s.h.inTurn(ctx, req); return nil }); err != nil {
		a.resp = s.h.presenter.refusal(ctx, err)
	} else if !served {
		a.resp = s.h.presenter.refusal(ctx, s.h.busy())
	}
	switch {
	case a.feed != nil:
		s.mu.Lock()
		op.feed = a.feed
		ended, leaving := op.ended, s.leaving
		s.mu.Unlock()
		switch {
		case ended: // while it began
			a.feed.Leave()
		case leaving:
			s.finish(op, op.message("complete", nil))
		default:
			s.tell(op) // it may have had something to send already
		}
	case a.resp.Data == nil:
		s.finish(op, op.message("error", s.h.presenter.encodeErrors(ctx, a.resp.Errors)))
	default:
		s.send(op, op.message("next", s.h.presenter.encode(ctx, a.resp)))
		s.finish(op, op.message("complete", nil))
	}
}

// tell has what an operation has to send sent. It doesn't block.
func (s *socket) tell(op *operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op.ended || op.queued || op.feed == nil {
		return
	}
	op.queued = true
	s.news = append(s.news, op)
	if !s.telling {
		s.telling = true
		go s.sendNews()
	}
}

// sendNews sends what operations have to send, in turns, until none has anything.
func (s *socket) sendNews() {
	defer s.closeOnPanic()
	for {
		s.mu.Lock()
		if len(s.news) == 0 {
			s.news, s.telling = nil, false
			s.mu.Unlock()
			return
		}
		op := s.news[0]
		s.news = s.news[1:]
		op.queued = false
		s.mu.Unlock()
		if payload, ok := op.feed.Next(); ok {
			s.tell(op)
			s.send(op, op.message("next", payload))
		}
	}
}

// send sends a message, unless it is of an operation that has ended.
func (s *socket) send(op *operation, message []byte) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if op == nil || !s.hasEnded(op) {
		s.write(message)
	}
}

// finish ends an operation with a last message, unless it has ended.
func (s *socket) finish(op *operation, last []byte) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.drop(op) {
		s.write(last)
	}
}

// write blocks as long as the client takes nothing, within bounds: so does whoever has something to send, and nothing piles up.
// s.sending is held.
func (s *socket) write(message []byte) {
	err := s.wire.SetWriteDeadline(time.Now().Add(s.h.timings.write))
	if err == nil {
		err = s.conn.Write(context.Background(), websocket.MessageText, message)
	}
	if err == nil {
		err = s.wire.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		go s.cut()
	}
}

func (s *socket) follows(op *operation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return op.feed != nil
}

func (s *socket) hasEnded(op *operation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return op.ended
}

// complete ends an operation because its client wants no more of it.
func (s *socket) complete(id string) {
	s.mu.Lock()
	op := s.operations[id]
	s.mu.Unlock()
	if op != nil {
		s.drop(op)
	}
}

// drop forgets an operation. It says whether it hadn't ended.
func (s *socket) drop(op *operation) bool {
	s.mu.Lock()
	first, feed := !op.ended, op.feed
	op.ended = true
	if s.operations[op.id] == op {
		delete(s.operations, op.id)
	}
	s.mu.Unlock()
	if !first {
		return false
	}
	op.cancel()
	if feed != nil {
		feed.Leave()
	}
	return true
}
