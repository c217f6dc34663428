package auth

import (
	"context"
	"slices"
	"time"
)

// The scopes that a token can have. The schema says which of its fields need which.
const (
	CatalogWrite = "catalog:write" // to change products and stock
	StockHistory = "stock:history" // to read movements, timelines, reports and reservations, and to export them
	Operations   = "operations"    // to see and use the operator's page of the console
)

// Caller is who sends a request. The zero Caller is one without a token, who may do what needs no scope.
type Caller struct {
	// Subject is the token's sub: a person's or a program's id at the issuer. It is "" where there is none.
	Subject string

	// Expires is when the token stops being accepted; zero where there is no token.
	Expires time.Time

	scopes  []string
	allowed bool // everything, because nobody is asked who they are
}

// Ends is when what the caller has begun now and goes on is over: at the token's exp, or where it
// was accepted after that, because clocks may differ, when it stops being accepted. It is zero
// where there is no token.
func (c Caller) Ends(now time.Time) time.Time {
	if exp := c.Expires.Add(-leeway); !c.Expires.IsZero() && exp.After(now) {
		return exp
	}
	return c.Expires
}

// Anonymous says whether the caller has shown no token, although one would have been looked at.
func (c Caller) Anonymous() bool { return !c.allowed && c.Expires.IsZero() }

// Has says whether the caller may do what a scope stands for.
func (c Caller) Has(scope string) bool { return c.allowed || slices.Contains(c.scopes, scope) }

// Need returns why the caller may not do what takes any of these sets of scopes, each of them
// whole; nil where the caller may.
func (c Caller) Need(anyOf ...[]string) error {
	if c.allowed || slices.ContainsFunc(anyOf, c.hasAll) {
		return nil
	}
	return lacking(c.Anonymous(), anyOf)
}

func (c Caller) hasAll(scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(c.scopes, scope) })
}

type callerKey struct{}

// WithCaller returns a context that says who sent the request.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who sent the request of a context. Where nobody said, that is a caller without a token.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
