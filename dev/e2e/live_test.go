package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
)

const stockFollowed = `subscription($ids: [ID!]!) {
  stockChanged(productIds: $ids) { total reserved available version }
}`

// following is the request that follows a product's stock.
func following(product string) map[string]any {
	return map[string]any{"query": stockFollowed, "variables": map[string]any{"ids": []string{product}}}
}

// sent is what the server sends of an operation that follows stock, over a WebSocket or as events: next,
// complete or error.
type sent struct {
	kind    string
	payload string
}

// stock is what a next says.
func (m sent) stock() (stock, error) {
	var answer struct {
		Data   struct{ StockChanged *stock }
		Errors []any
	}
	err := json.Unmarshal([]byte(m.payload), &answer)
	if err != nil || m.kind != "next" || answer.Data.StockChanged == nil || len(answer.Errors) > 0 {
		return stock{}, fmt.Errorf("%s: %s (%v)", m.kind, m.payload, err)
	}
	return *answer.Data.StockChanged, nil
}

// followOverSocket follows the product's stock as graphql-ws does. next waits for what comes; after the
// last of it, its error says how the socket was closed.
func (s *server) followOverSocket(ctx context.Context, product string) (next func() (sent, error)) {
	s.t.Helper()
	options := &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}}
	conn, _, err := websocket.Dial(ctx, "ws://"+s.http+"/graphql", options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.CloseNow() })
	say := func(message map[string]any) {
		text, err := json.Marshal(message)
		if err == nil {
			err = conn.Write(ctx, websocket.MessageText, text)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	next = func() (sent, error) {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return sent{}, err
		}
		var m struct {
			Type    string
			Payload json.RawMessage
		}
		err = json.Unmarshal(text, &m)
		return sent{m.Type, string(m.Payload)}, err
	}
	say(map[string]any{"type": "connection_init"})
	if m, err := next(); err != nil || m.kind != "connection_ack" {
		s.t.Fatalf("the answer to connection_init is %+v (%v)", m, err)
	}
	say(map[string]any{"type": "subscribe", "id": "1", "payload": following(product)})
	return next
}

// followByEvents follows the product's stock as graphql-sse does. The error after the last event is io.EOF.
func (s *server) followByEvents(ctx context.Context, product string) (next func() (sent, error)) {
	s.t.Helper()
	body, err := json.Marshal(following(product))
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.http+"/graphql", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := new(http.Client).Do(req) // which has no limit of time: ctx has one
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("events are answered with %s", resp.Status)
	}
	reader := bufio.NewReader(resp.Body)
	return func() (m sent, err error) {
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return m, err
			}
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			switch {
			case name == "event":
				m.kind = strings.TrimSpace(value)
			case name == "data":
				m.payload = strings.TrimSpace(value)
			case name == "" && value == "" && m.kind != "":
				return m, nil
			}
		}
	}
}

// A saga's command reaches those who follow the product's stock, over each transport and through each
// instance. When the service is stopped, what they follow is completed and their connections are closed
// in order.
func TestASagasCommandReachesThoseWhoFollowTheStock(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w := newWorld(t)
	s, other := w.start(), w.start()
	product, _ := w.newProduct(10)
	within(t, startLimit, "the product can be read", func() error {
		shown, err := s.stock(product)
		if err == nil && shown == nil {
			err = errors.New("it can't")
		}
		return err
	})
	transports := map[string]func() (sent, error){
		"a WebSocket": s.followOverSocket(ctx, product), "events": s.followByEvents(ctx, product),
		"a WebSocket of another instance": other.followOverSocket(ctx, product), "its events": other.followByEvents(ctx, product),
	}
	await := func(want stock) {
		t.Helper()
		for name, next := range transports {
			for got := (stock{}); got.Version != want.Version; {
				m, err := next()
				if err == nil {
					got, err = m.stock()
				}
				if err != nil || got.Version > want.Version {
					t.Fatalf("%s: %+v came before %+v (%v)", name, got, want, err)
				}
				if got.Version == want.Version && got != want {
					t.Fatalf("%s: got %+v, want %+v", name, got, want)
				}
			}
		}
	}
	shown, err := s.stock(product)
	if err != nil {
		t.Fatal(err)
	}
	await(*shown)
	m := reserve(product, uuid.NewString(), 3)
	w.sagas().send(m)
	outcome := w.sagas().await(m.CommandID, startLimit)
	await(stock{Total: 10, Reserved: 3, Available: 7, Version: outcome.StreamVersion})

	for _, each := range []*server{s, other} {
		if code := each.stop(); code != 0 {
			t.Errorf("a server ended with %d", code)
		}
	}
	for name, next := range transports {
		if m, err := next(); err != nil || m.kind != "complete" {
			t.Errorf("%s: at the end came %+v (%v)", name, m, err)
		}
		_, err := next()
		code := websocket.CloseStatus(err)
		if code != websocket.StatusGoingAway && code != websocket.StatusServiceRestart && !errors.Is(err, io.EOF) {
			t.Errorf("%s: it was ended with %v", name, err)
		}
	}
}
