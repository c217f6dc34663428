// Package e2e tests the server as users run it: the built binary as a child process, told what to
// do by its environment and looked at only from outside (Kafka, GraphQL, HTTP, exit codes, and the
// tables that a promise names).
//
// The servers around it are embedded. With TEST_REAL=1 they are those that POSTGRES_URL,
// KAFKA_BROKERS and MONGODB_URL name. E2E_FULL=1 runs the counts that are quoted instead of those
// that fit a quick run. E2E_DOWN and E2E_UP, where they are set, are commands that end a real
// server as a crash would, given its name (mongo, or kafka- and its node id), and bring back all of
// a kind (kafka, mongo).
package e2e
