package command

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// The topics, without the prefix of the configuration. Each input has a dead-letter topic beside it.
const (
	TopicRequestStock      = "saga.request_stock"
	TopicReleaseStock      = "saga.release_stock"
	TopicInventoryEvents   = "inventory.events"
	TopicReserved          = "product.reserved"
	TopicReservationFailed = "product.reservation_failed"
	TopicUnsent            = "product.outcomes" // has no messages of its own: the records that couldn't be sent are its dead letters

	deadLetterSuffix = ".dlq"
)

// Login mechanisms.
const (
	mechanismPlain    = sarama.SASLTypePlaintext
	mechanismSCRAM256 = sarama.SASLTypeSCRAMSHA256
	mechanismSCRAM512 = sarama.SASLTypeSCRAMSHA512
)

const (
	// rebalanceTimeout is how long the group waits for an instance to let go of a partition. A
	// client must wait longer for the answer to its joining: one that gives up comes back as
	// another member, for which the group waits anew.
	rebalanceTimeout = 25 * time.Second
	readTimeout      = 30 * time.Second

	// drainTimeout is how long a claim waits for its commands under way.
	drainTimeout = 20 * time.Second

	// sessionTimeout is after how long without a heartbeat a member counts as lost. Brokers allow
	// no less than 6 seconds.
	sessionTimeout = 7 * time.Second

	// partitionsChecked is how often each member looks for new partitions of its topics.
	partitionsChecked = 10 * time.Second
)

// maxLetter is the largest message that is sent or created for: a message that Kafka kept
// compressed can be larger than its topic's limit once it is read.
const maxLetter = 64 << 20

func (c Config) inputs() []string {
	return []string{c.topic(TopicRequestStock), c.topic(TopicReleaseStock), c.topic(TopicInventoryEvents)}
}

func (c Config) deadLetterTopics() []string {
	var topics []string
	for _, t := range append(c.inputs(), c.topic(TopicUnsent)) {
		topics = append(topics, t+deadLetterSuffix)
	}
	return topics
}

func (c Config) topic(name string) string { return c.TopicPrefix + name }

// base is what all clients have in common.
func (c Config) base() (*sarama.Config, error) {
	s := sarama.NewConfig()
	s.ClientID = "product-service"
	s.Version = sarama.V2_8_0_0 // the oldest broker that is supported
	s.Net.DialTimeout, s.Net.ReadTimeout, s.Net.WriteTimeout = 5*time.Second, readTimeout, 30*time.Second
	s.Metadata.RefreshFrequency = time.Minute
	s.Metadata.Full = false // only the topics in use
	if c.TLS {
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		s.Net.TLS.Enable, s.Net.TLS.Config = true, config
	}
	if c.Mechanism != "" {
		s.Net.SASL.Enable, s.Net.SASL.Mechanism = true, sarama.SASLMechanism(c.Mechanism)
		s.Net.SASL.User, s.Net.SASL.Password = c.User, c.Password
		s.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{mechanism: c.Mechanism} }
	}
	return s, nil
}

// groupConfig is the consumer group's. It begins at the oldest message, so that none is lost to a
// new group or partition.
func (c Config) groupConfig() (*sarama.Config, error) {
	s, err := c.readerConfig()
	if err != nil {
		return nil, err
	}
	s.Consumer.Offsets.Initial = sarama.OffsetOldest
	s.Consumer.Offsets.AutoCommit.Interval = 500 * time.Millisecond // of what was marked, and only committed work is marked
	s.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	s.Consumer.Group.Rebalance.Timeout = rebalanceTimeout
	s.Consumer.Group.Session.Timeout = sessionTimeout
	s.Consumer.Group.Heartbeat.Interval = time.Second // a member learns of a rebalance with its next heartbeat
	s.Consumer.Group.InstanceId = c.InstanceID
	s.Metadata.RefreshFrequency = partitionsChecked
	return s, nil
}

// readerConfig is that of a consumer without a group.
func (c Config) readerConfig() (*sarama.Config, error) {
	s, err := c.base()
	if err != nil {
		return nil, err
	}
	s.Consumer.Return.Errors = true
	s.Consumer.IsolationLevel = sarama.ReadCommitted // what an aborted transaction sent was never said
	s.Consumer.MaxProcessingTime = 2 * time.Second   // a claim that is held back for longer fetches anew
	s.Consumer.MaxWaitTime = 250 * time.Millisecond
	s.Consumer.Fetch.Default = 128 << 10 // of a partition at once: what is behind is read in as many rounds as it takes, and isn't all held in memory
	s.ChannelBufferSize = 256
	return s, nil
}

// producerConfig is that of dead letters, and of those that are sent again: idempotent, and one
// request under way per broker. Keys find their partition as those of Java clients do. Large
// messages pass: the original was taken by the same broker, perhaps compressed.
func (c Config) producerConfig() (*sarama.Config, error) {
	s, err := c.base()
	if err != nil {
		return nil, err
	}
	s.Producer.RequiredAcks = sarama.WaitForAll
	s.Producer.Idempotent, s.Net.MaxOpenRequests = true, 1
	s.Producer.Partitioner = sarama.NewMurmur2Partitioner
	s.Producer.Return.Successes, s.Producer.Return.Errors = true, true
	s.Producer.Retry.Max = 5
	s.Producer.Compression = sarama.CompressionSnappy
	s.Producer.MaxMessageBytes = maxLetter
	return s, nil
}

func (c Config) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_TLS_CA: %w; it must be a file of PEM certificates", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("KAFKA_TLS_CA: %s has no certificate; it must be a file of PEM certificates", c.TLSCA)
		}
	}
	if c.TLSCert != "" && c.TLSKey != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_TLS_CERT, KAFKA_TLS_KEY: %w; they must be files of a PEM certificate and its key", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// administer connects to manage topics. Closing the admin closes its client.
func (c Config) administer() (sarama.Client, sarama.ClusterAdmin, error) {
	s, err := c.base()
	if err != nil {
		return nil, nil, err
	}
	s.Metadata.Full = true
	client, err := sarama.NewClient(c.Brokers, s)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connect to Kafka: %w", err), client.Close())
	}
	return client, admin, nil
}

// CreateTopics creates the topics that are missing, dead-letter topics included, and leaves those
// that exist as they are.
func CreateTopics(ctx context.Context, c Config) error {
	client, admin, err := c.administer()
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	existing, err := client.Topics()
	if err != nil {
		return fmt.Errorf("list the topics: %w", err)
	}
	for name, detail := range c.details() {
		if slices.Contains(existing, name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := admin.CreateTopic(name, detail, false); err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return nil
}

// details says how each topic is created. What is taken in is kept as long as ids are remembered,
// and so are letters, which may be larger than the messages they are copies of, because they are
// read decompressed.
func (c Config) details() map[string]*sarama.TopicDetail {
	replication := c.Replication
	if replication == 0 {
		replication = -1 // the broker's default
	}
	retention, size := strconv.FormatInt(time.Duration(c.Retention).Milliseconds(), 10), strconv.Itoa(maxLetter)
	details := map[string]*sarama.TopicDetail{}
	for _, name := range []string{c.topic(TopicReserved), c.topic(TopicReservationFailed)} {
		details[name] = &sarama.TopicDetail{NumPartitions: c.Partitions, ReplicationFactor: replication}
	}
	for _, name := range c.inputs() {
		details[name] = &sarama.TopicDetail{NumPartitions: c.Partitions, ReplicationFactor: replication, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	}
	for _, name := range c.deadLetterTopics() {
		details[name] = &sarama.TopicDetail{NumPartitions: c.Partitions, ReplicationFactor: replication,
			ConfigEntries: map[string]*string{"retention.ms": &retention, "max.message.bytes": &size}}
	}
	return details
}

// scramClient lets sarama log in by SCRAM (RFC 5802).
type scramClient struct {
	mechanism    string
	conversation *scram.ClientConversation
}

// Begin implements sarama.SCRAMClient.
func (s *scramClient) Begin(user, password, authzID string) error {
	var hash scram.HashGeneratorFcn = sha512.New
	if s.mechanism == mechanismSCRAM256 {
		hash = sha256.New
	}
	client, err := hash.NewClient(user, password, authzID)
	if err != nil {
		return fmt.Errorf("begin the login by %s: %w", s.mechanism, err)
	}
	s.conversation = client.NewConversation()
	return nil
}

// Step implements sarama.SCRAMClient.
func (s *scramClient) Step(challenge string) (string, error) { return s.conversation.Step(challenge) }

// Done implements sarama.SCRAMClient.
func (s *scramClient) Done() bool { return s.conversation.Done() }
