package graph

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	maxMessage = 64 << 10 // bytes of a client's message
	wireBuffer = 1024     // bytes of each of a connection's two buffers: there are thousands, and most messages are shorter
	closeTime  = 5 * time.Second
)

// wire is a WebSocket connection (RFC 6455) that carries whole messages of text. Each of its calls ends in
// time, whatever the client does or doesn't do.
type wire struct {
	conn    *websocket.Conn
	below   net.Conn
	timings timings
}

// acceptWire makes a request's connection a WebSocket. Where that fails the request has been answered.
func acceptWire(w http.ResponseWriter, r *http.Request, t timings) (*wire, error) {
	// A client that offers other protocols is answered with its own, so that it takes the socket, and sees
	// the code that it is closed with.
	protocols := []string{subprotocol}
	if offered := strings.TrimSpace(strings.Split(r.Header.Get("Sec-Websocket-Protocol"), ",")[0]); offered != "" {
		protocols = append(protocols, offered)
	}
	hijacked := &hijacked{ResponseWriter: w}
	conn, err := websocket.Accept(hijacked, r, &websocket.AcceptOptions{
		Subprotocols: protocols, InsecureSkipVerify: true, // the origin was looked at
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxMessage)
	return &wire{conn: conn, below: hijacked.conn, timings: t}, nil
}

// speaks says whether both ends agreed on our protocol.
func (w *wire) speaks() bool { return w.conn.Subprotocol() == subprotocol }

// next returns the client's next message. The error is a *closing where the client is to be told why there
// is none.
func (w *wire) next() ([]byte, error) {
	kind, reader, err := w.conn.Reader(context.Background()) // which ends when the connection does
	if err == nil && kind != websocket.MessageText {
		return nil, closingf(websocket.StatusUnsupportedData, "messages must be text")
	}
	var body []byte
	if err == nil {
		body, err = io.ReadAll(reader)
	}
	switch {
	case err == nil && !utf8.Valid(body):
		return nil, closingf(websocket.StatusInvalidFramePayloadData, "the message isn't UTF-8")
	case errors.Is(err, websocket.ErrMessageTooBig):
		return nil, closingf(websocket.StatusMessageTooBig, "a message must have at most %d bytes", maxMessage)
	case err != nil && strings.Contains(err.Error(), "unmasked frame"): // for which the library sends no code
		return nil, closingf(websocket.StatusProtocolError, "a client's frames must be masked")
	}
	return body, err
}

// write sends a message. It blocks as long as the client takes nothing, within bounds: so does whoever has
// something to send, and nothing piles up. One message is sent at a time.
func (w *wire) write(message []byte) error {
	err := w.below.SetWriteDeadline(time.Now().Add(w.timings.write))
	if err == nil {
		err = w.conn.Write(context.Background(), websocket.MessageText, message)
	}
	if err == nil {
		err = w.below.SetWriteDeadline(time.Time{})
	}
	return err
}

// ping asks the client for a sign of life and waits for it.
func (w *wire) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.timings.pong)
	defer cancel()
	return w.conn.Ping(ctx)
}

// close ends the connection in order. A client that is gone doesn't answer.
func (w *wire) close(c *closing) {
	defer func() { _ = w.below.Close() }()             // it may be closed by now
	_ = w.below.SetDeadline(time.Now().Add(closeTime)) // if it fails, so does the rest
	_ = w.conn.Close(c.code, fitting(c.reason))
}

// cut ends the connection without another word.
func (w *wire) cut() {
	_ = w.below.Close() // it may be closed already
	_ = w.conn.CloseNow()
}

// hijacked gives a connection buffers of the size that messages have.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

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
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), conn), max(wireBuffer, len(early)))
	if len(early) > 0 {
		if _, err := reader.Peek(len(early)); err != nil { // whoever takes over looks for it in the buffer alone
			return nil, nil, err
		}
	}
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, wireBuffer)), nil
}

// closing is how a connection is ended: the code and the reason of the closing frame (RFC 6455, section
// 5.5.1). As an error it is what a client did for which that is the answer.
type closing struct {
	code   websocket.StatusCode
	reason string
}

func closingf(code websocket.StatusCode, format string, args ...any) *closing {
	return &closing{code, fmt.Sprintf(format, args...)}
}

func (c *closing) Error() string { return fmt.Sprintf("%d: %s", c.code, c.reason) }

// maxReason is how many bytes the reason in a closing frame can have.
const maxReason = 123

// fitting cuts a reason to what fits, between characters.
func fitting(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	cut := maxReason - len("…")
	for cut > 0 && !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut] + "…"
}
