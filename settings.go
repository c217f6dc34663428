package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"

	"product-service/command"
	"product-service/eventstore"
	"product-service/graph"
	"product-service/integration/inventory"
	"product-service/projection"
)

// Settings is the whole configuration: what the environment says, each part of it belonging to the package that uses it.
type Settings struct {
	HTTPAddr  string `env:"HTTP_ADDR" envDefault:":8080"`           // where clients are served
	AdminAddr string `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9090"` // health, metrics, profiles: not for the outside
	LogLevel  string `env:"LOG_LEVEL" envDefault:"info"`            // debug, info, warn or error
	LogFormat string `env:"LOG_FORMAT"`                             // text or json; text in a terminal and JSON elsewhere where empty

	// Projects is false for measuring the write side alone: nothing keeps the documents up to date then.
	Projects bool `env:"PROJECTION_ENABLED" envDefault:"true"`

	// AuditRate is how many products a second the server compares with their log, all the time; 0 is none.
	AuditRate int `env:"AUDIT_RATE" envDefault:"5"`

	Store      eventstore.Config
	Leases     eventstore.LeasesConfig
	Kafka      command.Config
	Writer     command.WriterConfig
	Projection projection.Config
	Inventory  inventory.Config
	Graph      graph.Config
}

// readSettings reads the environment and returns every fault in it at once. No fault quotes a secret.
func readSettings() (Settings, error) {
	var s Settings
	var faults []error
	blamed := map[string]bool{}
	var wrong env.AggregateError
	if err := env.Parse(&s); errors.As(err, &wrong) {
		for _, fault := range wrong.Errors {
			name, says := readable(fault)
			blamed[name] = true
			faults = append(faults, fmt.Errorf("%s: %s", name, says))
		}
	} else if err != nil {
		faults = append(faults, err)
	}
	s.Leases.InstanceID = orRandom(s.Leases.InstanceID)
	checks := errors.Join(checkAddr("HTTP_ADDR", s.HTTPAddr), checkAddr("ADMIN_ADDR", s.AdminAddr),
		oneOf("LOG_LEVEL", s.LogLevel, "debug", "info", "warn", "error"), oneOf("LOG_FORMAT", s.LogFormat, "", "text", "json"),
		s.Store.Validate(), s.Leases.Validate(), s.Kafka.Validate(), s.Writer.Validate(), s.Projection.Validate(), s.Inventory.Validate(), s.Graph.Validate())
	for _, fault := range flatten(checks) {
		known := false
		for name := range blamed {
			known = known || strings.Contains(fault.Error(), name)
		}
		if !known { // a variable that could not be read is not also blamed for being empty
			faults = append(faults, fault)
		}
	}
	return s, errors.Join(faults...)
}

// readable words a fault of the parser for a person: by the variable's name instead of the Go field's.
func readable(fault error) (name, says string) {
	var missing env.VarIsNotSetError
	var empty env.EmptyVarError
	var unparsable env.ParseError
	switch {
	case errors.As(fault, &missing):
		return missing.Key, "it must be set"
	case errors.As(fault, &empty):
		return empty.Key, "it must not be empty"
	case errors.As(fault, &unparsable):
		return variableOf(reflect.TypeFor[Settings](), unparsable.Name), fmt.Sprintf("it can't be read as a %s", unparsable.Type)
	}
	return "settings", fault.Error()
}

// variableOf finds the variable that a field is read from.
func variableOf(t reflect.Type, field string) string {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if name != "" && f.Name == field && os.Getenv(name) != "" {
			return name
		}
		if name == "" && f.Type.Kind() == reflect.Struct {
			if inner := variableOf(f.Type, field); inner != field {
				return inner
			}
		}
	}
	return field
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) // errors.As would look through a wrapping sentence and lose it
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func checkAddr(name, addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%s: %q is no address; it looks like :8080 or 127.0.0.1:8080", name, addr)
	}
	return nil
}

func oneOf(name, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: it is %q; it can be %s", name, value, strings.Join(allowed[min(1, len(allowed)-1):], ", "))
}

func orRandom(id string) string {
	if id != "" {
		return id
	}
	return "product-service-" + strings.ToLower(rand.Text()[:8])
}

// newLogger writes for people in a terminal and JSON elsewhere, unless told otherwise.
func newLogger(w io.Writer, s Settings) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // checked with the settings
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, options)
	if s.LogFormat == "text" || (s.LogFormat == "" && isTerminal(w)) {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(correlated{h}).With("instance", s.Leases.InstanceID)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// correlated adds the correlation id of the context to each line, so that no call site can forget it.
type correlated struct{ slog.Handler }

func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := inventory.CorrelationID(ctx); id != "" {
		r.AddAttrs(slog.String("correlation_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{h.Handler.WithAttrs(attrs)}
}
func (h correlated) WithGroup(name string) slog.Handler { return correlated{h.Handler.WithGroup(name)} }
