package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
)

// bad is a message that is no command, and what becomes of it.
type bad struct {
	name, topic, body string
	timestamp         time.Time
	reason            string   // of the dead letter
	says              []string // in its words
	answered          string   // the command that its saga gets INVALID_COMMAND for; "?" is one that the service makes up
}

func badMessages(product string) []bad {
	id := uuid.NewString
	of := func(fields string) string {
		return fmt.Sprintf(`{"productId":%q,"reservationId":%q%s}`, product, id(), fields)
	}
	given := id()
	return []bad{
		{name: "garbage", topic: requests, body: "\x00\xff garbage", reason: "UNREADABLE", says: []string{"JSON object"}},
		{name: "cut off", topic: requests, body: `{"productId":"`, reason: "UNREADABLE", says: []string{"not valid JSON"}},
		{name: "no object", topic: releases, body: `[1,2]`, reason: "UNREADABLE", says: []string{"JSON object"}},
		{name: "empty", topic: requests, body: ``, reason: "UNREADABLE", says: []string{"JSON object"}},
		{name: "no ids", topic: requests, body: `{"quantity":1}`, reason: "UNREADABLE", says: []string{"productId", "reservationId", "UUID"}},
		{name: "ids that are none", topic: releases, body: `{"productId":"x","reservationId":7}`, reason: "UNREADABLE", says: []string{"productId", "UUID"}},
		{name: "wrong type", topic: requests, body: of(`,"quantity":"many","commandId":"` + given + `"`), reason: "INVALID_COMMAND", says: []string{"quantity", "integer"}, answered: given},
		{name: "no quantity", topic: requests, body: of(`,"commandId":"` + id() + `"`), reason: "INVALID_COMMAND", says: []string{"quantity is missing"}, answered: "?"},
		{name: "nothing asked for", topic: requests, body: of(`,"quantity":0,"commandId":"` + id() + `"`), reason: "INVALID_COMMAND", says: []string{"quantity is 0"}, answered: "?"},
		{name: "no command id", topic: requests, body: of(`,"quantity":1`), reason: "INVALID_COMMAND", says: []string{"commandId", "ce_id"}, answered: "?"},
		{name: "another's type", topic: requests, body: of(`,"quantity":1,"type":"Dance","commandId":"` + id() + `"`), reason: "INVALID_COMMAND", says: []string{"type", "Dance", "ReserveProduct"}, answered: "?"},
		{name: "a time that is none", topic: requests, body: of(`,"quantity":1,"expiresAt":"tomorrow","commandId":"` + id() + `"`), reason: "INVALID_COMMAND", says: []string{"expiresAt", "tomorrow", "RFC 3339"}, answered: "?"},
		{name: "a bad release", topic: releases, body: of(`,"quantity":-1,"commandId":"` + id() + `"`), reason: "INVALID_COMMAND", says: []string{"quantity is -1"}},
		{name: "too old", topic: requests, body: of(`,"quantity":1,"commandId":"` + id() + `"`), timestamp: time.Now().Add(-2 * time.Hour), reason: "TOO_OLD", says: []string{"remembered for 1h", "executed before"}},
		{name: "no inventory event", topic: "inventory.events", body: `{"eventId":"x","type":"InventoryExplodedEvent"}`, reason: "UNREADABLE", says: []string{"eventId"}},
	}
}

// Bad messages never stop a partition; what became of each can be read in its dead letter, and
// replay refuses it.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "INBOX_RETENTION=1h")
	w.start()
	product, _ := w.newProduct(100)
	client := w.sagas()
	all := badMessages(product)
	for _, b := range all {
		client.sendRecords(&sarama.ProducerMessage{
			Topic: w.prefix + b.topic, Key: sarama.StringEncoder(product), Value: sarama.ByteEncoder(b.body), Timestamp: b.timestamp,
			Headers: []sarama.RecordHeader{{Key: []byte("name"), Value: []byte(b.name)}},
		})
	}
	good := reserve(product, uuid.NewString(), 1) // behind all of them, in the same partition
	client.send(good)
	if o := client.await(good.CommandID, time.Minute); o.Topic != reserved {
		t.Errorf("the good command is answered by %+v", o)
	}
	client.send(release(product, good.ReservationID, 0))
	w.settled(time.Minute)
	letters := map[string]*sarama.ConsumerMessage{}
	for _, topic := range []string{requests, releases, "inventory.events"} {
		for _, m := range client.read(topic + ".dlq") {
			letters[headers(m)["name"]] = m
		}
	}
	for _, b := range all {
		if letters[b.name] == nil {
			t.Errorf("%s: there is no dead letter", b.name)
			continue
		}
		w.checkLetter(b, letters[b.name])
	}
	if !w.latest.says("became dead letters", "UNREADABLE", "first_offset", "first_error") {
		t.Error("the log doesn't say what got in the way")
	}
	if len(letters) != len(all) {
		t.Errorf("there are %d dead letters, it must be %d", len(letters), len(all))
	}
	w.checkInvalid(all, product)
	w.refusesAll(len(all))
	if l := w.checked(time.Minute); l.levels[product].Reserved != 0 {
		t.Errorf("the log adds up to %+v", l.levels[product])
	}
}

func headers(m *sarama.ConsumerMessage) map[string]string {
	all := map[string]string{}
	for _, h := range m.Headers {
		all[string(h.Key)] = string(h.Value)
	}
	return all
}

func (w *world) checkLetter(b bad, m *sarama.ConsumerMessage) {
	w.t.Helper()
	h := headers(m)
	if string(m.Value) != b.body {
		w.t.Errorf("%s: its bytes are %q, they were %q", b.name, m.Value, b.body)
	}
	if h["dlq-reason"] != b.reason || h["dlq-topic"] != w.prefix+b.topic || h["dlq-partition"] == "" || h["dlq-offset"] == "" {
		w.t.Errorf("%s: its headers are %v", b.name, h)
	}
	if at, err := time.Parse(time.RFC3339, h["dlq-time"]); err != nil || time.Since(at).Abs() > time.Hour {
		w.t.Errorf("%s: dlq-time is %q", b.name, h["dlq-time"])
	}
	for _, text := range b.says {
		if !strings.Contains(h["dlq-error"], text) {
			w.t.Errorf("%s: dlq-error is %q; it must say %q", b.name, h["dlq-error"], text)
		}
	}
	if len(strings.Fields(h["dlq-error"])) < 4 {
		w.t.Errorf("%s: dlq-error is %q, which isn't a sentence", b.name, h["dlq-error"])
	}
}

// checkInvalid counts the sagas that were told INVALID_COMMAND.
func (w *world) checkInvalid(all []bad, product string) {
	w.t.Helper()
	want, got := 0, 0
	for _, b := range all {
		if b.answered != "" {
			want++
		}
		if b.answered != "" && b.answered != "?" && len(w.saga.of(b.answered)) != 1 {
			w.t.Errorf("%s: its command is answered by %+v", b.name, w.saga.of(b.answered))
		}
	}
	for _, o := range w.saga.seen() {
		if o.ProductID == product && o.Reason == "INVALID_COMMAND" {
			got++
		}
	}
	if got != want {
		w.t.Errorf("%d sagas are told INVALID_COMMAND, it must be %d", got, want)
	}
}

// refusesAll lists the letters and tries to replay them.
func (w *world) refusesAll(n int) {
	w.t.Helper()
	listed, _, code := w.run(nil, "replay")
	if lines := strings.Count(strings.TrimSpace(listed), "\n") + 1; code != 0 || lines != n || strings.Count(listed, "closed: ") != n {
		w.t.Errorf("replay ends with %d and lists: %s", code, listed)
	}
	out, errs, code := w.run(nil, "replay", "-send", "all")
	if code != 0 || !strings.Contains(out, fmt.Sprintf(`"refused":%d,"sent":0`, n)) {
		w.t.Errorf("replay -send all ends with %d: %s%s", code, out, errs)
	}
}

// A command that this service fails at becomes a dead letter, those beside it are executed, and
// once the fault is mended it can be replayed to its one outcome.
func TestReplayedLetter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t)
	w.start()
	product, _ := w.newProduct(10)
	client := w.sagas()
	if _, err := w.sql().Exec(ctx, `alter table reservation add constraint fault check (saga_id <> 'cursed')`); err != nil {
		t.Fatal(err)
	}
	before, cursed, after := reserve(product, uuid.NewString(), 1), reserve(product, uuid.NewString(), 2), reserve(product, uuid.NewString(), 3)
	cursed.SagaID = "cursed"
	client.send(before, cursed, after)
	for _, m := range []message{before, after} {
		if o := client.await(m.CommandID, time.Minute); o.Topic != reserved {
			t.Errorf("%+v is answered by %+v", m, o)
		}
	}
	w.settled(time.Minute)
	letters := client.read(requests + ".dlq")
	if len(letters) != 1 || headers(letters[0])["dlq-reason"] != "FAILED" || !strings.Contains(headers(letters[0])["dlq-error"], "replayed") {
		t.Fatalf("the dead letters are %+v", letters)
	}
	if n := len(client.of(cursed.CommandID)); n > 0 {
		t.Fatalf("it has %d outcomes", n)
	}
	if _, err := w.sql().Exec(ctx, `alter table reservation drop constraint fault`); err != nil {
		t.Fatal(err)
	}
	listed, _, _ := w.run(nil, "replay")
	var letter struct{ Place, State string }
	if err := json.Unmarshal([]byte(listed), &letter); err != nil || letter.State != "can be sent again" {
		t.Fatalf("replay lists %s (%v)", listed, err)
	}
	if out, errs, code := w.run(nil, "replay", "-send", letter.Place); code != 0 || !strings.Contains(out, `"sent":1`) {
		t.Fatalf("replay -send %s ends with %d: %s%s", letter.Place, code, out, errs)
	}
	if o := client.await(cursed.CommandID, time.Minute); o.Topic != reserved || o.Quantity != 2 {
		t.Errorf("it is answered by %+v", o)
	}
	if out, _, _ := w.run(nil, "replay", "-send", "all"); !strings.Contains(out, `"refused":1,"sent":0`) {
		t.Errorf("it can be replayed twice: %s", out)
	}
	w.settled(time.Minute)
	if l := w.checked(time.Minute); l.levels[product].Reserved != 6 {
		t.Errorf("the log adds up to %+v", l.levels[product])
	}
}
