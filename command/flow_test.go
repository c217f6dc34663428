package command

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

func createProduct(t testing.TB, w *Writer, stock int64) string {
	t.Helper()
	p := uuid.New()
	if a := tell(t, w, uuid.New(), p, product.Create{Name: "A", InitialStock: stock}); a.Err != nil || a.Refusal != nil {
		t.Fatalf("create answered %+v", a)
	}
	return p.String()
}

// What the server does with Kafka and PostgreSQL: commands come in, outcomes go out.
func TestFromCommandToOutcome(t *testing.T) {
	c := kafkaConfig(t)
	store := openStore(t)
	w := startWriter(t, store, quick)
	leases := eventstore.NewLeases(store, eventstore.LeasesConfig{InstanceID: "one", TTL: 5 * time.Second, Roles: map[string]int{RelayRole: eventstore.Shards}}, quiet)
	run(t, leases.Run)
	relay := NewRelay(c, store, leases, store.Committed(), testMetrics(), quiet)
	run(t, relay.Run)
	_, _ = startConsumer(t, c, w, store, Inventory{OnEvent: func(context.Context, InventoryEvent) {}})

	p, poor := createProduct(t, w, 10), createProduct(t, w, 0)
	reserve := func(productID, reservation, command, quantity string) *sarama.ProducerMessage {
		return send(c, TopicRequestStock, productID, request("productId", `"`+productID+`"`, "reservationId", `"`+reservation+`"`, "commandId", `"`+command+`"`,
			"quantity", quantity, "expiresAt", ""))
	}
	won, lost, wrong := uuid.NewString(), uuid.NewString(), uuid.NewString()
	produce(t, c, reserve(p, reservationX, won, "4"), reserve(poor, reservationX, lost, "4"), reserve(p, uuid.NewString(), wrong, "0"), reserve(p, reservationX, won, "4"))
	reservedTopic, failedTopic := readTopic(t, c, TopicReserved), readTopic(t, c, TopicReservationFailed)
	successes, failures := reservedTopic.await(t, 2), failedTopic.await(t, 2)
	if string(successes[0].Value) != string(successes[1].Value) || !strings.Contains(string(successes[0].Value), `"available":6,"streamVersion":2`) {
		t.Errorf("a repeated command is answered\n%s\n%s", successes[0].Value, successes[1].Value)
	}
	reasons := map[string]bool{}
	for _, m := range failures {
		reasons[fmt.Sprint(headersOf(m)["causation-id"], strings.Contains(string(m.Value), `"reason":"INSUFFICIENT_STOCK"`), strings.Contains(string(m.Value), `"reason":"INVALID_COMMAND"`))] = true
	}
	if !reasons[fmt.Sprint(lost, true, false)] || !reasons[fmt.Sprint(wrong, false, true)] {
		t.Errorf("failures %v", reasons)
	}
	produce(t, c, send(c, TopicReleaseStock, p, releaseOf("productId", `"`+p+`"`, "quantity", "", "commandId", `"`+uuid.NewString()+`"`)))
	eventually(t, "the release", func() bool {
		head, err := store.Head(t.Context(), id(p))
		return err == nil && head.Reserved == 0
	})
	produce(t, c, reserve(p, uuid.NewString(), uuid.NewString(), "10"))
	if last := reservedTopic.await(t, 3)[2]; !strings.Contains(string(last.Value), `"stockTotal":10,"reserved":10,"available":0,"streamVersion":4`) {
		t.Errorf("the units of the released hold: %s", last.Value)
	}
	readTopic(t, c, TopicRequestStock+deadLetterSuffix).await(t, 1)
	eventually(t, "every checkpoint at the end", func() bool {
		tips, err := store.Positions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at, err := store.Checkpoints(t.Context(), RelayRole)
		if err != nil {
			t.Fatal(err)
		}
		for _, cursor := range at {
			if cursor.Pos != tips[cursor.Shard] {
				return false
			}
		}
		return len(at) == eventstore.Shards
	})
}
