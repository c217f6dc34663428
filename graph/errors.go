package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/correlation"
	"product-service/graph/auth"
	"product-service/graph/model"
)

// Code is the kind of an error, as errors[].extensions.code tells clients.
type Code string

// The codes of errors.
const (
	ParseFailed            Code = "GRAPHQL_PARSE_FAILED"
	ValidationFailed       Code = "GRAPHQL_VALIDATION_FAILED"
	BadUserInput           Code = "BAD_USER_INPUT"
	Unauthenticated        Code = "UNAUTHENTICATED"
	Forbidden              Code = "FORBIDDEN"
	InventoryUnavailable   Code = "INVENTORY_UNAVAILABLE"
	NotYetAvailable        Code = "NOT_YET_AVAILABLE"
	RateLimited            Code = "RATE_LIMITED"
	QueryTooLarge          Code = "QUERY_TOO_LARGE"
	QueryTooDeep           Code = "QUERY_TOO_DEEP"
	QueryTooComplex        Code = "QUERY_TOO_COMPLEX"
	PersistedQueryNotFound Code = "PERSISTED_QUERY_NOT_FOUND"
	DocumentNotTrusted     Code = "DOCUMENT_NOT_TRUSTED"
	InternalServerError    Code = "INTERNAL_SERVER_ERROR"
)

// fault is an error whose text is meant for clients. Every other error is internal: its text stays
// in the log.
type fault struct {
	code    Code
	message string
}

func (f *fault) Error() string { return f.message }

func faultf(code Code, format string, args ...any) *fault {
	return &fault{code: code, message: fmt.Sprintf(format, args...)}
}

func badInput(format string, args ...any) error { return faultf(BadUserInput, format, args...) }

// presenter turns errors into what clients see of them. It is the one place where an internal error
// ends, and is logged.
type presenter struct{ log *slog.Logger }

// present gives err its code and the request's correlation id. Its path and locations are what
// gqlgen found.
func (p presenter) present(ctx context.Context, err error) *gqlerror.Error {
	shown := &gqlerror.Error{}
	if at, ok := errors.AsType[*gqlerror.Error](err); ok {
		shown.Path, shown.Locations = at.Path, at.Locations
	}
	code, message := p.classify(ctx, err, shown)
	shown.Message = shorten(message)
	shown.Extensions = map[string]any{"code": code}
	if spent, ok := errors.AsType[*tooMuch](err); ok {
		shown.Extensions["retryAfter"] = spent.after
	}
	if id := correlation.ID(ctx); id != "" {
		shown.Extensions["correlationId"] = id
	}
	return shown
}

func (p presenter) classify(ctx context.Context, err error, at *gqlerror.Error) (Code, string) {
	if wrapped, ok := errors.AsType[*gqlerror.Error](err); ok && wrapped.Err != nil {
		err = wrapped.Err // what gqlgen wrote in front of it is for logs
	}
	if known, ok := errors.AsType[*fault](err); ok {
		return known.code, known.message
	}
	if spent, ok := errors.AsType[*tooMuch](err); ok {
		return RateLimited, spent.Error()
	}
	if refused, ok := errors.AsType[*auth.Refusal](err); ok {
		return refusalCode(refused), refused.Error()
	}
	if invalid, ok := errors.AsType[*model.InvalidValue](err); ok {
		return BadUserInput, invalid.Message
	}
	if unwritable, ok := errors.AsType[*model.Unwritable](err); ok {
		return InternalServerError, unwritable.Message
	}
	if code, message, ok := classifyRead(err); ok {
		return code, message
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		p.log.WarnContext(ctx, "a request ran out of time", "path", at.Path.String(), "error", err)
		return InternalServerError, "the request took too long"
	case errors.Is(ctx.Err(), context.Canceled):
		return InternalServerError, "the request was given up by its caller"
	}
	p.log.ErrorContext(ctx, "a request failed", "path", at.Path.String(), "error", err)
	return InternalServerError, "internal error; the correlation id leads to its cause in the service's log"
}

func refusalCode(r *auth.Refusal) Code {
	if r.Status == http.StatusForbidden {
		return Forbidden
	}
	return Unauthenticated
}

// recovered makes a panic an internal error, with where it came from.
func recovered(_ context.Context, cause any) error {
	return fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
}

// safely makes a panic of f an error. It is for goroutines of our own: gqlgen recovers in those it starts.
func safely(ctx context.Context, f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = recovered(ctx, cause)
		}
	}()
	return f()
}
