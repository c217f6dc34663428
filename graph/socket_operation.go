package graph

import (
	"context"
	"errors"

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

// subscribe begins an operation. The error, a *closing, says how to close the socket because of it.
func (s *socket) subscribe(m message) error {
	err := s.begin(m)
	if _, breach := errors.AsType[*closing](err); err == nil || breach {
		return err
	}
	// The one who reads sends it, and so reads no more until the client has taken it.
	refused := s.h.presenter.refusal(s.ctx, err)
	s.send(nil, message{messageError, m.id, s.h.presenter.encodeErrors(s.ctx, refused.Errors)})
	return nil
}

// begin begins an operation, unless the socket ends. The error is a *closing, or what the client is to be
// told of the operation alone.
func (s *socket) begin(m message) error {
	req, _, malformed := readBody(m.payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.h.config.MaxSocketOperations
	switch {
	case !s.acked:
		return closingf(closeUnauthorized, "Unauthorized: connection_init comes first, and is waited for")
	case malformed != nil:
		return closingf(closeBadMessage, "Invalid message received: %v", malformed)
	case s.operations[m.id] != nil:
		return closingf(closeDuplicateID, "Subscriber for %s already exists", m.id)
	case s.leaving, s.ctx.Err() != nil:
		return nil
	case len(s.operations) >= most:
		return faultf(QueryTooComplex,
			"the socket runs %d operations, which is as many as it can at once: complete one first", most)
	}
	op := &operation{id: m.id}
	op.ctx, op.cancel = context.WithCancel(s.admitted)
	s.operations[m.id] = op
	req.wake = func() { s.tell(op) }
	s.running.Go(s.guarded(func() { s.run(op, req) })) // under the lock: leave waits for all that began before
	return nil
}

// run runs an operation to its end, or until it follows something.
func (s *socket) run(op *operation, req request) {
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
			s.finish(op, messageComplete, nil)
		default:
			s.tell(op) // it may have had something to send already
		}
	case a.resp.Data == nil:
		s.finish(op, messageError, s.h.presenter.encodeErrors(ctx, a.resp.Errors))
	default:
		s.send(op, message{messageNext, op.id, s.h.presenter.encode(ctx, a.resp)})
		s.finish(op, messageComplete, nil)
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
		go s.guarded(s.sendNews)()
	}
}

// sendNews sends what operations have to send, in turns, until none has anything.
func (s *socket) sendNews() {
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
			s.send(op, message{messageNext, op.id, payload})
		}
	}
}

// send sends a message, unless it is of an operation that has ended.
func (s *socket) send(op *operation, m message) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if op == nil || !s.hasEnded(op) {
		s.write(m)
	}
}

// finish ends an operation with a last message, unless it has ended.
func (s *socket) finish(op *operation, kind string, payload []byte) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.drop(op) {
		s.write(message{kind, op.id, payload})
	}
}

// write needs s.sending.
func (s *socket) write(m message) {
	if s.wire.write(m.encode()) != nil {
		go s.guarded(s.cut)()
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
