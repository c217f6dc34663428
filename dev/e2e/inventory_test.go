package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/dev/simulator"
	"product-service/integration/inventory"
)

// hasty is how long the Inventory Service is waited for in these tests.
var hasty = []string{"INVENTORY_INIT_BACKOFF=20ms", "INVENTORY_INIT_BACKOFF_MAX=200ms", "INVENTORY_INIT_POLL=100ms", "INVENTORY_BREAKER_OPEN=300ms"}

func (w *world) fault(f simulator.Fault) {
	w.t.Helper()
	if err := w.simulator.SetFault(f); err != nil {
		w.t.Fatal(err)
	}
}

// orderable is nil once a variant is orderable or isn't.
func (w *world) orderable(id string, want bool) error {
	v, _, err := w.latest.variant(id)
	if err == nil && (v == nil || v.IsOrderable != want) {
		err = fmt.Errorf("variant %s is %+v", id, v)
	}
	return err
}

// oneRecord checks that exactly one record was made for a variant.
func (w *world) oneRecord(variant string) {
	w.t.Helper()
	record, ok := w.simulator.Get(uuid.MustParse(variant))
	if stats := w.simulator.Stats(); !ok || record.Available != 25 || stats.Created != 1 || stats.Records != 1 {
		w.t.Errorf("%d records were made, there are %d; the variant's is %+v", stats.Created, stats.Records, record)
	}
}

// Policy retry: the product is there at once, and orderable as soon as the Inventory Service can be told.
func TestPolicyRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hasty...)
	w.fault(simulator.Fault{Mode: simulator.Fail, Status: 503})
	s := w.start()
	product, variant := w.newProduct(5)
	within(t, 20*time.Second, "it is tried more often than not-orderable would", func() error {
		if n := w.simulator.Stats().Calls["create"]; n <= 12 {
			return fmt.Errorf("%d tries", n)
		}
		return nil
	})
	if err := w.orderable(variant, false); err != nil {
		t.Error(err)
	}
	m := reserve(product, uuid.NewString(), 2) // what can be ordered never enters a reserve decision
	w.sagas().send(m)
	if o := w.sagas().await(m.CommandID, 20*time.Second); o.Topic != reserved {
		t.Errorf("it is answered by %+v", o)
	}
	w.fault(simulator.Fault{Mode: simulator.None})
	within(t, 20*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
	w.oneRecord(variant)
	var data struct{ Product struct{ IsOrderable bool } }
	if err := s.query(`query($id: ID!) { product(id: $id) { isOrderable } }`, map[string]any{"id": product}, &data); err != nil || !data.Product.IsOrderable {
		t.Errorf("its product is orderable: %+v %v", data, err)
	}
}

// Policy not-orderable: after ten tries it stays so until an operator has it tried again.
func TestPolicyNotOrderable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(hasty, "INVENTORY_INIT_POLICY=not-orderable")...)
	w.fault(simulator.Fault{Mode: simulator.Fail, Status: 500, Methods: []string{"POST"}})
	s := w.start()
	_, variant := w.newProduct(5)
	stopped := func() error {
		n, err := w.value(`select count(*) from variant where record = 'STOPPED' and attempts = 10`)
		if err == nil && n != 1 {
			err = errors.New("it isn't stopped after 10 tries")
		}
		return err
	}
	within(t, 30*time.Second, "the record is given up", stopped)
	tries := w.simulator.Stats().Calls["create"]
	w.fault(simulator.Fault{Mode: simulator.None})
	s.kill() // not even a restart tries again
	w.evict()
	w.start()
	other := uuid.NewString()
	if _, err := w.latest.createProduct(uuid.NewString(), other, 1); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "another variant's record is made", func() error { return w.orderable(other, true) })
	if n := w.simulator.Stats().Calls["create"] - tries; n != 1 {
		t.Errorf("%d more records were tried, it must be the other's alone", n)
	}
	if err := errors.Join(stopped(), w.orderable(variant, false)); err != nil {
		t.Error(err)
	}
	if out, errs, code := w.run(nil, "replay", "-send", "records"); code != 0 || !strings.Contains(out, `"records":1}`) {
		t.Fatalf("replay -send records ends with %d: %s%s", code, out, errs)
	}
	within(t, 20*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
}

// Policy rollback: without its records a product was never there.
func TestPolicyRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(hasty, "INVENTORY_INIT_POLICY=rollback")...)
	w.fault(simulator.Fault{Mode: simulator.Fail, Status: 500})
	s := w.start()
	client := w.sagas()
	product, variant := uuid.NewString(), uuid.NewString()
	created := make(chan payload, 1)
	begun := time.Now()
	go func() {
		p, err := s.createProduct(product, variant, 5)
		if err != nil {
			t.Errorf("create a product: %v", err)
		}
		created <- p
	}()
	within(t, 20*time.Second, "the mutation waits", func() error {
		n, err := w.value(`select count(*) from variant where unconfirmed`)
		if err == nil && n != 1 {
			err = errors.New("the product isn't there")
		}
		return err
	})
	m := reserve(product, uuid.NewString(), 1)
	client.send(m)
	if o := client.await(m.CommandID, 20*time.Second); o.Reason != "UNKNOWN_PRODUCT" || o.Available != 0 {
		t.Errorf("unconfirmed, it is answered by %+v", o)
	}
	if shown, err := s.stock(product); err != nil || shown != nil {
		t.Errorf("unconfirmed, it is shown: %+v %v", shown, err)
	}
	p := <-created
	if took := time.Since(begun); len(p.UserErrors) != 1 || p.UserErrors[0].Code != "INVENTORY_UNAVAILABLE" || p.Product != nil || took < 4*time.Second || took > 12*time.Second {
		t.Errorf("after %v the mutation came to %+v", took, p)
	}
	if shown, err := s.stock(product); err != nil || shown != nil {
		t.Errorf("discarded, it is shown: %+v %v", shown, err)
	}
	if _, variants, err := node(s, variant); err != nil || variants {
		t.Errorf("discarded, its variant is shown: %v", err)
	}
	w.fault(simulator.Fault{Mode: simulator.None})
	within(t, 20*time.Second, "the product can be made again", func() error {
		a, err := s.ask(createMutation, map[string]any{"input": map[string]any{
			"id": product, "name": "again", "initialStock": 3,
			"variants": []any{map[string]any{"id": variant, "sku": "SKU-" + variant, "name": "the only one", "initialQuantity": 25}},
		}})
		if err == nil && !strings.Contains(string(a.Data), `"userErrors":[]`) {
			err = fmt.Errorf("%s %v", a.Data, a.codes())
		}
		return err
	})
	if err := w.orderable(variant, true); err != nil {
		t.Error(err)
	}
	granted := reserve(product, uuid.NewString(), 1)
	client.send(granted)
	if o := client.await(granted.CommandID, 20*time.Second); o.Topic != reserved {
		t.Errorf("confirmed, it is answered by %+v", o)
	}
	w.oneRecord(variant)
	w.settled(time.Minute)
	w.checked(time.Minute)
}

// node says whether an id is anything to GraphQL.
func node(s *server, id string) (kind string, there bool, err error) {
	var data struct {
		Node *struct {
			Kind string `json:"__typename"`
		}
	}
	err = s.query(`query($id: ID!) { node(id: $id) { __typename } }`, map[string]any{"id": id}, &data)
	if err != nil || data.Node == nil {
		return "", false, err
	}
	return data.Node.Kind, true, nil
}

// The service dies around the creation of a record, and the answer gets lost: there is exactly one
// record in the end.
func TestKilledAroundRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hasty...)
	w.fault(simulator.Fault{Mode: simulator.Lost})
	w.start()
	_, variant := w.newProduct(5)
	for range 3 {
		before := w.simulator.Stats().Calls["create"]
		within(t, 30*time.Second, "the record is asked for", func() error {
			if w.simulator.Stats().Calls["create"] == before {
				return errors.New("no call")
			}
			return nil
		})
		w.latest.kill()
		w.evict()
		w.start()
	}
	w.fault(simulator.Fault{Mode: simulator.None})
	within(t, 30*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
	w.oneRecord(variant)
	facts, err := w.value(`select count(*) from log where type = 'InventoryRecordCreated'`)
	if err != nil || facts != 1 {
		t.Errorf("the log notes %d records: %v", facts, err)
	}
}

// levelIs is nil once a variant's level is as the check wants it. What isn't known is never 0.
func (w *world) levelIs(id string, check func(v *variant, code string) bool) error {
	v, code, err := w.latest.variant(id)
	if err != nil {
		return err
	}
	if v != nil && v.Inventory != nil && v.Inventory.AvailableQuantity == 0 {
		w.t.Errorf("a level is invented: %+v", v.Inventory)
	}
	if v == nil || !check(v, code) {
		return fmt.Errorf("%+v %q", v, code)
	}
	return nil
}

// When the Inventory Service fails, levels are the last known ones and say so, even after a
// restart; what was never known is null with an error, and nothing else of the product fails.
func TestStaleLevels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(hasty, "INVENTORY_FRESH=100ms", "INVENTORY_REVALIDATE=200ms", "INVENTORY_SAVE_DELAY=50ms", "INVENTORY_SAVE_EVERY=100ms")...)
	w.start()
	_, known := w.newProduct(5)
	within(t, 20*time.Second, "the level is known", func() error {
		return w.levelIs(known, func(v *variant, code string) bool {
			return v.Inventory != nil && v.Inventory.AvailableQuantity == 25 && !v.Inventory.IsStale && code == ""
		})
	})
	stale := func(v *variant, code string) bool {
		return v.Inventory != nil && v.Inventory.AvailableQuantity == 25 && v.Inventory.IsStale && v.Inventory.Source == "STALE_FALLBACK" && code == ""
	}
	for _, mode := range []simulator.Mode{simulator.Fail, simulator.Away, simulator.Wrong, simulator.Slow} {
		w.fault(simulator.Fault{Mode: mode, DelayMs: 5000})
		within(t, 20*time.Second, fmt.Sprintf("the level is stale while the service is %s", mode), func() error { return w.levelIs(known, stale) })
	}
	w.fault(simulator.Fault{Mode: simulator.Away})
	unknown := uuid.NewString()
	if _, err := w.latest.createProduct(uuid.NewString(), unknown, 1); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "what was never known is null", func() error {
		return w.levelIs(unknown, func(v *variant, code string) bool { return v.Inventory == nil && code == "INVENTORY_UNAVAILABLE" })
	})
	if code := w.latest.stop(); code != 0 {
		t.Errorf("after SIGTERM the server ended with %d", code)
	}
	w.start()
	within(t, 20*time.Second, "a server started during the outage knows the level", func() error { return w.levelIs(known, stale) })
	w.fault(simulator.Fault{Mode: simulator.None})
	within(t, 20*time.Second, "the levels are live again", func() error {
		fresh := func(v *variant, code string) bool {
			return v.Inventory != nil && v.Inventory.AvailableQuantity == 25 && !v.Inventory.IsStale && code == ""
		}
		return errors.Join(w.levelIs(known, fresh), w.levelIs(unknown, fresh))
	})
}

// An inventory event changes what can be ordered and the level that is shown; an older one changes
// nothing any more.
func TestInventoryEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hasty...)
	w.start()
	product, variant := w.newProduct(5)
	within(t, 20*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
	client := w.sagas()
	now := time.Now().UTC()
	client.inventoryEvent(variant, "InventoryOutOfStockEvent", now.Add(time.Second))
	within(t, 20*time.Second, "the variant is sold out", func() error { return w.orderable(variant, false) })
	soldOut := func() error {
		v, code, err := w.latest.variant(variant)
		if err == nil && (v == nil || v.Inventory == nil || v.Inventory.AvailableQuantity != 0 || v.Inventory.Status != "OUT_OF_STOCK" || v.Inventory.Source != "EVENT") {
			err = fmt.Errorf("its level is %+v %q", v, code)
		}
		return err
	}
	within(t, 20*time.Second, "its level is the event's", soldOut)
	client.inventoryEvent(variant, "InventoryBackInStockEvent", now.Add(-time.Hour))
	client.inventoryEvent(uuid.NewString(), "InventoryOutOfStockEvent", now) // of somebody else's
	w.settled(time.Minute)
	m := reserve(product, uuid.NewString(), 1)
	client.send(m)
	if o := client.await(m.CommandID, 20*time.Second); o.Topic != reserved {
		t.Errorf("a level entered a decision: %+v", o)
	}
	if err := w.orderable(variant, false); err != nil {
		t.Errorf("an older event won: %v", err)
	}
	if err := soldOut(); err != nil {
		t.Errorf("an older event won: %v", err)
	}
	client.inventoryEvent(variant, "InventoryBackInStockEvent", now.Add(2*time.Second))
	within(t, 20*time.Second, "the variant is back", func() error { return w.orderable(variant, true) })
}

// An inventory event whose eventId came before with another content changes nothing: not the level,
// not what can be ordered. It is a dead letter with its reason.
func TestSpentEventID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hasty...)
	w.start()
	_, variant := w.newProduct(5)
	within(t, 20*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
	client, id, now := w.sagas(), uuid.NewString(), time.Now().UTC()
	said := func(kind string, at time.Time, rest string) {
		client.sendRecords(&sarama.ProducerMessage{Topic: w.prefix + "inventory.events", Key: sarama.StringEncoder(variant), Value: sarama.StringEncoder(
			fmt.Sprintf(`{"eventId":%q,"type":%q,"timestamp":%q,"productVariantId":%q%s}`, id, kind, at.Format(time.RFC3339Nano), variant, rest))})
	}
	shows := func() error {
		v, code, err := w.latest.variant(variant)
		if err == nil && (v == nil || v.IsOrderable || v.Inventory == nil || v.Inventory.Status != "OUT_OF_STOCK" || v.Inventory.Source != "EVENT") {
			err = fmt.Errorf("it is %+v %q", v, code)
		}
		return err
	}
	said("InventoryOutOfStockEvent", now.Add(time.Second), "")
	within(t, 20*time.Second, "the first content counts", shows)
	said("InventoryBackInStockEvent", now.Add(2*time.Second), `,"availableQuantity":5`)
	var letters []*sarama.ConsumerMessage
	within(t, 20*time.Second, "the second is a dead letter", func() error {
		if letters = client.read("inventory.events.dlq"); len(letters) != 1 {
			return fmt.Errorf("there are %d", len(letters))
		}
		return nil
	})
	if h := headers(letters[0]); h["dlq-reason"] != "CONFLICT" || !strings.Contains(h["dlq-error"], id) {
		t.Errorf("its headers are %v", h)
	}
	w.settled(time.Minute)
	if err := shows(); err != nil {
		t.Errorf("the second content changed something: %v", err)
	}
	if events, err := w.value(`select count(*) from log where type = 'InventoryChanged'`); err != nil || events != 1 {
		t.Errorf("the log has %d events: %v", events, err)
	}
}

// The internal teams are told of each event of the Inventory Service, signed, also when their
// receiver was away and the server was killed meanwhile.
func TestWebhook(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	away, told := true, map[string]string{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		id, stamp := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
		switch {
		case err != nil, r.Header.Get("Webhook-Signature") != inventory.Sign([]byte("a secret of theirs"), id, stamp, body):
			t.Errorf("a delivery that isn't signed: %v %v %s", err, r.Header, body)
		case away:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			told[id] = string(body)
		}
	}))
	t.Cleanup(receiver.Close)
	w := newWorld(t, append(hasty, "INVENTORY_WEBHOOK_URL="+receiver.URL, "INVENTORY_WEBHOOK_SECRET=a secret of theirs",
		"INVENTORY_WEBHOOK_TRIES=1", "INVENTORY_WEBHOOK_BACKOFF=20ms", "INVENTORY_WEBHOOK_BACKOFF_MAX=200ms")...)
	s := w.start()
	_, variant := w.newProduct(5)
	within(t, 20*time.Second, "the variant becomes orderable", func() error { return w.orderable(variant, true) })
	within(t, 20*time.Second, "the server is to announce", func() error {
		n, err := w.value(`select count(*) from lease where role = 'announcer' and epoch = 1`)
		if err == nil && n != 32 {
			err = fmt.Errorf("%d shards", n)
		}
		return err
	})
	client, now := w.sagas(), time.Now().UTC()
	client.inventoryEvent(variant, "InventoryLowStockEvent", now)
	client.inventoryEvent(variant, "InventoryOutOfStockEvent", now.Add(time.Second))
	within(t, 20*time.Second, "the variant is sold out", func() error { return w.orderable(variant, false) })
	s.kill()
	w.evict()
	mu.Lock()
	away = false
	mu.Unlock()
	w.start()
	within(t, 20*time.Second, "both events are told", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 2 {
			return fmt.Errorf("told %v", told)
		}
		return nil
	})
	for id, body := range told {
		if !strings.Contains(body, id) || !strings.Contains(body, variant) {
			t.Errorf("%s: %s", id, body)
		}
	}
}
