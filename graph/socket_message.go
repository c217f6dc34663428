package graph

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coder/websocket"

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

// The types of messages.
const (
	messageInit      = "connection_init" // by the client
	messageAck       = "connection_ack"
	messagePing      = "ping" // by both, as pong
	messagePong      = "pong"
	messageSubscribe = "subscribe" // by the client
	messageNext      = "next"
	messageError     = "error"
	messageComplete  = "complete" // by both
)

const maxIDLength = 128 // bytes of an operation's id

// message is one of the protocol. Which of them have an id and a payload goes by its type.
type message struct {
	kind    string
	id      string
	payload json.RawMessage
}

// readMessage reads what a client sent. The error says what is wrong with it.
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
	case messageInit, messagePing, messagePong:
		if _, err := object("payload", m.payload); err != nil {
			return m, errors.New("the payload of " + m.kind + " must be an object")
		}
		return m, nil
	case messageSubscribe, messageComplete:
		switch {
		case m.id == "":
			return m, errors.New(m.kind + " must have an id, which isn't empty")
		case len(m.id) > maxIDLength:
			return m, fmt.Errorf("an id must have at most %d bytes", maxIDLength)
		}
		return m, nil
	case "":
		return m, errors.New("it has no type")
	}
	return m, errors.New("its type must be connection_init, subscribe, complete, ping or pong")
}

// encode returns the message as clients get it.
func (m message) encode() []byte {
	b := make([]byte, 0, len(m.id)+len(m.payload)+48)
	b = append(b, '{')
	if m.id != "" {
		id, _ := json.Marshal(m.id) // a string has no error
		b = append(append(append(b, `"id":`...), id...), ',')
	}
	b = append(append(append(b, `"type":"`...), m.kind...), '"')
	if len(m.payload) > 0 {
		b = append(append(b, `,"payload":`...), m.payload...)
	}
	return append(b, '}')
}
