package command

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Config says how Kafka is reached, and what this service calls its own there.
type Config struct {
	// Brokers are the addresses, host:port, of one or more brokers of the cluster, separated by
	// commas.
	Brokers []string `env:"KAFKA_BROKERS,required,notEmpty"`

	// Group is the consumer group. The instances of the service share its partitions.
	Group string `env:"KAFKA_GROUP" envDefault:"product-service"`

	// TopicPrefix is a text that stands before the name of every topic.
	TopicPrefix string `env:"KAFKA_TOPIC_PREFIX"`

	// Partitions is how many partitions a topic gets that this service creates. Powers of two up to
	// 32 keep instances off each other's shards.
	Partitions int32 `env:"KAFKA_PARTITIONS" envDefault:"8"`

	// Replication is how many replicas a topic gets that this service creates. 0 leaves it to the
	// broker.
	Replication int16 `env:"KAFKA_REPLICATION" envDefault:"0"`

	// TLS is whether connections are encrypted and the brokers' certificates checked.
	TLS bool `env:"KAFKA_TLS"`

	// TLSCA is a PEM file with the certificates to trust instead of the system's.
	TLSCA string `env:"KAFKA_TLS_CA"`

	// TLSCert is a PEM file with the certificate of this client. It needs [Config.TLSKey].
	TLSCert string `env:"KAFKA_TLS_CERT"`

	// TLSKey is a PEM file with the private key of [Config.TLSCert].
	TLSKey string `env:"KAFKA_TLS_KEY"`

	// Mechanism is how to log in by SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Where it is empty
	// there is no login.
	Mechanism string `env:"KAFKA_SASL_MECHANISM"`

	// User is the name to log in with.
	User string `env:"KAFKA_SASL_USER"`

	// Password is the password to log in with. It is never printed.
	Password string `env:"KAFKA_SASL_PASSWORD"`

	// Retention is how long command ids are remembered, counted from the later of the record's
	// stamp and its arrival: a Go duration, or days such as 30d. Older messages are refused. The
	// topics for commands that this service creates keep their messages as long; where a topic
	// keeps its messages longer, ids are remembered as long as that, and a warning at the start
	// says so.
	Retention Duration `env:"INBOX_RETENTION" envDefault:"720h"`

	InstanceID string // of INSTANCE_ID: this instance is a static member of the group; empty: one like any other
}

// Duration is a time.Duration that can also be written in days: "30d".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 100_000 {
			return fmt.Errorf("%q is not a number of days; it looks like 30d", text)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// String implements fmt.Stringer.
func (d Duration) String() string { return time.Duration(d).String() }

var (
	legalName   = regexp.MustCompile(`^[A-Za-z0-9._-]*$`) // what Kafka allows in a topic's name
	mechanisms  = map[string]bool{"": true, mechanismPlain: true, mechanismSCRAM256: true, mechanismSCRAM512: true}
	longestID   = 200
	longestName = 249 - len(".dlq") - len("product.reservation_failed")
)

// Validate returns every fault of the configuration, without the secrets in it.
func (c Config) Validate() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(len(c.Brokers) == 0, "KAFKA_BROKERS: it is empty; it must be a comma list of host:port")
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		n, portErr := strconv.Atoi(port)
		fault(err != nil || host == "" || portErr != nil || n < 1 || n > 65535, "KAFKA_BROKERS: %q is not a broker; it must be host:port", b)
	}
	fault(c.Group == "" || len(c.Group) > 200, "KAFKA_GROUP: it has %d characters; it must have 1 to 200", len(c.Group))
	fault(!legalName.MatchString(c.InstanceID) || len(c.InstanceID) > longestID || c.InstanceID == "." || c.InstanceID == "..",
		"INSTANCE_ID: it is %q; it may have up to %d letters, digits, dots, underscores and hyphens", c.InstanceID, longestID)
	fault(!legalName.MatchString(c.TopicPrefix) || len(c.TopicPrefix) > longestName,
		"KAFKA_TOPIC_PREFIX: it is %q; it may have up to %d letters, digits, dots, underscores and hyphens", c.TopicPrefix, longestName)
	fault(c.Partitions < 1 || c.Partitions > 1000, "KAFKA_PARTITIONS: it is %d; it must be 1 to 1000", c.Partitions)
	fault(c.Replication < 0 || c.Replication > 15, "KAFKA_REPLICATION: it is %d; it must be 1 to 15, or 0 for the broker's default", c.Replication)
	fault(!mechanisms[c.Mechanism], "KAFKA_SASL_MECHANISM: it is %q; it must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, or empty", c.Mechanism)
	fault(c.Mechanism != "" && (c.User == "" || c.Password == ""), "KAFKA_SASL_USER, KAFKA_SASL_PASSWORD: both must be set with KAFKA_SASL_MECHANISM")
	fault(c.Mechanism == "" && (c.User != "" || c.Password != ""), "KAFKA_SASL_MECHANISM: it is empty; it must be set with KAFKA_SASL_USER or KAFKA_SASL_PASSWORD")
	fault(!c.TLS && (c.TLSCA != "" || c.TLSCert != "" || c.TLSKey != ""), "KAFKA_TLS: it is false; it must be true with KAFKA_TLS_CA, KAFKA_TLS_CERT or KAFKA_TLS_KEY")
	fault((c.TLSCert == "") != (c.TLSKey == ""), "KAFKA_TLS_CERT, KAFKA_TLS_KEY: one is empty; they must be set together")
	if _, err := c.tls(); c.TLS && err != nil {
		faults = append(faults, err)
	}
	fault(c.Retention < Duration(time.Hour) || c.Retention > Duration(longestRetention), "INBOX_RETENTION: it is %s; it must be 1h to 3650d", c.Retention)
	return errors.Join(faults...)
}
