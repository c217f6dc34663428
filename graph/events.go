package graph

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"product-service/graph/auth"
	"product-service/graph/live"
)

// mediaEvents is the type of an answer as server-sent events (WHATWG HTML, section 9.2).
const mediaEvents = "text/event-stream"

// eventStream answers one request with events, as graphql-sse's "distinct connections mode" has it: `next`
// with a response, as often as there is one, and `complete`.
// https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
type eventStream struct {
	h       *handler
	w       http.ResponseWriter
	control *http.ResponseController
}

// event answers with one response. One to a request that isn't executed comes so too: clients of events
// don't read the body of another status.
func (h *handler) event(ctx context.Context, w http.ResponseWriter, resp *graphql.Response) {
	body := h.presenter.encode(ctx, resp)
	h.events(ctx, w, func(out *eventStream) {
		if out.begin() == nil {
			out.end(body)
		}
	})
}

// events runs what answers with events. A panic ends the stream with an event that has the error, and
// complete: in the middle of it nothing else can be read. Where not even that can be sent it ends the
// connection.
func (h *handler) events(ctx context.Context, w http.ResponseWriter, answer func(*eventStream)) {
	out := &eventStream{h: h, w: w, control: http.NewResponseController(w)}
	err := safely(ctx, func() error { answer(out); return nil })
	if err == nil {
		return
	}
	refused := h.presenter.encode(ctx, h.presenter.refusal(ctx, err))
	if safely(ctx, func() error { out.end(refused); return nil }) != nil {
		panic(http.ErrAbortHandler)
	}
}

// stream answers with the responses of a subscription as they come: news gets a value when there is one.
func (h *handler) stream(w http.ResponseWriter, r *http.Request, feed *live.Subscriber, news <-chan struct{}) {
	defer feed.Leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	leave := make(chan struct{})
	leaving := sync.OnceFunc(func() { close(leave) })
	counted, err := h.connections.add(r, leaving, cancel)
	if err != nil {
		w.Header().Set("Retry-After", "5")
		h.refuse(ctx, w, mediaJSON, http.StatusServiceUnavailable, err)
		return
	}
	defer h.connections.remove(counted)
	if ends := auth.CallerOf(ctx).Ends(time.Now()); !ends.IsZero() {
		defer time.AfterFunc(time.Until(ends), leaving).Stop()
	}
	h.events(ctx, w, func(out *eventStream) { out.follow(ctx, feed, news, leave) })
}

// follow sends what comes until the client goes or is to leave: the service stops, or the token has
// expired. A client that is slow to take it gets the latest.
func (out *eventStream) follow(ctx context.Context, feed *live.Subscriber, news, leave <-chan struct{}) {
	alive := time.NewTicker(out.h.timings.ping)
	defer alive.Stop()
	err := out.begin()
	for err == nil {
		if payload, ok := feed.Next(); ok {
			err = out.send("next", payload)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-leave:
			_ = out.send("complete", nil)
			return
		case <-alive.C:
			err = out.comment()
		case <-news:
		}
	}
}

// begin sends the head, and a comment: some browsers take no stream for open before its first bytes.
func (out *eventStream) begin() error {
	header := out.w.Header()
	header.Set("Content-Type", mediaEvents+"; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // or a proxy would hold events back
	header.Set("X-Content-Type-Options", "nosniff")
	if err := out.control.SetReadDeadline(time.Time{}); err != nil { // it was the request's
		return err
	}
	out.w.WriteHeader(http.StatusOK)
	return out.comment()
}

// end sends the last response. A client that is gone doesn't mind.
func (out *eventStream) end(body []byte) {
	if out.send("next", body) == nil {
		_ = out.send("complete", nil)
	}
}

func (out *eventStream) comment() error { return out.write([]byte(":\n\n")) }

// send sends an event. Its data is JSON, and so has no line break.
func (out *eventStream) send(event string, data []byte) error {
	b := make([]byte, 0, len(data)+32)
	b = append(append(b, "event: "...), event...)
	b = append(b, "\ndata:"...)
	if data != nil {
		b = append(append(b, ' '), data...)
	}
	return out.write(append(b, "\n\n"...))
}

func (out *eventStream) write(b []byte) error {
	if err := out.control.SetWriteDeadline(time.Now().Add(out.h.timings.write)); err != nil {
		return err
	}
	if _, err := out.w.Write(b); err != nil {
		return err
	}
	return out.control.Flush()
}
