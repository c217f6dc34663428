package upstream

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"product-service/dev/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

func TestEventsReachKafkaAndRecordsSurviveARestart(t *testing.T) {
	brokers, prefix := stack.Kafka(t)
	options := Options{Addr: "127.0.0.1:0", Dir: t.TempDir(), Brokers: brokers, TopicPrefix: prefix}
	server, err := Start(options)
	if err != nil {
		t.Fatal(err)
	}
	variant := uuid.New()
	for _, available := range []int64{50, 0} {
		if _, err := server.simulator.Set(variant, available); err != nil {
			t.Fatal(err)
		}
	}
	message := firstOf(t, brokers, prefix+topic)
	var body struct {
		Type             string
		ProductVariantID string
	}
	if err := json.Unmarshal(message.Value, &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != "InventoryOutOfStockEvent" || body.ProductVariantID != variant.String() || string(message.Key) != variant.String() {
		t.Errorf("got %s under key %s", message.Value, message.Key)
	}
	headers := map[string]string{}
	for _, h := range message.Headers {
		headers[string(h.Key)] = string(h.Value)
	}
	if headers["ce_type"] != body.Type || headers["ce_specversion"] != "1.0" || uuid.Validate(headers["ce_id"]) != nil {
		t.Errorf("headers are %v", headers)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}

	server, err = Start(options)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(server.URL() + "/inventory/" + variant.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var level struct{ AvailableQuantity *int64 }
	if err := json.NewDecoder(resp.Body).Decode(&level); err != nil || level.AvailableQuantity == nil || *level.AvailableQuantity != 0 {
		t.Errorf("after the restart: %s %+v %v", resp.Status, level, err)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
}

// firstOf is the first message of the topic, whichever its partition.
func firstOf(t *testing.T, brokers []string, topic string) *sarama.ConsumerMessage {
	t.Helper()
	consumer, err := sarama.NewConsumer(brokers, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = consumer.Close() })
	partitions, err := consumer.Partitions(topic)
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan *sarama.ConsumerMessage, 1)
	for _, p := range partitions {
		claim, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = claim.Close() })
		go func() {
			for m := range claim.Messages() {
				select {
				case found <- m:
				default:
				}
			}
		}()
	}
	select {
	case m := <-found:
		return m
	case <-time.After(time.Minute):
		t.Fatal("no event came")
		return nil
	}
}
