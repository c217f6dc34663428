package command

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"

	"product-service/dev/stack"
)

var quiet = slog.New(slog.DiscardHandler)

// kafkaConfig is a configuration with topics of the test's own, which are created.
func kafkaConfig(t testing.TB) Config {
	t.Helper()
	brokers, prefix := stack.Kafka(t)
	c := Config{Brokers: brokers, Group: prefix + "group", TopicPrefix: prefix, Partitions: 4, Retention: Duration(720 * time.Hour)}
	if err := CreateTopics(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func testMetrics() *KafkaMetrics { return NewKafkaMetrics(prometheus.NewRegistry()) }

// eventually waits for a condition; what says what is waited for.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// produce sends messages to a topic of the configuration.
func produce(t testing.TB, c Config, messages ...*sarama.ProducerMessage) {
	t.Helper()
	s, err := c.producerConfig()
	if err != nil {
		t.Fatal(err)
	}
	p, err := sarama.NewSyncProducer(c.Brokers, s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.SendMessages(messages); err != nil {
		t.Fatal(err)
	}
}

func send(c Config, topic, key, body string, headers ...string) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: c.topic(topic), Key: sarama.StringEncoder(key), Value: sarama.StringEncoder(body)}
	for i := 0; i < len(headers); i += 2 {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(headers[i]), Value: []byte(headers[i+1])})
	}
	return m
}

// topicReader collects what is in a topic, from its oldest message on.
type topicReader struct {
	mu       sync.Mutex
	messages []*sarama.ConsumerMessage
}

func readTopic(t testing.TB, c Config, topic string) *topicReader {
	t.Helper()
	s, err := c.readerConfig()
	if err != nil {
		t.Fatal(err)
	}
	s.Consumer.Return.Errors = false
	consumer, err := sarama.NewConsumer(c.Brokers, s)
	if err != nil {
		t.Fatal(err)
	}
	partitions, err := consumer.Partitions(c.topic(topic))
	if err != nil {
		t.Fatal(err)
	}
	r := &topicReader{}
	var reading sync.WaitGroup
	var closers []func()
	for _, p := range partitions {
		pc, err := consumer.ConsumePartition(c.topic(topic), p, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, pc.AsyncClose)
		reading.Go(func() {
			for m := range pc.Messages() {
				r.mu.Lock()
				r.messages = append(r.messages, m)
				r.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range closers {
			c()
		}
		reading.Wait()
		_ = consumer.Close()
	})
	return r
}

func (r *topicReader) all() []*sarama.ConsumerMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*sarama.ConsumerMessage(nil), r.messages...)
}

func (r *topicReader) await(t testing.TB, n int) []*sarama.ConsumerMessage {
	t.Helper()
	eventually(t, "messages in a topic", func() bool { return len(r.all()) >= n })
	return r.all()
}

// run starts something that runs until the test ends, or until stop is called, which waits for it.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(40 * time.Second):
				t.Error("it did not stop")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func adminOf(t testing.TB, c Config) sarama.ClusterAdmin {
	t.Helper()
	s, err := c.base()
	if err != nil {
		t.Fatal(err)
	}
	s.Metadata.Full = true
	admin, err := sarama.NewClusterAdmin(c.Brokers, s)
	if err != nil {
		t.Fatal(err)
	}
	return admin
}

// committed returns the offsets the group has committed for a topic: the messages it is done with.
func committed(t testing.TB, c Config, topic string) (done int64) {
	t.Helper()
	admin := adminOf(t, c)
	defer func() { _ = admin.Close() }()
	partitions := make([]int32, c.Partitions)
	for p := range partitions {
		partitions[p] = int32(p)
	}
	resp, err := admin.ListConsumerGroupOffsets(c.Group, map[string][]int32{c.topic(topic): partitions})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range resp.Blocks[c.topic(topic)] {
		done += max(0, b.Offset)
	}
	return done
}

func TestEveryFaultOfTheConfigurationIsTold(t *testing.T) {
	var good Config
	if err := env.ParseWithOptions(&good, env.Options{Environment: map[string]string{"KAFKA_BROKERS": "a:9092,b:9092", "INBOX_RETENTION": "30d"}}); err != nil {
		t.Fatal(err)
	}
	if err := good.Validate(); err != nil || good.Retention != Duration(720*time.Hour) || good.Partitions != 8 || good.Group != "product-service" || len(good.Brokers) != 2 {
		t.Fatalf("%v: %+v", err, good)
	}
	for _, c := range []struct {
		settings map[string]string
		faults   []string
	}{
		{map[string]string{"KAFKA_BROKERS": "nowhere,:9092,h:99999"}, []string{`"nowhere" is not a broker`, `":9092"`, `"h:99999"`}},
		{map[string]string{"KAFKA_TOPIC_PREFIX": "a b", "KAFKA_PARTITIONS": "0", "KAFKA_REPLICATION": "-1"}, []string{"KAFKA_TOPIC_PREFIX", "KAFKA_PARTITIONS", "KAFKA_REPLICATION"}},
		{map[string]string{"KAFKA_SASL_MECHANISM": "GSSAPI"}, []string{"must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", "KAFKA_SASL_USER"}},
		{map[string]string{"KAFKA_SASL_PASSWORD": "hunter2"}, []string{"KAFKA_SASL_MECHANISM: it is empty"}},
		{map[string]string{"KAFKA_TLS_CA": "/no/such", "KAFKA_TLS_CERT": "x"}, []string{"KAFKA_TLS: it is false", "must be set together"}},
		{map[string]string{"KAFKA_TLS": "true", "KAFKA_TLS_CA": "/no/such"}, []string{"KAFKA_TLS_CA: open /no/such"}},
		{map[string]string{"INBOX_RETENTION": "10m"}, []string{"INBOX_RETENTION: it is 10m0s; it must be 1h to 3650d"}},
	} {
		settings := map[string]string{"KAFKA_BROKERS": "a:9092"}
		maps.Copy(settings, c.settings)
		var config Config
		if err := env.ParseWithOptions(&config, env.Options{Environment: settings}); err != nil {
			t.Fatal(err)
		}
		err := config.Validate()
		for _, f := range c.faults {
			if err == nil || !strings.Contains(err.Error(), f) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v: got %v\nwant %s", c.settings, err, f)
			}
		}
	}
	var d Duration
	for _, bad := range []string{"xd", "-1d", "", "5"} {
		if err := d.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a duration: %s", bad, d)
		}
	}
}

func TestMissingTopicsAreCreatedAndExistingOnesLeft(t *testing.T) {
	c := kafkaConfig(t)
	c.Partitions = 7
	if err := CreateTopics(t.Context(), c); err != nil {
		t.Fatal("a second start:", err)
	}
	admin := adminOf(t, c)
	defer func() { _ = admin.Close() }()
	topics, err := admin.ListTopics()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"saga.request_stock", "saga.release_stock", "inventory.events", "saga.request_stock.dlq", "saga.release_stock.dlq",
		"inventory.events.dlq", "product.reserved", "product.reservation_failed", "product.outcomes.dlq"} {
		if got := topics[c.TopicPrefix+name].NumPartitions; got != 4 {
			t.Errorf("%s has %d partitions, want 4", name, got)
		}
	}
}

// The brokers here ask for TLS by a certificate authority of their own and for a login.
func TestLoginAndEncryption(t *testing.T) {
	server, caFile := certificate(t)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "service", "secret"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{server}}))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			c := Config{Brokers: cluster.ListenAddrs(), Group: "g", Partitions: 1, TLS: true, TLSCA: caFile, Mechanism: mechanism, User: "service",
				Password: "secret", Retention: Duration(time.Hour)}
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			if err := CreateTopics(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			c.Password = "wrong"
			if err := CreateTopics(t.Context(), c); err == nil || strings.Contains(err.Error(), "wrong") {
				t.Fatalf("with a wrong password: %v", err)
			}
			c.Password, c.TLSCA = "secret", ""
			if err := CreateTopics(t.Context(), c); err == nil {
				t.Fatal("a certificate nobody vouches for was taken")
			}
		})
	}
}

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
