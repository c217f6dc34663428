// Package eventstore keeps the log of what happened in PostgreSQL, and what a decision needs to be
// made again: heads, reservations, the inbox of known commands. It knows records, not products:
// what a record means is for others.
//
// The log is the only queue there is. Its rows are numbered 1, 2, 3 … per shard, in the order they
// were committed and without holes, so that a reader needs no more than the last position it has
// seen. The relay reads it as an outbox, the projector as its source, people as an audit trail.
package eventstore

import (
	"encoding/hex"
	"time"

	"github.com/google/uuid"
)

// Shards is how many shards the log has. It is fixed for life: a product's shard is derived from its id.
const Shards = 32

// ShardOf returns the shard of a product: Kafka's own hash of the message key, so that consumers of
// a topic with 1, 2, 4 … 32 partitions keyed by product never meet on a shard.
func ShardOf(productID uuid.UUID) int16 {
	var text [36]byte // the id in its canonical form, as it stands in a message's key
	at := 0
	for i, part := range [...][]byte{productID[:4], productID[4:6], productID[6:8], productID[8:10], productID[10:]} {
		if i > 0 {
			text[at] = '-'
			at++
		}
		at += hex.Encode(text[at:], part)
	}
	return int16(murmur2(text[:]) % Shards)
}

// Row is what is written to the log.
type Row struct {
	ProductID uuid.UUID
	Version   int64 // in the product's stream; 0 for a fact, which has none
	Type      string
	CommandID uuid.UUID // of the command that caused it
	Data      []byte    // JSON
}

// Record is a row as it stands in the log.
type Record struct {
	Shard int16
	Pos   int64
	Row
	At time.Time // when it was committed, by the database's clock; never runs back in a shard
}

// Head is the snapshot of a stream, and the guard of its version.
type Head struct {
	ProductID         uuid.UUID
	Version           int64
	Status            int16
	StockTotal        int64
	Reserved          int64
	LowStockThreshold int64
	Variants          int32
}

// ReservationKey names a reservation: its id is unique per product.
type ReservationKey struct{ ProductID, ReservationID uuid.UUID }

// Reservation is the present state of a reservation.
type Reservation struct {
	ReservationKey
	SagaID    string
	Quantity  int64
	Held      int64
	State     string
	ExpiresAt time.Time // zero: never
}

// InboxEntry remembers a command that was decided, and where its outcome stands in the log.
type InboxEntry struct {
	CommandID   uuid.UUID
	Fingerprint int64 // of the command's content
	Shard       int16
	Pos         int64
	AgeFrom     time.Time // what its age counts from: this, or when it is remembered if that is later
}

// Forever is the AgeFrom of an [InboxEntry] that is never forgotten.
var Forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// murmur2 is the hash of Kafka's default partitioner (org.apache.kafka.common.utils.Utils.murmur2),
// made positive as there.
func murmur2(key []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	i := 0
	for ; i+4 <= len(key); i += 4 {
		k := uint32(key[i]) | uint32(key[i+1])<<8 | uint32(key[i+2])<<16 | uint32(key[i+3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(key) - i {
	case 3:
		h ^= uint32(key[i+2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[i+1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[i])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h & 0x7fffffff
}
