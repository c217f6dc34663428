package command

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// KafkaMetrics counts what comes in from Kafka and what goes out to it.
type KafkaMetrics struct {
	consumed   *prometheus.CounterVec // by topic
	lag        *prometheus.GaugeVec   // by topic and partition
	faults     *prometheus.CounterVec // by reason
	letters    *prometheus.CounterVec // by reason
	session    prometheus.Gauge
	unknown    prometheus.Counter
	oddStamps  *prometheus.CounterVec // by topic
	reconnects *prometheus.CounterVec // by client

	relayed     *prometheus.CounterVec // by topic
	unsent      prometheus.Counter
	sendErrors  prometheus.Counter
	relayBehind prometheus.Gauge
	relayAge    prometheus.Gauge
	factory     promauto.Factory
}

// NewKafkaMetrics registers the metrics.
func NewKafkaMetrics(r prometheus.Registerer) *KafkaMetrics {
	f := promauto.With(r)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	return &KafkaMetrics{
		consumed: counters("product_service_kafka_consumed_messages_total", "Messages taken from Kafka, by topic.", "topic"),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{Name: "product_service_kafka_consumer_lag_messages",
			Help: "Messages of a partition behind the one taken last, as of then."}, []string{"topic", "partition"}),
		faults:      counters("product_service_kafka_faulty_messages_total", "Messages that weren't executed, by reason: UNREADABLE, INVALID_COMMAND, TOO_OLD, FAILED.", "reason"),
		letters:     counters("product_service_kafka_dead_letters_total", "Dead letters written, by reason.", "reason"),
		session:     gauge("product_service_kafka_session_up", "1 while this instance is a member of its consumer group."),
		unknown:     counter("product_service_kafka_unknown_variants_total", "Inventory events about variants that this service doesn't have."),
		oddStamps:   counters("product_service_kafka_odd_stamps_total", "Messages stamped an hour ahead or more, or with what is no time of a message, by topic. Their ids are remembered that much longer.", "topic"),
		reconnects:  counters("product_service_kafka_reconnects_total", "Connections to Kafka begun anew after an error, by client.", "client"),
		relayed:     counters("product_service_relay_messages_total", "Outcomes acknowledged by Kafka, by topic.", "topic"),
		unsent:      counter("product_service_relay_unsent_records_total", "Records of the log that could not be turned into their outcome; each became a dead letter. Any is a fault of this service."),
		sendErrors:  counter("product_service_relay_send_errors_total", "Pages that Kafka didn't take as a whole."),
		relayBehind: gauge("product_service_relay_lag_positions", "Records of the shards held here that the relay hasn't passed."),
		relayAge:    gauge("product_service_relay_lag_seconds", "Age of the oldest record the relay hasn't passed, as far as it has read."),
		factory:     f,
	}
}

// watch makes the length of a queue a metric.
func (m *KafkaMetrics) watch(name, help string, length func() float64) {
	m.factory.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, length)
}
