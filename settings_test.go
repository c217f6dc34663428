package main

import (
	"bytes"
	"maps"
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
	setenv(t, map[string]string{"LEASE_TTL": "soon", "HTTP_ADDR": "8080"}) // and who callers are isn't said either
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"migrate"}, &out, &errs); code != exitRefused {
		t.Errorf("it ended with %d, not %d", code, exitRefused)
	}
	for _, name := range []string{"POSTGRES_URL", "KAFKA_BROKERS", "MONGODB_URL", "INVENTORY_URL", "TTL", "HTTP_ADDR", "AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_JWKS_URL"} {
		if !strings.Contains(errs.String(), name) {
			t.Errorf("the fault of %s isn't listed in:\n%s", name, errs.String())
		}
	}
}

// good are settings without a fault.
func good(change map[string]string) map[string]string {
	vars := map[string]string{"POSTGRES_URL": "postgres://u:p@h/x", "MONGODB_URL": "mongodb://h", "KAFKA_BROKERS": "h:1", "INVENTORY_URL": "http://127.0.0.1:1", "AUTH_MODE": "none"}
	maps.Copy(vars, change)
	return vars
}

func TestExactlyTheSettingsThatAreWrongAreBlamed(t *testing.T) {
	for _, x := range []struct {
		vars map[string]string
		want []string // each fault's beginning
	}{
		{nil, nil},
		{map[string]string{"HTTP_ADDR": "127.0.0.1:https", "ADMIN_ADDR": ":0"}, nil},
		{map[string]string{"GRAPHQL_CONCURRENCY": "abc", "INVENTORY_CONCURRENCY": "5"}, []string{"GRAPHQL_CONCURRENCY: it can't be read; it must be a whole number"}},
		{map[string]string{"GRAPHQL_CONCURRENCY": "5", "INVENTORY_CONCURRENCY": "abc"}, []string{"INVENTORY_CONCURRENCY: it can't be read; it must be a whole number"}},
		{map[string]string{"GRAPHQL_CONCURRENCY": "x", "INVENTORY_CONCURRENCY": "y"}, []string{"INVENTORY_CONCURRENCY: ", "GRAPHQL_CONCURRENCY: "}},
		{map[string]string{"KAFKA_TLS": "maybe", "KAFKA_TLS_CERT": "/x"}, []string{"KAFKA_TLS: it can't be read; it must be true or false", "KAFKA_TLS_CERT, KAFKA_TLS_KEY: "}},
		{map[string]string{"PROJECTION_MAX_PAGE": "all"}, []string{"PROJECTION_MAX_PAGE: it can't be read"}},
		{map[string]string{"LOG_LEVEL": "loud", "LOG_FORMAT": "xml"}, []string{"LOG_LEVEL: it is \"loud\"; it can be debug, info, warn, error", "LOG_FORMAT: it is \"xml\"; it can be text, json"}},
		{map[string]string{"AUTH_MODE": "jwt"}, []string{"AUTH_ISSUER: ", "AUTH_AUDIENCE: ", "AUTH_JWKS_URL: "}},
		{map[string]string{"AUTH_MODE": "jwt", "AUTH_ISSUER": "i", "AUTH_AUDIENCE": "a", "AUTH_JWKS_URL": "http://login.example/keys"}, []string{"AUTH_JWKS_URL: it is not encrypted"}},
		{map[string]string{"AUDIT_RATE": "-5"}, []string{"AUDIT_RATE: it is -5; it must be 0 or more"}},
		{map[string]string{"HTTP_ADDR": ":99999", "ADMIN_ADDR": "127.0.0.1:http-x"}, []string{"HTTP_ADDR: \":99999\" is no address", "ADMIN_ADDR: "}},
		{map[string]string{"MONGODB_URL": "mongodb://u:hunter%2@h:27017/x", "POSTGRES_TIMEOUT": "1ms"}, []string{"POSTGRES_TIMEOUT: ", "MONGODB_URL: it is no MongoDB connection string"}},
	} {
		setenv(t, good(x.vars))
		_, err := readSettings()
		faults := flatten(err)
		if len(faults) != len(x.want) || (err != nil && strings.Contains(err.Error(), "hunter")) {
			t.Errorf("%v: %v", x.vars, err)
			continue
		}
		for i, want := range x.want {
			if !strings.HasPrefix(faults[i].Error(), want) {
				t.Errorf("%v: fault %d is %q, want %q …", x.vars, i, faults[i], want)
			}
		}
	}
}

func TestAnAuditRateBelowNoneIsRefused(t *testing.T) {
	setenv(t, good(nil))
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"audit", "-rate", "-1"}, &out, &errs); code != exitRefused || !strings.Contains(errs.String(), "0 or more") {
		t.Errorf("it ended with %d and said %q", code, errs.String())
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

func TestHelpListsEverySettingAndWhatMattersFirst(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-help"}, &out, &errs); code != exitOK {
		t.Errorf("-help ended with %d and said %s", code, errs.String())
	}
	help := out.String()
	for _, name := range variables(reflect.TypeFor[Settings]()) {
		if !strings.Contains(help, "\n  "+name+" ") {
			t.Errorf("-help doesn't say what %s is", name)
		}
	}
	for _, name := range []string{"POSTGRES_URL", "MONGODB_URL", "KAFKA_BROKERS", "INVENTORY_URL", "AUTH_JWKS_URL"} {
		if at := strings.Index(help, "\n  "+name+" "); at < 0 || strings.Count(help[:at], "\n") > 40 {
			t.Errorf("%s isn't among the first", name)
		}
	}
}
