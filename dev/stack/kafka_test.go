package stack

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

var discard = slog.New(slog.DiscardHandler)

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond // members learn of a rebalance by it
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	return config
}

func createTopic(t *testing.T, brokers []string, topic string) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(brokers, saramaConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: -1}, false); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, brokers []string, topic string, values ...string) {
	t.Helper()
	producer, err := sarama.NewSyncProducer(brokers, saramaConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, value := range values {
		message := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(value), Value: sarama.StringEncoder(value)}
		if _, _, err := producer.SendMessage(message); err != nil {
			t.Fatal(err)
		}
	}
}

// reader takes values from a group and commits each.
type reader struct{ values chan string }

func (*reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			session.MarkMessage(message, "")
			session.Commit()
			r.values <- string(message.Value)
		case <-session.Context().Done():
			return nil
		}
	}
}

// join consumes into values as a member of the group until left.
func join(t *testing.T, brokers []string, group, topic string, values chan string) (leave func()) {
	t.Helper()
	member, err := sarama.NewConsumerGroup(brokers, group, saramaConfig())
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{values: values}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := member.Consume(ctx, []string{topic}, r); err != nil && ctx.Err() == nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
				t.Errorf("consume: %v", err)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		if err := member.Close(); err != nil {
			t.Errorf("leave: %v", err)
		}
	}
}

func expect(t *testing.T, values <-chan string, want ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	for len(missing) > 0 {
		select {
		case v := <-values:
			if !missing[v] {
				t.Fatalf("got %q, want one of %v", v, missing)
			}
			delete(missing, v)
		case <-time.After(time.Minute):
			t.Fatalf("still waiting for %v", missing)
		}
	}
}

func TestKafkaServesConsumerGroups(t *testing.T) {
	brokers, prefix := Kafka(t)
	topic, group := prefix+"topic", prefix+"group"
	createTopic(t, brokers, topic)
	produce(t, brokers, topic, "a", "b", "c")

	values := make(chan string, 100)
	leaveFirst := join(t, brokers, group, topic, values)
	expect(t, values, "a", "b", "c")
	leaveFirst()

	// The group goes on where it stood, and a second member shares the work.
	produce(t, brokers, topic, "d")
	leaveSecond := join(t, brokers, group, topic, values)
	expect(t, values, "d")
	leaveThird := join(t, brokers, group, topic, values)
	awaitMembers(t, brokers, group, 2)
	produce(t, brokers, topic, "e", "f", "g", "h", "i")
	expect(t, values, "e", "f", "g", "h", "i")
	leaveThird()
	awaitMembers(t, brokers, group, 1)
	produce(t, brokers, topic, "j", "k", "l")
	expect(t, values, "j", "k", "l")
	leaveSecond()
}

// awaitMembers waits until the group is stable with n members that hold partitions.
func awaitMembers(t *testing.T, brokers []string, group string, n int) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(brokers, saramaConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	state := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		groups, err := admin.DescribeConsumerGroups([]string{group})
		if err != nil {
			t.Fatal(err)
		}
		state = groups[0].State
		holding := 0
		for _, member := range groups[0].Members {
			if assignment, err := member.GetMemberAssignment(); err == nil && assignment != nil && len(assignment.Topics) > 0 {
				holding++
			}
		}
		if state == "Stable" && holding == n && len(groups[0].Members) == n {
			return
		}
	}
	t.Fatalf("group %s is %s, not stable with %d members", group, state, n)
}

func TestKafkaKnowsNothingCommittedOfAnUnknownGroup(t *testing.T) {
	brokers, prefix := Kafka(t)
	topic := prefix + "topic"
	createTopic(t, brokers, topic)
	for _, version := range []sarama.KafkaVersion{sarama.V2_5_0_0, sarama.V3_6_0_0} {
		config := saramaConfig()
		config.Version = version
		admin, err := sarama.NewClusterAdmin(brokers, config)
		if err != nil {
			t.Fatal(err)
		}
		offsets, err := admin.ListConsumerGroupOffsets(prefix+"unknown", map[string][]int32{topic: {0, 3}})
		if err != nil {
			t.Fatalf("version %s: %v", version, err)
		}
		for _, partition := range []int32{0, 3} {
			block := offsets.GetBlock(topic, partition)
			if block == nil || block.Err != sarama.ErrNoError || block.Offset != -1 {
				t.Errorf("version %s, partition %d: %+v, want offset -1 and no error", version, partition, block)
			}
		}
		if err := admin.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKafkaDataSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	broker, err := StartKafka(dir)
	if err != nil {
		t.Fatal(err)
	}
	createTopic(t, broker.Brokers(), "kept")
	produce(t, broker.Brokers(), "kept", "a", "b")
	values := make(chan string, 100)
	leave := join(t, broker.Brokers(), "group", "kept", values)
	expect(t, values, "a", "b")
	leave()
	broker.Close()

	broker, err = StartKafka(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	produce(t, broker.Brokers(), "kept", "c")
	leave = join(t, broker.Brokers(), "group", "kept", values)
	expect(t, values, "c") // a and b are committed
	leave()
	leaveAll := join(t, broker.Brokers(), "other", "kept", values)
	expect(t, values, "a", "b", "c")
	leaveAll()
}
