// Package upstream runs the simulated Inventory Service as a server of its own, whose events go to
// Kafka as the real one's do.
package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/IBM/sarama"

	"product-service/dev/simulator"
)

// topic receives the events, keyed by the variant.
const topic = "inventory.events"

const publishTimeout = 10 * time.Second

// Options of a server.
type Options struct {
	Addr        string   // where it listens; port 0 is a free one
	Dir         string   // where records survive a restart; empty: nowhere
	Token       string   // the bearer token that callers must carry; empty: none
	Brokers     []string // where events go; empty: nowhere
	TopicPrefix string
	Log         *slog.Logger
}

// Server is a running simulated Inventory Service.
type Server struct {
	simulator *simulator.Simulator
	http      *http.Server
	addr      net.Addr
	events    *publisher
}

// Start listens and serves until [Server.Stop].
func Start(o Options) (s *Server, err error) {
	s = &Server{events: &publisher{brokers: o.Brokers, topic: o.TopicPrefix + topic}}
	options := simulator.Options{Dir: o.Dir, Token: o.Token, Log: o.Log}
	if len(o.Brokers) > 0 {
		options.Publish = s.events.publish
	}
	if s.simulator, err = simulator.New(options); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, errors.Join(err, s.simulator.Close())
	}
	s.addr = listener.Addr()
	s.http = &http.Server{Handler: s.simulator, ConnState: s.simulator.ConnState, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }() // ends with Stop
	return s, nil
}

// URL is where it is reached on this machine.
func (s *Server) URL() string {
	_, port, _ := net.SplitHostPort(s.addr.String())
	return "http://127.0.0.1:" + port
}

// Stop ends it, with the calls under way: some faults never let one finish.
func (s *Server) Stop() error {
	return errors.Join(s.http.Close(), s.events.close(), s.simulator.Close())
}

// publisher connects with its first event, which is long after the broker came up; the simulator
// calls it one at a time.
type publisher struct {
	brokers  []string
	topic    string
	producer sarama.SyncProducer
}

func (p *publisher) publish(e simulator.Event) error {
	if p.producer == nil {
		config := sarama.NewConfig()
		config.Version = sarama.V3_6_0_0
		config.Producer.Return.Successes = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Partitioner = sarama.NewMurmur2Partitioner
		config.Producer.Timeout, config.Net.DialTimeout, config.Net.ReadTimeout = publishTimeout, publishTimeout, publishTimeout
		producer, err := sarama.NewSyncProducer(p.brokers, config)
		if err != nil {
			return fmt.Errorf("connect to Kafka: %w", err)
		}
		p.producer = producer
	}
	message, err := encode(e)
	if err != nil {
		return err
	}
	message.Topic = p.topic
	_, _, err = p.producer.SendMessage(message)
	return err
}

// encode follows the CloudEvents Kafka binding in binary mode.
func encode(e simulator.Event) (*sarama.ProducerMessage, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	m := &sarama.ProducerMessage{Key: sarama.StringEncoder(e.VariantID.String()), Value: sarama.ByteEncoder(body)}
	for _, header := range [][2]string{
		{"ce_id", e.ID.String()}, {"ce_type", e.Type}, {"ce_source", "/inventory-service"}, {"ce_specversion", "1.0"},
		{"ce_time", e.At.UTC().Format(time.RFC3339Nano)}, {"ce_subject", e.VariantID.String()}, {"content-type", "application/json"},
	} {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(header[0]), Value: []byte(header[1])})
	}
	return m, nil
}

func (p *publisher) close() error {
	if p.producer == nil {
		return nil
	}
	return p.producer.Close()
}
