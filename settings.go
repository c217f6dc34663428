package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"product-service/command"
	"product-service/eventstore"
	"product-service/graph"
	"product-service/graph/auth"
	"product-service/integration/inventory"
	"product-service/projection/store"
)

// Settings is the whole configuration: what the environment says, each part of it belonging to the package that uses it.
type Settings struct {
	HTTPAddr  string `env:"HTTP_ADDR" envDefault:":8080"`           // where clients are served
	AdminAddr string `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9090"` // health, metrics, profiles: not for the outside

	// TLSCert and TLSKey are PEM files, with which clients are served by TLS; read again when they change. Without them clients are served
	// plainly, behind a proxy that ends TLS.
	TLSCert string `env:"HTTP_TLS_CERT"`
	TLSKey  string `env:"HTTP_TLS_KEY"`

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info"` // debug, info, warn or error
	LogFormat string `env:"LOG_FORMAT"`                  // text or json; text in a terminal and JSON elsewhere where empty

	// Projects is false for measuring the write side alone: nothing keeps the documents up to date then.
	Projects bool `env:"PROJECTION_ENABLED" envDefault:"true"`

	// AuditRate is how many products a second the server compares with their log, all the time; 0 is none.
	AuditRate int `env:"AUDIT_RATE" envDefault:"5"`

	Store      eventstore.Config
	Leases     eventstore.LeasesConfig
	Kafka      command.Config
	Writer     command.WriterConfig
	Projection store.Config
	Inventory  inventory.Config
	Auth       auth.Config
	Graph      graph.Config
}

// readSettings reads the environment and returns every fault in it at once. No fault quotes a secret.
func readSettings() (Settings, error) {
	var s Settings
	faults, blamed := parse(&s)
	s.Kafka.InstanceID, s.Leases.Fixed = s.Leases.InstanceID, s.Leases.InstanceID != ""
	s.Leases.InstanceID = orRandom(s.Leases.InstanceID)
	checks := errors.Join(checkAddr("HTTP_ADDR", s.HTTPAddr), checkAddr("ADMIN_ADDR", s.AdminAddr), checkTLS(s.TLSCert, s.TLSKey),
		oneOf("LOG_LEVEL", s.LogLevel, "debug", "info", "warn", "error"), oneOf("LOG_FORMAT", s.LogFormat, "", "text", "json"),
		s.checkAuditRate(), s.Store.Validate(), s.Leases.Validate(), s.Kafka.Validate(), s.Writer.Validate(), s.Projection.Validate(), s.Inventory.Validate(), s.Auth.Validate(), s.Graph.Validate())
	for _, fault := range flatten(checks) {
		known := func(name string) bool { return blamed[name] }
		if !slices.ContainsFunc(strings.Split(leadingNames.FindString(fault.Error()), ", "), known) { // what could not be read is not also blamed for being empty
			faults = append(faults, fault)
		}
	}
	return s, errors.Join(faults...)
}

// leadingNames are the variables that a fault is about: it begins with them.
var leadingNames = regexp.MustCompile(`^[A-Z0-9_]+(, [A-Z0-9_]+)*`)

// parse reads the variables and returns the faults of those that are missing or can't be read, and their names.
func parse(s *Settings) (faults []error, blamed map[string]bool) {
	blamed = map[string]bool{}
	blame := func(name, says string) {
		blamed[name] = true
		faults = append(faults, fmt.Errorf("%s: %s", name, says))
	}
	var wrong env.AggregateError
	if err := env.Parse(s); !errors.As(err, &wrong) {
		if err != nil {
			faults = append(faults, err)
		}
		return faults, blamed
	}
	var missing env.VarIsNotSetError
	var empty env.EmptyVarError
	var unreadable env.ParseError
	for _, fault := range wrong.Errors {
		switch {
		case errors.As(fault, &missing):
			blame(missing.Key, "it must be set")
		case errors.As(fault, &empty):
			blame(empty.Key, "it must not be empty")
		case !errors.As(fault, &unreadable): // those are found one by one
			faults = append(faults, fault)
		}
	}
	for _, name := range variables(reflect.TypeFor[Settings]()) {
		if t := unreadableType(name); t != nil {
			blame(name, "it can't be read; it must be "+described(t))
		}
	}
	return faults, blamed
}

// unreadableType returns the type that a variable can't be read as; nil where it can. The parser names the field that it could not set, of
// which there are several of one name in different packages, so each variable is tried alone.
func unreadableType(name string) reflect.Type {
	value, given := os.LookupEnv(name)
	var wrong env.AggregateError
	if !given || !errors.As(env.ParseWithOptions(new(Settings), env.Options{Environment: map[string]string{name: value}}), &wrong) {
		return nil
	}
	for _, fault := range wrong.Errors {
		if unreadable, ok := errors.AsType[env.ParseError](fault); ok {
			return unreadable.Type
		}
	}
	return nil
}

func described(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration](), t == reflect.TypeFor[command.Duration]():
		return "a duration, such as 5s or 1h30m"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "a whole number"
	}
	return "a " + t.String()
}

// variables returns the names of the variables that a settings type reads.
func variables(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" {
			names = append(names, name)
		} else if f.Type.Kind() == reflect.Struct {
			names = append(names, variables(f.Type)...)
		}
	}
	return names
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
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = new(net.Resolver).LookupPort(context.Background(), "tcp", port) // a number, or a name that the system knows
	}
	if err != nil {
		return fmt.Errorf("%s: %q is no address; it looks like :8080 or 127.0.0.1:8080", name, addr)
	}
	return nil
}

func (s Settings) checkAuditRate() error {
	if s.AuditRate < 0 {
		return fmt.Errorf("AUDIT_RATE: it is %d; it must be 0 or more", s.AuditRate)
	}
	return nil
}

func oneOf(name, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: it is %q; it can be %s", name, value, strings.Join(slices.DeleteFunc(allowed, func(a string) bool { return a == "" }), ", "))
}

func orRandom(id string) string {
	if id != "" {
		return id
	}
	return "product-service-" + strings.ToLower(rand.Text()[:8])
}
