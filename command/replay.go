package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// Letter is a dead letter as it stands in its topic.
type Letter struct {
	Topic     string // the dead-letter topic, and the letter's place in it
	Partition int32
	Offset    int64

	Reason    string // UNREADABLE, INVALID_COMMAND, CONFLICT, TOO_OLD, FAILED or UNSENT
	Error     string // a sentence for a person
	From      string // the topic of the original
	Time      time.Time
	Replayed  bool
	Forgotten bool // the original is older than ids are remembered
	Key, Body []byte

	message *sarama.ConsumerMessage
}

// Refusal says why the letter can't be replayed; it is empty for those that can.
func (l Letter) Refusal() string {
	switch {
	case l.Replayed:
		return "it was replayed already"
	case l.Reason == ReasonInvalidCommand && strings.HasSuffix(l.From, TopicReleaseStock):
		return "a release is never answered, and it freed nothing: send a correct release with a new commandId"
	case l.Reason == ReasonInvalidCommand:
		return "its saga was told INVALID_COMMAND, and a command has one outcome: send a correct command with a new commandId"
	case l.Reason == ReasonUnreadable:
		return "it can't be read any better the second time: send a correct message"
	case l.Reason == ReasonConflict:
		return "its eventId is spent on another content: if it is right, it has to be published with an eventId of its own"
	case l.Reason == ReasonTooOld:
		return "its id may be forgotten, so that it would be executed twice: send a new command if it is still wanted"
	case l.Reason == ReasonUnsent:
		return "it is a record of the log and not a message: its outcome has to be told by hand"
	case l.Reason != ReasonFailed:
		return fmt.Sprintf("its reason is %q; only letters with reason %s can be replayed", l.Reason, ReasonFailed)
	case l.Forgotten:
		return "it is too old: its id may be forgotten, so that it would be refused; send a new command if it is still wanted"
	case l.value(headerOmitted) != "":
		return "its body was too large for the dead-letter topic: send the original again, it is where the letter's headers say"
	case !strings.HasSuffix(l.Topic, deadLetterSuffix) || l.From != strings.TrimSuffix(l.Topic, deadLetterSuffix):
		return fmt.Sprintf("it says it is from topic %q, whose letters aren't kept in %s", l.From, l.Topic)
	}
	return ""
}

func (l Letter) value(name string) string { return header(l.message, name) }

// LetterBook remembers which letters were replayed; eventstore.Store does.
type LetterBook interface {
	// LetterDone notes that a letter was replayed now.
	LetterDone(ctx context.Context, topic string, partition int32, offset int64) error
	// LettersDone returns the offsets of a partition's replayed letters, and when they were. One
	// from before the letter is of a topic of that name that was there before.
	LettersDone(ctx context.Context, topic string, partition int32) (map[int64]time.Time, error)
}

// Replayer lists dead letters, and sends those again that our own failure made.
type Replayer struct {
	config Config
	book   LetterBook
}

// NewReplayer makes a replayer.
func NewReplayer(c Config, b LetterBook) *Replayer { return &Replayer{config: c, book: b} }

// patience is how long the broker may keep silent about letters that it says it has.
const patience = 15 * time.Second

// List calls each with every dead letter that there is now: topic by topic, each partition in
// order. It ends at the first error of each.
func (r *Replayer) List(ctx context.Context, each func(Letter) error) error {
	s, err := r.config.readerConfig()
	if err != nil {
		return fmt.Errorf("configure the reader of dead letters: %w", err)
	}
	client, err := sarama.NewClient(r.config.Brokers, s)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer func() { _ = client.Close() }()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return fmt.Errorf("make a consumer: %w", err)
	}
	defer func() { _ = consumer.Close() }()
	remembered, _ := Remembered(ctx, r.config, slog.New(slog.DiscardHandler)) // what is wrong with it, the server tells at its start
	forgotten := time.Now().Add(-time.Duration(remembered.Retention))
	for _, topic := range r.config.deadLetterTopics() {
		partitions, err := client.Partitions(topic)
		if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			continue // nothing was created yet
		}
		if err != nil {
			return fmt.Errorf("list the partitions of %s: %w", topic, err)
		}
		for _, p := range partitions {
			done, err := r.book.LettersDone(ctx, topic, p)
			if err != nil {
				return fmt.Errorf("look up the replayed letters: %w", err)
			}
			err = readToEnd(ctx, client, consumer, topic, p, func(m *sarama.ConsumerMessage) error {
				l := letterOf(m)
				replayed, noted := done[m.Offset]
				l.Replayed = noted && !replayed.Before(l.Time)
				l.Forgotten = ageFromStamp(l.sent()).Before(forgotten)
				return each(l)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func letterOf(m *sarama.ConsumerMessage) Letter {
	l := Letter{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Reason: header(m, headerReason), Error: header(m, headerError),
		From: header(m, headerTopic), Key: m.Key, Body: m.Value, message: m}
	l.Time, _ = time.Parse(time.RFC3339Nano, l.value(headerTime)) // the zero time where a stranger wrote the letter
	return l
}

// readToEnd reads a partition up to where it ends now.
func readToEnd(ctx context.Context, client sarama.Client, consumer sarama.Consumer, topic string, partition int32, each func(*sarama.ConsumerMessage) error) error {
	oldest, err := client.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return fmt.Errorf("find the begin of %s/%d: %w", topic, partition, err)
	}
	end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return fmt.Errorf("find the end of %s/%d: %w", topic, partition, err)
	}
	if oldest >= end {
		return nil
	}
	p, err := consumer.ConsumePartition(topic, partition, oldest)
	if err != nil {
		return fmt.Errorf("read %s/%d: %w", topic, partition, err)
	}
	defer func() { _ = p.Close() }()
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		select {
		case m, open := <-p.Messages():
			if !open {
				return fmt.Errorf("read %s/%d: the partition can't be read on", topic, partition)
			}
			if m.Offset >= end {
				return nil
			}
			if err := each(m); err != nil {
				return err
			}
			if m.Offset == end-1 {
				return nil
			}
			silence.Reset(patience)
		case err := <-p.Errors():
			return fmt.Errorf("read %s/%d: %w", topic, partition, err)
		case <-silence.C:
			return fmt.Errorf("read %s/%d: the broker sent nothing for %s", topic, partition, patience)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Replay sends the letters that the filter picks to their original topics: the same key, bytes,
// headers and timestamp. Each is sent once, or twice if this process dies in between, which the
// command's id makes harmless. What became of each picked letter is told: refusal is empty for one
// that was sent. It ends at the first error.
func (r *Replayer) Replay(ctx context.Context, filter func(Letter) bool, told func(l Letter, refusal string)) error {
	s, err := r.config.producerConfig()
	if err != nil {
		return fmt.Errorf("configure the producer: %w", err)
	}
	producer, err := sarama.NewSyncProducer(r.config.Brokers, s)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer closeProducer(producer)
	return r.List(ctx, func(l Letter) error {
		if !filter(l) {
			return nil
		}
		refusal := l.Refusal()
		if refusal == "" {
			if _, _, err := producer.SendMessage(l.original()); err != nil {
				return fmt.Errorf("send the letter at %s/%d offset %d again: %w", l.Topic, l.Partition, l.Offset, err)
			}
			if err := r.book.LetterDone(ctx, l.Topic, l.Partition, l.Offset); err != nil {
				return fmt.Errorf("note that the letter at %s/%d offset %d was replayed: %w", l.Topic, l.Partition, l.Offset, err)
			}
		}
		told(l, refusal)
		return nil
	})
}

// original is the message that became the letter.
func (l Letter) original() *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: l.From, Key: encoder(l.Key), Value: encoder(l.Body)}
	for _, h := range l.message.Headers {
		if !isLetterHeader(h) {
			m.Headers = append(m.Headers, *h)
		}
	}
	m.Timestamp = l.sent()
	return m
}

// sent is when the original was; zero where it didn't say.
func (l Letter) sent() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, l.value(headerTimestamp)) // the zero time where a stranger wrote the letter
	return at
}

// Place says where the letter stands.
func (l Letter) Place() string {
	return l.Topic + "/" + strconv.Itoa(int(l.Partition)) + "/" + strconv.FormatInt(l.Offset, 10)
}
