package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"product-service/eventstore"
	"product-service/product"
)

// messages returns the message of each record, nil for those that have none.
func (r *Relay) messages(ctx context.Context, records []eventstore.Record) ([]*sarama.ProducerMessage, error) {
	originals, err := r.originals(ctx, records)
	if err != nil {
		return nil, err
	}
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, record := range records {
		original, err := record, error(nil)
		if record.Type == resentType {
			original, err = originals.of(record)
		}
		var o outcome
		var ok bool
		if err == nil {
			o, ok, err = outcomeOf(original)
		}
		switch {
		case err != nil:
			messages[i] = r.unsent(ctx, record, err)
		case ok:
			messages[i] = o.message(r.config, original)
		}
	}
	return messages, nil
}

// originalsByPlace are the outcomes that are sent again.
type originalsByPlace map[eventstore.Cursor]eventstore.Record

func (r *Relay) originals(ctx context.Context, records []eventstore.Record) (originalsByPlace, error) {
	var places []eventstore.Cursor
	for _, record := range records {
		if record.Type != resentType {
			continue
		}
		if place, err := placeOf(record); err == nil {
			places = append(places, place)
		}
	}
	if len(places) == 0 {
		return nil, nil
	}
	found, err := r.outbox.At(ctx, places)
	if err != nil {
		return nil, err
	}
	originals := make(originalsByPlace, len(found))
	for _, f := range found {
		originals[eventstore.Cursor{Shard: f.Shard, Pos: f.Pos}] = f
	}
	return originals, nil
}

func placeOf(resent eventstore.Record) (eventstore.Cursor, error) {
	event, err := product.Decode(resent.Type, resent.Data)
	if err != nil {
		return eventstore.Cursor{}, err
	}
	again, ok := event.(product.OutcomeResent)
	if !ok {
		return eventstore.Cursor{}, fmt.Errorf("%s doesn't say which outcome to send", resent.Type)
	}
	return eventstore.Cursor{Shard: resent.Shard, Pos: again.Of}, nil
}

func (o originalsByPlace) of(resent eventstore.Record) (eventstore.Record, error) {
	place, err := placeOf(resent)
	if err != nil {
		return eventstore.Record{}, err
	}
	original, ok := o[place]
	if !ok {
		return eventstore.Record{}, fmt.Errorf("the outcome to be sent again, at shard %d position %d, is not in the log", place.Shard, place.Pos)
	}
	if !outcomeTypes[original.Type] {
		return eventstore.Record{}, fmt.Errorf("what is to be sent again, at shard %d position %d, is a %s and no outcome", place.Shard, place.Pos, original.Type)
	}
	return original, nil
}

// unsent makes a dead letter of a record that can't be turned into its outcome: its shard goes on,
// and people are told.
func (r *Relay) unsent(ctx context.Context, record eventstore.Record, why error) *sarama.ProducerMessage {
	r.log.ErrorContext(ctx, "a record of the log can't be turned into its outcome; its saga is not answered, and it is kept as a dead letter",
		"shard", record.Shard, "pos", record.Pos, "type", record.Type, "product_id", record.ProductID, "command_id", record.CommandID, "error", why)
	r.metrics.unsent.Inc()
	m := &sarama.ProducerMessage{Topic: r.config.topic(TopicUnsent) + deadLetterSuffix, Key: sarama.StringEncoder(record.ProductID.String()), Value: encoder(record.Data)}
	for _, h := range [][2]string{{headerReason, ReasonUnsent}, {headerError, why.Error()}, {headerTopic, "log"},
		{headerPartition, strconv.Itoa(int(record.Shard))}, {headerOffset, strconv.FormatInt(record.Pos, 10)},
		{headerTime, time.Now().UTC().Format(time.RFC3339Nano)}, {headerTimestamp, record.At.UTC().Format(time.RFC3339Nano)},
		{"ce_type", record.Type}, {"causation-id", record.CommandID.String()}} {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h[0]), Value: []byte(h[1])})
	}
	return m
}
