package eventstore

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/stack"
)

func TestMigrateTwiceAndAtOnce(t *testing.T) {
	url := stack.Postgres(t, nil)
	var starting sync.WaitGroup
	for range 3 {
		s := connect(t, url)
		starting.Go(func() {
			if version, err := s.Migrate(t.Context()); err != nil || version < 1 {
				t.Errorf("of those that start together one got version %d, %v", version, err)
			}
		})
	}
	starting.Wait()
	s := connect(t, url)
	schema := "select string_agg(format('%s.%s %s', table_name, column_name, data_type), ',' order by table_name, column_name) from information_schema.columns where table_schema = 'public'"
	before := one[string](t, s, schema)
	first := one[int64](t, s, "select max(version_id) from goose_db_version")
	if version := must[int64](t)(s.Migrate(t.Context())); version != first || one[string](t, s, schema) != before {
		t.Errorf("again it is at version %d, was at %d", version, first)
	}
	s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, uuid.Nil) }, uuid.Nil)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCommittedHints(t *testing.T) {
	s := open(t)
	a, b := s.Committed(), s.Committed()
	hinted := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	if hinted(a) {
		t.Error("a hint came before any commit")
	}
	id := inShard(1)
	s.write(t, func(*Snapshot, *Changes) {}, id)
	if hinted(a) {
		t.Error("a hint came for a transaction that wrote nothing")
	}
	for range 3 {
		s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, id) }, id)
	}
	if !hinted(a) || !hinted(b) || hinted(a) || hinted(b) {
		t.Error("three commits must give each reader that is behind one hint")
	}
	s.write(t, func(snapshot *Snapshot, c *Changes) { event(snapshot, c, id) }, id)
	if !hinted(a) || !hinted(b) {
		t.Error("the next commit gave no hint")
	}
}

func TestKnownCommandsAndHeads(t *testing.T) {
	s := open(t)
	id, command := inShard(1), uuid.New()
	if known(t, s, command) {
		t.Error("a command is known that never came")
	}
	if head := must[Head](t)(s.Head(t.Context(), id)); head != (Head{ProductID: id}) {
		t.Errorf("an absent head is %+v", head)
	}
	s.write(t, func(snapshot *Snapshot, c *Changes) {
		event(snapshot, c, id)
		c.Remember(InboxEntry{CommandID: command, Shard: 1, Pos: 1})
	}, id)
	if !known(t, s, command) {
		t.Error("the command is not known")
	}
	if heads := must[[]Head](t)(s.Heads(t.Context(), []uuid.UUID{inShard(1), id})); len(heads) != 1 || heads[0].ProductID != id || heads[0].Version != 1 {
		t.Errorf("the heads are %+v", heads)
	}
	if heads := must[[]Head](t)(s.Heads(t.Context(), nil)); len(heads) != 0 {
		t.Errorf("of no products the heads are %+v", heads)
	}
}

func TestDeadLettersAreKnownByTheirPlaceAndWhenTheyWereDealtWith(t *testing.T) {
	s := open(t)
	done := func() map[int64]time.Time {
		t.Helper()
		return must[map[int64]time.Time](t)(s.LettersDone(t.Context(), "a", 0))
	}
	for _, at := range []struct {
		topic     string
		partition int32
		offset    int64
	}{{"a", 0, 7}, {"a", 0, 8}, {"a", 1, 9}, {"b", 0, 9}} {
		if err := s.LetterDone(t.Context(), at.topic, at.partition, at.offset); err != nil {
			t.Fatal(err)
		}
	}
	first := done()
	if len(first) != 2 || first[7].IsZero() || first[8].Before(first[7]) {
		t.Errorf("dealt with are %v", first)
	}
	if err := s.LetterDone(t.Context(), "a", 0, 7); err != nil {
		t.Fatal(err)
	}
	if again := done(); !again[7].After(first[7]) || again[8] != first[8] {
		t.Errorf("after another letter at its place they are %v, before %v", again, first)
	}
}

func TestConfigValidate(t *testing.T) {
	good := "postgres://u:secret@localhost/db"
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"good":                 {Config{good, 12, time.Minute}, nil},
		"the least":            {Config{good, 4, time.Minute}, nil},
		"too few connections":  {Config{good, 3, time.Minute}, []string{"POSTGRES_MAX_CONNECTIONS", "3", "4 to 1000"}},
		"too many connections": {Config{good, 1001, time.Minute}, []string{"POSTGRES_MAX_CONNECTIONS", "1001"}},
		"too short a timeout":  {Config{good, 12, time.Millisecond}, []string{"POSTGRES_TIMEOUT", "1ms", "1s to 10m"}},
		"not a URL":            {Config{"postgres://u:secret@host:port/db", 12, time.Minute}, []string{"POSTGRES_URL", "postgres://user:password@"}},
		"both":                 {Config{"postgres://u:secret@host:port/db", 0, 0}, []string{"POSTGRES_URL", "POSTGRES_MAX_CONNECTIONS", "POSTGRES_TIMEOUT"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.config.Validate()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("it was answered by %v", err)
			}
			for _, word := range test.want {
				if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "secret") {
					t.Errorf("the fault is %q, want %q in it and no secret", err, word)
				}
			}
		})
	}
	if _, err := Open(t.Context(), Config{URL: "postgres://u:secret@host:port/db"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("opening a wrong URL gave %v", err)
	}
}

// What the URL says goes before the defaults.
func TestTheURLSetsParameters(t *testing.T) {
	url := stack.Postgres(t, nil)
	for parameters, want := range map[string]string{"": "product-service", "&application_name=audit": "audit"} {
		s := connect(t, url+parameters)
		if got := one[string](t, s, "show application_name"); got != want {
			t.Errorf("the application is %q, want %q", got, want)
		}
		if got := one[string](t, s, "show plan_cache_mode"); got != "force_generic_plan" {
			t.Errorf("plans are %q", got)
		}
	}
}
