// Package inventory is the client of the external Inventory Service: it reads stock levels, has the
// record of a new variant created, and takes in what the service's events say.
//
// A [Reader] answers "how many of these variants are available" from memory, from the service or from
// what was last known, and says which. It never fails as a whole, never blocks longer than its budget and
// never invents a number. An [Initializer] works off a durable queue of variants that need a record. A
// [Webhook] tells internal teams about events.
//
// The path of a read, each step only for the variants the one before could not answer:
//
//	hot cache → last known levels → calls in flight → chunks → bulkhead → retry → breaker → attempt timeout → TLS
//
// Where to look: ages.go says what may be served, entry.go what is known after something was learnt,
// blame.go whose fault a failed call is, failure.go how a variant rests, flight.go how one is found that
// a list fails for, breaker.go and probe.go when the service is given up and how it comes back.
//
// Nothing here knows Kafka or MongoDB: events come in through [Reader.Apply], durable levels go through
// [LastKnown], the queue is a [Queue].
package inventory
