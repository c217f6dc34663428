package main

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
)

// setenv gives the test this environment and no other of the program's.
func setenv(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, name := range variables(reflect.TypeFor[Settings]()) {
		t.Setenv(name, "")
		_ = os.Unsetenv(name) // t.Setenv restores it
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
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

func TestEveryFaultOfTheSettingsIsListedAtOnceAndNoSecretIsPrinted(t *testing.T) {
	setenv(t, map[string]string{
		"POSTGRES_URL": "postgres://user:hunter2@:notaport/x", "MONGODB_URL": "nonsense", "KAFKA_BROKERS": "localhost", "INVENTORY_URL": "ftp://inventory",
		"INVENTORY_TOKEN": "hunter3", "LEASE_TTL": "1ms", "HTTP_ADDR": "8080", "LOG_LEVEL": "loud", "AUTH_MODE": "password", "WRITER_LANES": "0",
	})
	var out, errs bytes.Buffer
	if code := run(t.Context(), nil, &out, &errs); code != exitRefused {
		t.Errorf("it ended with %d, not %d", code, exitRefused)
	}
	for _, name := range []string{"POSTGRES_URL", "MONGODB_URL", "KAFKA_BROKERS", "INVENTORY_URL", "LEASE_TTL", "HTTP_ADDR", "LOG_LEVEL", "AUTH_MODE", "WRITER_LANES"} {
		if !strings.Contains(errs.String(), name) {
			t.Errorf("the fault of %s isn't listed in:\n%s", name, errs.String())
		}
	}
	if strings.Contains(errs.String(), "hunter") {
		t.Errorf("a secret is printed:\n%s", errs.String())
	}
}

func TestMissingAndUnreadableSettingsAreListedTogetherWithTheRest(t *testing.T) {
	setenv(t, map[string]string{"LEASE_TTL": "soon", "HTTP_ADDR": "8080"})
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"migrate"}, &out, &errs); code != exitRefused {
		t.Errorf("it ended with %d, not %d", code, exitRefused)
	}
	for _, name := range []string{"POSTGRES_URL", "KAFKA_BROKERS", "MONGODB_URL", "INVENTORY_URL", "TTL", "HTTP_ADDR"} {
		if !strings.Contains(errs.String(), name) {
			t.Errorf("the fault of %s isn't listed in:\n%s", name, errs.String())
		}
	}
}

func TestEverySubcommandExplainsItselfOnOneScreen(t *testing.T) {
	setenv(t, nil)
	for _, sub := range subcommands {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{sub.name, "-h"}, &out, &errs); code != exitOK {
			t.Errorf("%s -h ended with %d", sub.name, code)
		}
		if said := errs.String(); !strings.Contains(said, sub.does) || strings.Count(said, "\n") > 24 {
			t.Errorf("%s -h said:\n%s", sub.name, said)
		}
	}
}

func TestACommandOrFlagThatIsNotThereIsRefused(t *testing.T) {
	for _, args := range [][]string{{"serv"}, {"serve", "-port", "1"}, {"migrate", "now"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitRefused {
			t.Errorf("%v ended with %d, not %d", args, code, exitRefused)
		}
	}
}

func TestEverySettingIsInTheManual(t *testing.T) {
	manual, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range variables(reflect.TypeFor[Settings]()) {
		if !bytes.Contains(manual, []byte("`"+name+"`")) {
			t.Errorf("docs/operations.md doesn't say what %s is for", name)
		}
	}
}
