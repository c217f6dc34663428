package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// Wrong settings end the start with 2, and say every fault at once and no secret.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	w := &world{t: t, brokers: []string{"127.0.0.1:1"}, postgres: "postgres://127.0.0.1:1/x", mongo: "mongodb://127.0.0.1:1", database: "x", inventory: "http://127.0.0.1:1"}
	const secret = "hunter2-is-secret"
	faults := []string{
		"POSTGRES_URL", "MONGODB_URL", "KAFKA_BROKERS", "KAFKA_PARTITIONS", "INVENTORY_URL", "INVENTORY_INIT_POLICY", "LEASE_TTL",
		"INBOX_RETENTION", "AUTH_MODE", "GRAPHQL_INTROSPECTION", "HTTP_ADDR", "LOG_LEVEL",
	}
	env := []string{
		"POSTGRES_URL=" + secret, "MONGODB_URL=http://u:" + secret + "@x", "KAFKA_BROKERS=nowhere", "KAFKA_PARTITIONS=0", "INVENTORY_URL=ftp://u:" + secret + "@x",
		"INVENTORY_INIT_POLICY=hope", "LEASE_TTL=1ms", "INBOX_RETENTION=1s", "AUTH_MODE=perhaps", "GRAPHQL_INTROSPECTION=maybe",
		"HTTP_ADDR=here", "LOG_LEVEL=chatty", "KAFKA_SASL_PASSWORD=" + secret,
	}
	for _, command := range []string{"serve", "migrate", "rebuild", "replay", "audit"} {
		stdout, stderr, code := w.run(env, command)
		if code != 2 {
			t.Errorf("%s ends with %d, it must be 2: %s", command, code, stderr)
		}
		for _, name := range faults {
			if !strings.Contains(stderr, name) {
				t.Errorf("%s doesn't say that %s is wrong: %s", command, name, stderr)
			}
		}
		if strings.Contains(stdout+stderr, secret) {
			t.Errorf("%s shows a secret: %s%s", command, stdout, stderr)
		}
	}
}

func TestUnreadableSettings(t *testing.T) {
	t.Parallel()
	w := &world{t: t, brokers: []string{"127.0.0.1:1"}, postgres: "postgres://127.0.0.1:1/x", mongo: "mongodb://127.0.0.1:1", database: "x", inventory: "http://127.0.0.1:1"}
	_, stderr, code := w.run([]string{"LEASE_TTL=soon", "KAFKA_PARTITIONS=many"}, "serve")
	if code != 2 || !strings.Contains(stderr, "LEASE_TTL") || !strings.Contains(stderr, "KAFKA_PARTITIONS") {
		t.Errorf("it ends with %d: %s", code, stderr)
	}
	_, stderr, code = run(t, []string{"AUTH_MODE=none"}, "serve")
	if code != 2 {
		t.Errorf("without settings it ends with %d", code)
	}
	for _, name := range []string{"POSTGRES_URL", "MONGODB_URL", "KAFKA_BROKERS", "INVENTORY_URL"} {
		if !strings.Contains(stderr, name) {
			t.Errorf("it doesn't say that %s is missing: %s", name, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"serve", "-h"}, {"migrate", "-h"}, {"rebuild", "-h"}, {"replay", "-h"}, {"audit", "-h"}} {
		stdout, stderr, code := run(t, nil, args...)
		if code != 0 || len(stdout+stderr) < 30 || !strings.Contains(stdout+stderr, "product-service "+strings.TrimSuffix(strings.Join(args, " "), "-h")) {
			t.Errorf("%v ends with %d and says %q", args, code, stdout+stderr)
		}
	}
	for _, args := range [][]string{{"dance"}, {"audit", "-dance"}, {"serve", "now"}} {
		if stdout, stderr, code := run(t, nil, args...); code != 2 || stderr == "" {
			t.Errorf("%v ends with %d and says %q", args, code, stdout+stderr)
		}
	}
}

// Without its databases the server says so and ends; it isn't a wrong setting.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	w := &world{t: t, brokers: []string{"127.0.0.1:1"}, postgres: "postgres://127.0.0.1:1/x?connect_timeout=2", mongo: "mongodb://127.0.0.1:1", database: "x", inventory: "http://127.0.0.1:1"}
	_, stderr, code := w.run(nil, "migrate")
	if code != 1 || !strings.Contains(stderr, "127.0.0.1:1") {
		t.Errorf("it ends with %d: %s", code, stderr)
	}
}

// The probes tell the truth, on both addresses, and SIGTERM ends the server with 0.
func TestProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start()
	for _, url := range []string{s.http + "/livez", s.http + "/readyz", s.admin + "/livez", s.admin + "/readyz", s.admin + "/metrics", s.http + "/"} {
		if status, _, err := get("http://" + url); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %v", url, status, err)
		}
	}
	if status, _, err := get("http://" + s.http + "/metrics"); err != nil || status != http.StatusNotFound {
		t.Errorf("/metrics is served to everybody: %d %v", status, err)
	}
	if _, _, err := w.run(nil, "migrate"); err != 0 {
		t.Errorf("migrate beside a running server ends with %d", err)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("after SIGTERM the server ended with %d:\n%s", code, s.complaints())
	}
}
