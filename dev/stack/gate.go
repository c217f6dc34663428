package stack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// gate stands before a FerretDB and lets updates of a collection through one at a time. FerretDB 1
// reads what an update matches, changes it and writes it back without a transaction: of two that
// match the same document at once both succeed, and one is lost. MongoDB's updates of a document
// are atomic, and what is guarded by a filter relies on it.
type gate struct {
	listener net.Listener
	server   string // the address behind it

	mu       sync.Mutex
	updating map[string]*sync.Mutex // by collection
	open     map[net.Conn]bool      // nil: it is closed
	serving  sync.WaitGroup
}

func openGate(server string) (*gate, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{listener: listener, server: server, updating: map[string]*sync.Mutex{}, open: map[net.Conn]bool{}}
	g.serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			g.serving.Go(func() { g.serve(client) })
		}
	})
	return g, nil
}

// close ends the connections and waits until nothing of them is under way.
func (g *gate) close() error {
	err := g.listener.Close()
	g.mu.Lock()
	for c := range g.open {
		err = errors.Join(err, c.Close())
	}
	g.open = nil
	g.mu.Unlock()
	g.serving.Wait()
	return err
}

// serve passes requests and replies of a connection on until one side ends it.
func (g *gate) serve(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{Timeout: startTimeout}).DialContext(context.Background(), "tcp", g.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !g.enter(client, server) {
		return
	}
	defer g.leave(client, server)
	for {
		request, err := readMessage(client)
		if err != nil {
			return
		}
		if err := g.pass(request, client, server); err != nil {
			return
		}
	}
}

func (g *gate) enter(ends ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range ends {
		if g.open == nil {
			return false
		}
		g.open[c] = true
	}
	return true
}

func (g *gate) leave(ends ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range ends {
		delete(g.open, c)
	}
}

// pass hands a request on and its reply back, alone where it is an update.
func (g *gate) pass(request message, client io.Writer, server io.ReadWriter) error {
	if in := request.updates(); in != "" {
		g.mu.Lock()
		turn := g.updating[in]
		if turn == nil {
			turn = &sync.Mutex{}
			g.updating[in] = turn
		}
		g.mu.Unlock()
		turn.Lock()
		defer turn.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return err
	}
	reply, err := readMessage(server)
	if err != nil {
		return err
	}
	_, err = client.Write(reply)
	return err
}

// message is one of MongoDB's wire protocol, with its header.
type message []byte

const (
	headerSize = 16
	opMsg      = 2013
	// maxMessage is the largest message the protocol knows.
	maxMessage = 48_000_000
)

func readMessage(from io.Reader) (message, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n < headerSize || n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	m := make(message, n)
	copy(m, size[:])
	_, err := io.ReadFull(from, m[4:])
	return m, err
}

// updates returns the collection that the message changes documents of; "" where it doesn't.
func (m message) updates() string {
	const command = headerSize + 4 + 1 // after the flags and the kind of the first section, which drivers begin with
	if len(m) < command || binary.LittleEndian.Uint32(m[12:]) != opMsg || m[command-1] != 0 {
		return ""
	}
	first, err := bsoncore.Document(m[command:]).IndexErr(0)
	if err != nil {
		return ""
	}
	switch first.Key() {
	case "update", "findAndModify", "delete":
		in, _ := first.Value().StringValueOK()
		return in
	}
	return ""
}
