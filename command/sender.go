package command

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// sender sends pages of messages in order, and stops at the first that Kafka doesn't take. After an error it is used up: what is
// still on its way inside it must not overtake what will be sent again.
type sender struct {
	client   sarama.Client
	producer sarama.AsyncProducer
	ended    *atomic.Bool
}

// connectSender makes a producer with a client of its own: one shared with a consumer would send behind its long polls.
func connectSender(c Config) (*sender, error) {
	s, err := c.producerConfig()
	if err != nil {
		return nil, fmt.Errorf("configure the producer: %w", err)
	}
	ended := new(atomic.Bool)
	s.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		if ended.Load() {
			return 0
		}
		return min(time.Second, 20*time.Millisecond<<min(retries, 10))
	}
	partition := s.Producer.Partitioner
	s.Producer.Partitioner = func(topic string) sarama.Partitioner { return stoppable{partition(topic), ended} }
	client, err := sarama.NewClient(c.Brokers, s)
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a producer: %w", err), client.Close())
	}
	return &sender{client: client, producer: producer, ended: ended}, nil
}

// send returns which of the messages were acknowledged: all of them, or some and the first error. The end of the context is an error.
func (s *sender) send(ctx context.Context, messages []*sarama.ProducerMessage) ([]bool, error) {
	acked, next, answered := make([]bool, len(messages)), 0, 0
	for answered < len(messages) {
		var input chan<- *sarama.ProducerMessage
		var message *sarama.ProducerMessage
		if next < len(messages) {
			input, message = s.producer.Input(), messages[next]
			message.Metadata = next
		}
		select {
		case input <- message:
			next++
		case m := <-s.producer.Successes():
			acked[m.Metadata.(int)] = true
			answered++
		case e := <-s.producer.Errors():
			s.abandon()
			return acked, fmt.Errorf("send to %s: %w", e.Msg.Topic, e.Err)
		case <-ctx.Done():
			s.abandon()
			return acked, context.Cause(ctx)
		}
	}
	return acked, nil
}

// abandon cuts the connections, so that nothing more is sent, and lets what is inside end behind the scenes.
func (s *sender) abandon() {
	if s.ended.Swap(true) {
		return
	}
	_ = s.client.Close() // an error of a connection that is given up
	s.producer.AsyncClose()
	go func() {
		for range s.producer.Successes() {
		}
	}()
	go func() {
		for range s.producer.Errors() {
		}
	}()
}

// close ends a sender that has nothing under way.
func (s *sender) close() {
	if s.ended.Swap(true) {
		return
	}
	_ = s.producer.Close()
	_ = s.client.Close()
}

// stoppable takes no message once its sender has ended.
type stoppable struct {
	sarama.Partitioner
	ended *atomic.Bool
}

var errEnded = errors.New("the page was given up after an error")

// Partition implements sarama.Partitioner.
func (p stoppable) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	if p.ended.Load() {
		return 0, errEnded
	}
	return p.Partitioner.Partition(m, n)
}
