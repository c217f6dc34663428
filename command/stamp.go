package command

import (
	"time"

	"github.com/IBM/sarama"

	"product-service/eventstore"
)

// The first day that a record can be of: Kafka is of 2011. What is stamped earlier has no stamp (0
// or less), or one in seconds.
var firstStamp = time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC)

// ageFrom is what a record's age counts from. It settles two things, so that one record is executed
// once however often and however late its topic delivers it: until a retention after it the
// command's id is remembered, and from then on the record is too old to be executed. A topic keeps
// its records by their stamps too, so a stamp that lies ahead is taken at its word. One that can't
// be when the record was sent doesn't tell old from new: the record is never too old, and its id is
// never forgotten.
func ageFrom(m *sarama.ConsumerMessage) time.Time { return ageFromStamp(m.Timestamp) }

func ageFromStamp(stamp time.Time) time.Time {
	if stamp.Before(firstStamp) || stamp.After(eventstore.Forever) {
		return eventstore.Forever
	}
	return stamp
}
