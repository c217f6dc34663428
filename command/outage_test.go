package command

import (
	"context"
	"encoding/json"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"product-service/eventstore"
	"product-service/product"
)

// A broker of the test's own, which can fail as the test says; it can't be one that others use.
type failingBroker struct {
	t       testing.TB
	dir     string
	port    int
	cluster *kfake.Cluster
}

func startBroker(t testing.TB) (*failingBroker, Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &failingBroker{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	_ = l.Close()
	b.start()
	t.Cleanup(func() { b.cluster.Close() })
	c := Config{Brokers: []string{"127.0.0.1:" + strconv.Itoa(b.port)}, Group: "group", Partitions: 4, Retention: Duration(720 * time.Hour)}
	if err := CreateTopics(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return b, c
}

func (b *failingBroker) start() {
	b.t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(b.port), kfake.DataDir(b.dir))
	if err != nil {
		b.t.Fatal(err)
	}
	b.cluster = cluster
}

func (b *failingBroker) stop() { b.cluster.Close() }

// refuseProduce lets fail say which produce requests get an error on every partition; 0 is none.
func (b *failingBroker) refuseProduce(fail func(n int64) int16) {
	var n atomic.Int64
	b.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		code := fail(n.Add(1))
		if code == 0 {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, code
				topic.Partitions = append(topic.Partitions, partition)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
}

func quantitiesOf(t testing.TB, messages []*sarama.ConsumerMessage) map[string][]int64 {
	t.Helper()
	quantities := map[string][]int64{}
	for _, m := range messages {
		var b struct{ Quantity int64 }
		if err := json.Unmarshal(m.Value, &b); err != nil {
			t.Fatal(err)
		}
		quantities[string(m.Key)] = append(quantities[string(m.Key)], b.Quantity)
	}
	return quantities
}

func TestTheOrderOfEachProductSurvivesErrorsOfTheBroker(t *testing.T) {
	const notLeader, timedOut, invalidRecord = 6, 7, 87
	for _, x := range []struct {
		name string
		code int16
	}{{"LeaderMoved", notLeader}, {"TimedOut", timedOut}, {"Refused", invalidRecord}} {
		t.Run(x.name, func(t *testing.T) {
			b, c := startBroker(t)
			b.refuseProduce(func(n int64) int16 {
				if n == 2 || n == 3 || n == 7 {
					return x.code
				}
				return 0
			})
			l := newFakeLog()
			products := numbered(t, l, 40, 60)
			_, stop := startRelay(t, c, l, nil)
			eventually(t, "every shard at its end", l.savedAll)
			stop()
			r := readTopic(t, c, TopicReserved)
			eventually(t, "every outcome, besides repeats", func() bool {
				different := map[string]bool{}
				for _, m := range r.all() {
					different[string(m.Value)] = true
				}
				return len(different) == 40*60
			})
			messages := r.all()
			inOrder(t, products, 60, quantitiesOf(t, messages))
			for _, m := range messages {
				if want := int32(eventstore.ShardOf(uuid.MustParse(string(m.Key)))) % 4; m.Partition != want {
					t.Fatalf("key %s is in partition %d, want that of its shard, %d", m.Key, m.Partition, want)
				}
			}
		})
	}
}

func TestEverythingComesBackAfterTheBrokerWasAway(t *testing.T) {
	b, c := startBroker(t)
	b.stop() // it isn't there at the start
	l, w := newFakeLog(), &fakeWriter{}
	consumer, _ := startConsumer(t, c, w, knownVariants{}, Inventory{OnEvent: func(context.Context, InventoryEvent) {}})
	_, _ = startRelay(t, c, l, nil)
	product1 := uuid.New()
	version := int64(0)
	outcomeAndCommand := func() {
		version++
		l.append(t, product1, uuid.New(), version, reserved(version), product.Origin{})
		produce(t, c, send(c, TopicRequestStock, productX, request("commandId", `"`+uuid.NewString()+`"`)))
	}
	b.start()
	for round := range 3 {
		outcomeAndCommand()
		eventually(t, "the command and the checkpoint", func() bool { return len(w.requests()) >= round+1 && l.savedAll() })
		eventually(t, "the commit", func() bool { return committed(t, c, TopicRequestStock) == int64(round+1) })
		if !consumer.Ready() {
			t.Error("it consumes and isn't ready")
		}
		b.stop()
		if round == 1 {
			eventually(t, "the consumer out of its group", func() bool { return !consumer.Ready() })
		}
		b.start()
	}
	outcomeAndCommand()
	eventually(t, "the last command and checkpoint", func() bool { return len(w.requests()) >= 4 && l.savedAll() })
	inOrder(t, []uuid.UUID{product1}, 4, quantitiesOf(t, readTopic(t, c, TopicReserved).await(t, 4)))
}

func TestAPartitionMovesToANewInstanceWithoutLoss(t *testing.T) {
	c := kafkaConfig(t)
	hold := &fakeWriter{answer: func(*Request) (Answer, bool) { return Answer{}, false }}
	first, stopFirst := startConsumer(t, c, hold, nil, Inventory{})
	eventually(t, "the first in the group", first.Ready)
	var messages []*sarama.ProducerMessage
	for range 100 {
		p := uuid.NewString()
		messages = append(messages, send(c, TopicRequestStock, p, request("productId", `"`+p+`"`, "commandId", `"`+uuid.NewString()+`"`)))
	}
	produce(t, c, messages...)
	eventually(t, "all at the first", func() bool { return len(hold.requests()) == 100 })
	at := &fakeWriter{}
	second, _ := startConsumer(t, c, at, nil, Inventory{})
	eventually(t, "the second in the group", second.Ready)
	hold.settleHeld() // the revoked partitions waited for this
	produce(t, c, func() (more []*sarama.ProducerMessage) {
		for range 100 {
			p := uuid.NewString()
			more = append(more, send(c, TopicRequestStock, p, request("productId", `"`+p+`"`, "commandId", `"`+uuid.NewString()+`"`)))
		}
		return more
	}()...)
	eventually(t, "all at one of both", func() bool {
		return len(hold.requests())+len(at.requests()) >= 200 && committed(t, c, TopicRequestStock) == 200
	})
	if n := len(hold.requests()) + len(at.requests()); n != 200 {
		t.Errorf("%d deliveries of 200 messages: a partition moved before its commands were settled", n)
	}
	stopFirst()
	eventually(t, "the second has all", func() bool {
		produce(t, c, send(c, TopicReleaseStock, uuid.NewString(), releaseOf("commandId", `"`+uuid.NewString()+`"`)))
		return second.Ready() && committed(t, c, TopicReleaseStock) > 4
	})
}
