package command

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// What new partitions hold is taken within half a minute. The member that finds them joined as the
// one with its id that died before: it leads the group, and isn't told so.
func TestNewPartitionsAreTakenUp(t *testing.T) {
	c := kafkaConfig(t)
	c.InstanceID = "one"
	config, err := c.groupConfig()
	if err != nil {
		t.Fatal(err)
	}
	before, err := sarama.NewConsumerGroup(c.Brokers, c.Group, config)
	if err != nil {
		t.Fatal(err)
	}
	joined, gone := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(gone)
		_ = before.Consume(ctx, c.inputs(), idle(joined))
	}()
	<-joined
	cancel()
	<-gone
	if err := before.Close(); err != nil { // which, of a static member, the group doesn't notice
		t.Fatal(err)
	}

	w := &fakeWriter{}
	consumer, _ := startConsumer(t, c, w, nil, Inventory{})
	eventually(t, "it is a member", consumer.Ready)
	client, admin, err := c.administer()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	topic := c.topic(TopicRequestStock)
	if err := admin.CreatePartitions(topic, c.Partitions+2, nil, false); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s := client.Config()
	s.Producer.Partitioner, s.Producer.Return.Successes = sarama.NewManualPartitioner, true
	eventually(t, "the new partitions are there", func() bool {
		partitions, err := client.Partitions(topic)
		return err == nil && client.RefreshMetadata(topic) == nil && len(partitions) == int(c.Partitions)+2
	})
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer closeProducer(producer)
	for p := range c.Partitions + 2 {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: p, Value: sarama.StringEncoder(request())}); err != nil {
			t.Fatal(err)
		}
	}
	for len(w.requests()) < int(c.Partitions)+2 {
		if time.Since(began) > time.Minute {
			t.Fatalf("%d of %d are taken", len(w.requests()), c.Partitions+2)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if took := time.Since(began); took > 35*time.Second {
		t.Errorf("it took %s", took)
	}
}

// idle takes nothing, and closes itself when it has joined.
type idle chan struct{}

func (i idle) Setup(sarama.ConsumerGroupSession) error { close(i); return nil }
func (idle) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (idle) ConsumeClaim(s sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-s.Context().Done()
	return nil
}

// A consumer that ends as it should leaves the group, though its member has a fixed id: another
// need not wait for its partitions.
func TestAConsumerWithAFixedIDLeavesTheGroupWhenItStops(t *testing.T) {
	c := kafkaConfig(t)
	first := c
	first.InstanceID = "one"
	consumer, stop := startConsumer(t, first, &fakeWriter{}, nil, Inventory{})
	eventually(t, "it is a member", consumer.Ready)
	produce(t, c, send(c, TopicRequestStock, "k", request()))
	eventually(t, "it consumes", func() bool { return committed(t, c, TopicRequestStock) == 1 })
	stop()
	began := time.Now()
	w := &fakeWriter{}
	_, _ = startConsumer(t, c, w, nil, Inventory{})
	produce(t, c, send(c, TopicRequestStock, "k", request()))
	eventually(t, "another consumes", func() bool { return len(w.requests()) == 1 })
	if took := time.Since(began); took > sessionTimeout-time.Second {
		t.Errorf("it took %s, as long as a session", took)
	}
}

// The second takes the place of the first, which goes on as another member and says so.
func TestAConsumerWhosePlaceIsTakenGoesOn(t *testing.T) {
	c := kafkaConfig(t)
	c.InstanceID = "one"
	first, second := &fakeWriter{}, &fakeWriter{}
	a, _ := startConsumer(t, c, first, nil, Inventory{})
	eventually(t, "the first is a member", a.Ready)
	b, _ := startConsumer(t, c, second, nil, Inventory{})
	eventually(t, "the second is a member", b.Ready)
	eventually(t, "both take part", func() bool {
		var all []*sarama.ProducerMessage
		for i := range 20 {
			all = append(all, send(c, TopicRequestStock, string(rune('a'+i)), request()))
		}
		produce(t, c, all...)
		return len(first.requests()) > 0 && len(second.requests()) > 0
	})
}
