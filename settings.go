package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
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

// Settings is the whole configuration: what the environment says, each part of it belonging to the
// package that uses it.
type Settings struct {
	// HTTPAddr is the address on which clients are served.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:":8080"`

	// AdminAddr is the address of health, metrics and profiles. Only operators should reach it.
	AdminAddr string `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9090"`

	// LogLevel is the least level of the lines that are logged: debug, info, warn or error.
	LogLevel string `env:"LOG_LEVEL" envDefault:"info"`

	// LogFormat is the form of log lines: text or json. Where it is empty a terminal gets text and
	// everything else gets JSON.
	LogFormat string `env:"LOG_FORMAT"`

	// TLSCert is a PEM file with the certificate that clients are shown, and with those of its
	// issuers. With it and [Settings.TLSKey] the server speaks TLS 1.2 and 1.3; without them it
	// speaks HTTP/1.1 and HTTP/2 in the clear, to a proxy that ends TLS. A change of either file is
	// noticed.
	TLSCert string `env:"HTTP_TLS_CERT"`

	// TLSKey is a PEM file with the private key of [Settings.TLSCert].
	TLSKey string `env:"HTTP_TLS_KEY"`

	// Tuning.

	// AuditRate is how many products a second the server compares with their log, in the
	// background. 0 turns that off.
	AuditRate int `env:"AUDIT_RATE" envDefault:"5"`

	// Projects is whether this server keeps the read model up to date. false is for measuring the
	// write side alone.
	Projects bool `env:"PROJECTION_ENABLED" envDefault:"true"`

	Store      eventstore.Config
	Leases     eventstore.LeasesConfig
	Kafka      command.Config
	Writer     command.WriterConfig
	Projection store.Config
	Inventory  inventory.Config
	Auth       auth.Config
	Graph      graph.Config
}

// settingsPage describes every setting, the ones that matter to an operator first. A test holds it
// to the comments of the settings.
//
//go:embed docs/settings.md
var settingsPage string

// settingRow is a row of the page: a variable, its default, and what it is.
var settingRow = regexp.MustCompile("(?m)^\\| `([A-Z0-9_]+)` \\| (\\S*) \\| (.*) \\|$")

// describeSettings writes the page for a terminal.
func describeSettings(w io.Writer) {
	page := strings.ReplaceAll(settingRow.ReplaceAllString(settingsPage, "  $1  $2\n      $3"), "`", "")
	for line := range strings.Lines(page) {
		if title := strings.TrimLeft(line, "#"); title != line {
			fmt.Fprintf(w, "\n%s", strings.TrimSpace(title)+"\n")
		} else if strings.HasPrefix(line, "  ") {
			fmt.Fprint(w, line)
		}
	}
}

// sentenceOf is what the page says of a variable.
func sentenceOf(name string) string {
	for _, row := range settingRow.FindAllStringSubmatch(settingsPage, -1) {
		if row[1] == name {
			return row[3]
		}
	}
	return ""
}

// readSettings reads the environment and returns every fault in it at once. No fault quotes a
// secret.
func readSettings() (Settings, error) {
	var s Settings
	faults, blamed := parse(&s)
	s.Kafka.InstanceID, s.Leases.Fixed = s.Leases.InstanceID, s.Leases.InstanceID != ""
	s.Leases.InstanceID = orRandom(s.Leases.InstanceID)
	checks := errors.Join(checkAddr("HTTP_ADDR", s.HTTPAddr), checkAddr("ADMIN_ADDR", s.AdminAddr), checkTLS(s.TLSCert, s.TLSKey),
		oneOf("LOG_LEVEL", s.LogLevel, "debug", "info", "warn", "error"), oneOf("LOG_FORMAT", s.LogFormat, "", "text", "json"),
		s.checkAuditRate(), s.Store.Validate(), s.Leases.Validate(), s.Kafka.Validate(), s.Writer.Validate(),
		s.Projection.Validate(), s.Inventory.Validate(), s.Auth.Validate(), s.Graph.Validate())
	for _, fault := range flatten(checks) {
		names := strings.Split(leadingNames.FindString(fault.Error()), ", ")
		if !slices.ContainsFunc(names, func(name string) bool { return blamed[name] }) { // one fault a variable is enough
			faults = append(faults, fault)
		}
	}
	return s, errors.Join(faults...)
}

// leadingNames are the variables that a fault is about: it begins with them.
var leadingNames = regexp.MustCompile(`^[A-Z0-9_]+(, [A-Z0-9_]+)*`)

// parse reads the variables and returns the faults of those that are missing or can't be read, and
// their names.
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
			blame(missing.Key, "it must be set. "+sentenceOf(missing.Key))
		case errors.As(fault, &empty):
			blame(empty.Key, "it must not be empty. "+sentenceOf(empty.Key))
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

// unreadableType returns the type that a variable can't be read as; nil where it can. The parser
// names the field that it could not set, of which there are several of one name in different
// packages, so each variable is tried alone.
func unreadableType(name string) reflect.Type {
	value, given := os.LookupEnv(name)
	var wrong env.AggregateError
	alone := env.Options{Environment: map[string]string{name: value}}
	if !given || !errors.As(env.ParseWithOptions(new(Settings), alone), &wrong) {
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
	named := slices.DeleteFunc(allowed, func(a string) bool { return a == "" })
	return fmt.Errorf("%s: it is %q; it can be %s", name, value, strings.Join(named, ", "))
}

func orRandom(id string) string {
	if id != "" {
		return id
	}
	return "product-service-" + strings.ToLower(rand.Text()[:8])
}
