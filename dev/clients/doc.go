// Package clients runs real GraphQL clients and gateways against the server, each a script of this
// folder: the audits of GraphQL over HTTP, Apollo Client, urql, Relay with its compiler, and a
// federation gateway. They need Node and the npm registry; where either is missing the test is left
// out with a message.
package clients
