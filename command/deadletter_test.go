package command

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// strictProducer refuses messages with headers of the original, one at a time.
type strictProducer struct {
	sarama.SyncProducer
	sent []*sarama.ProducerMessage
}

func (p *strictProducer) Close() error { return nil }

func (p *strictProducer) SendMessages(messages []*sarama.ProducerMessage) error {
	var errs sarama.ProducerErrors
	for _, m := range messages {
		if string(m.Headers[0].Key) == "huge" {
			errs = append(errs, &sarama.ProducerError{Msg: m, Err: sarama.ErrMessageSizeTooLarge})
		} else {
			p.sent = append(p.sent, m)
		}
	}
	if errs != nil {
		return errs
	}
	return nil
}

func TestALetterWithoutABodyThatIsTooLargeIsKeptWithoutItsHeaders(t *testing.T) {
	d := newDeadLetters(Config{}, testMetrics(), quiet, time.Now)
	producer := &strictProducer{}
	d.connect = func() (sarama.SyncProducer, error) { return producer, nil }
	run(t, func(ctx context.Context) error { d.run(ctx); return nil })
	settled := make(chan struct{})
	m := &sarama.ConsumerMessage{Topic: "t", Key: []byte("k"), Headers: []*sarama.RecordHeader{{Key: []byte("huge"), Value: make([]byte, 100)}}}
	d.queue.put(letter{message: m, reason: ReasonUnreadable, why: "x", settle: func() { close(settled) }})
	select {
	case <-settled:
	case <-time.After(20 * time.Second):
		t.Fatal("it is tried for ever")
	}
	if len(producer.sent) != 1 || producer.sent[0].Key != nil || producer.sent[0].Value != nil {
		t.Errorf("sent %+v", producer.sent)
	}
}

func TestClaimsWaitWhileLettersAreHeavy(t *testing.T) {
	d := newDeadLetters(Config{}, testMetrics(), quiet, time.Now)
	heavy := letter{message: &sarama.ConsumerMessage{Value: make([]byte, lettersWeigh/2)}}
	admitted := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return d.queue.admit(ctx) == nil
	}
	d.queue.put(heavy)
	if !admitted() {
		t.Error("one letter holds claims back")
	}
	d.queue.put(heavy)
	if admitted() {
		t.Error("letters can be of any weight together")
	}
	d.queue.lift(heavy)
	d.queue.done(1)
	if !admitted() {
		t.Error("a letter that is written still weighs")
	}
}
