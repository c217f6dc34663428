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

	"product-service/eventstore"
)

// Why a message became a dead letter, in the header dlq-reason. Only FAILED letters can be replayed.
const (
	ReasonUnreadable     = "UNREADABLE"      // it names no product and reservation, so nobody can be answered
	ReasonInvalidCommand = "INVALID_COMMAND" // it names both, but isn't a command; a request's saga was told
	ReasonTooOld         = "TOO_OLD"         // its id may be forgotten, so it may have been executed before
	ReasonFailed         = "FAILED"          // this service failed at it
	ReasonConflict       = "CONFLICT"        // an inventory event whose id came before with another content; it changed nothing
	ReasonUnsent         = "UNSENT"          // a record of the log that can't be turned into its outcome
)

// The headers of a dead letter. All begin with letterHeader, and headers of the original never do.
const (
	letterHeader    = "dlq-"
	headerReason    = "dlq-reason"
	headerError     = "dlq-error"
	headerTopic     = "dlq-topic"
	headerPartition = "dlq-partition"
	headerOffset    = "dlq-offset"
	headerTime      = "dlq-time"
	headerTimestamp = "dlq-timestamp" // of the original
	headerOmitted   = "dlq-omitted"   // the size of a body that the broker didn't take
)

// letter is a message on its way to its dead-letter topic.
type letter struct {
	message *sarama.ConsumerMessage
	reason  string
	why     string // a sentence for a person
	cut     cut    // what of it is left out
	settle  func() // called once it is in
}

// cut says what is left out of a letter that its topic doesn't take.
type cut int

const (
	whole       cut = iota
	withoutBody     // it says where the original stands
	onlyWhy         // nor key and headers of the original
)

// size is about what the letter holds in memory, and what it takes in its topic.
func (l letter) size() int {
	size := len(l.message.Key) + len(l.message.Value)
	for _, h := range l.message.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}

// deadLetters puts letters into their topics. It tries until each is in: only then is the original
// done with.
type deadLetters struct {
	config  Config
	log     *slog.Logger
	metrics *KafkaMetrics
	now     func() time.Time
	queue   *queue[letter]
	connect func() (sarama.SyncProducer, error)
}

const (
	letterBatch   = 100
	lettersQueued = 1000
	lettersWeigh  = 32 << 20 // bytes; then partitions wait for their letters to be written
)

func newDeadLetters(c Config, m *KafkaMetrics, log *slog.Logger, now func() time.Time) *deadLetters {
	d := &deadLetters{config: c, log: log, metrics: m, now: now, queue: newQueue[letter](lettersQueued)}
	d.queue.heaviest, d.queue.weigh = lettersWeigh, letter.size
	d.connect = func() (sarama.SyncProducer, error) {
		s, err := c.producerConfig()
		if err != nil {
			return nil, err
		}
		return sarama.NewSyncProducer(c.Brokers, s)
	}
	return d
}

// run sends letters until the context ends. Those not sent by then come back, for their originals
// aren't marked.
func (d *deadLetters) run(ctx context.Context) {
	var producer sarama.SyncProducer
	defer func() { closeProducer(producer) }()
	for attempt := 0; ; {
		letters := d.queue.take(ctx, letterBatch)
		if letters == nil {
			return
		}
		for len(letters) > 0 && ctx.Err() == nil {
			var err error
			if producer == nil {
				producer, err = d.connect()
			}
			if err == nil {
				letters, err = d.send(producer, letters)
			}
			if err == nil {
				attempt = 0
				continue
			}
			d.log.ErrorContext(ctx, "dead letters could not be written; it will be tried again", "letters", len(letters), "attempt", attempt, "error", err)
			closeProducer(producer)
			producer = nil
			pause(ctx, attempt)
			attempt++
		}
	}
}

func closeProducer(p sarama.SyncProducer) {
	if p != nil {
		_ = p.Close() // nothing is under way in it
	}
}

// send returns the letters that are still to be sent.
func (d *deadLetters) send(producer sarama.SyncProducer, letters []letter) ([]letter, error) {
	messages := make([]*sarama.ProducerMessage, len(letters))
	for i, l := range letters {
		messages[i] = d.message(l)
	}
	failed := map[*sarama.ProducerMessage]error{}
	err := producer.SendMessages(messages)
	var errs sarama.ProducerErrors
	switch {
	case errors.As(err, &errs):
		for _, e := range errs {
			failed[e.Msg] = e.Err
		}
	case err != nil:
		return letters, err
	}
	var left []letter
	written := map[string]int{}
	err = nil
	for i, l := range letters {
		switch {
		case failed[messages[i]] == nil:
			written[l.reason]++
			d.metrics.letters.WithLabelValues(l.reason).Inc()
			d.queue.lift(l)
			d.queue.done(1)
			l.settle()
		case tooLarge(failed[messages[i]]) && len(letters) > 1: // perhaps only together
			alone, aloneErr := d.send(producer, letters[i:i+1])
			left, err = append(left, alone...), errors.Join(err, aloneErr)
		case tooLarge(failed[messages[i]]) && l.cut < onlyWhy:
			left = append(left, d.shorten(l))
		default:
			left, err = append(left, l), failed[messages[i]]
		}
	}
	for _, first := range letters { // a line a reason: a flood of bad messages isn't one of lines
		if n := written[first.reason]; n > 0 {
			d.log.Warn("messages became dead letters", "reason", first.reason, "count", n, "first_topic", first.message.Topic,
				"first_partition", first.message.Partition, "first_offset", first.message.Offset, "first_error", first.why)
			delete(written, first.reason)
		}
	}
	return left, err
}

func tooLarge(err error) bool {
	var ours sarama.ConfigurationError // of the producer's own check
	return errors.Is(err, sarama.ErrMessageSizeTooLarge) || errors.Is(err, sarama.ErrMessageSetSizeTooLarge) || errors.As(err, &ours)
}

// shorten keeps a letter that the broker doesn't take from stopping its partition: first the body
// is left out, then all but why it is one.
func (d *deadLetters) shorten(l letter) letter {
	if l.cut == whole {
		d.log.Error("a dead letter is larger than its topic allows; it is kept without its body", "topic", l.message.Topic,
			"partition", l.message.Partition, "offset", l.message.Offset, "bytes", l.size())
		l.why += "; the body is left out, because it is larger than this topic allows: the original is where the headers say, while its topic keeps it"
	}
	l.cut++
	return l
}

func (d *deadLetters) message(l letter) *sarama.ProducerMessage {
	m := l.message
	out := &sarama.ProducerMessage{Topic: m.Topic + deadLetterSuffix, Key: encoder(m.Key), Value: encoder(m.Value)}
	for _, h := range m.Headers {
		if !isLetterHeader(h) && l.cut < onlyWhy {
			out.Headers = append(out.Headers, *h)
		}
	}
	add := func(key, value string) {
		out.Headers = append(out.Headers, sarama.RecordHeader{Key: []byte(key), Value: []byte(value)})
	}
	add(headerReason, l.reason)
	add(headerError, l.why)
	add(headerTopic, m.Topic)
	add(headerPartition, strconv.Itoa(int(m.Partition)))
	add(headerOffset, strconv.FormatInt(m.Offset, 10))
	add(headerTime, d.now().UTC().Format(time.RFC3339Nano))
	if l.cut > whole {
		out.Value = nil
		add(headerOmitted, strconv.Itoa(len(m.Value)))
	}
	if l.cut == onlyWhy {
		out.Key = nil
	}
	if at := m.Timestamp; !at.IsZero() {
		if at.After(eventstore.Forever) { // which can't be written in this form, and comes to the same
			at = eventstore.Forever
		}
		add(headerTimestamp, at.UTC().Format(time.RFC3339Nano))
	}
	return out
}

// encoder keeps the difference between none and empty.
func encoder(b []byte) sarama.Encoder {
	if b == nil {
		return nil
	}
	return sarama.ByteEncoder(b)
}

func isLetterHeader(h *sarama.RecordHeader) bool {
	return strings.HasPrefix(string(h.Key), letterHeader)
}

// whyFailed puts our own failure into words.
func whyFailed(err error) string {
	return fmt.Sprintf("the command could not be executed: %v; it can be replayed once that is mended", err)
}
