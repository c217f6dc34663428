package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The modes of trusted documents: what becomes of a document that is none of them.
const (
	documentsOpen    = "open"    // it is executed
	documentsLog     = "log"     // it is executed, and logged
	documentsEnforce = "enforce" // it is refused
)

const (
	maxManifest       = 8 << 20 // bytes of the file
	maxTrusted        = 5000    // documents in it
	maxTrustedID      = 200     // bytes of an id
	maxManifestFaults = 20      // that are told of one file
	manifestLook      = 250 * time.Millisecond
)

// checkDocuments returns what is wrong with the settings of trusted documents, and with the file itself.
func (c Config) checkDocuments() []error {
	switch {
	case !slices.Contains([]string{documentsOpen, documentsLog, documentsEnforce}, c.DocumentsMode):
		return []error{fmt.Errorf("GRAPHQL_DOCUMENTS_MODE=%q is no mode; allowed: open, log, enforce", c.DocumentsMode)}
	case c.Documents == "" && c.DocumentsMode != documentsOpen:
		return []error{fmt.Errorf("GRAPHQL_DOCUMENTS_MODE=%s has nothing to go by; allowed with GRAPHQL_DOCUMENTS alone", c.DocumentsMode)}
	case c.Documents == "":
		return nil
	}
	judge := &admission{schema: schemaWithoutDefer(), limits: c, introspection: c.Introspection == "on"}
	_, faults := readManifest(c.Documents, judge.check)
	for i, fault := range faults {
		faults[i] = fmt.Errorf("GRAPHQL_DOCUMENTS: %w", fault)
	}
	return faults
}

// trusted are the documents of a manifest, and those of the console.
type trusted struct {
	texts map[string]string // by id
	ids   map[hash]string
}

// newTrusted returns what is trusted without a manifest.
func newTrusted() *trusted {
	t := &trusted{texts: map[string]string{}, ids: map[hash]string{}}
	for id, text := range consoleDocuments() {
		t.add(id, text)
	}
	return t
}

func (t *trusted) add(id, text string) {
	t.texts[id] = text
	if key := hashOf(text); t.ids[key] == "" {
		t.ids[key] = id
	}
}

// named finds a document by its id, its hash, or its hash as the persisted documents draft of
// GraphQL over HTTP writes it: sha256:<hex>. The id is "" where there is none.
func (t *trusted) named(name string) (id, text string) {
	if text, ok := t.texts[name]; ok {
		return name, text
	}
	if key, ok := parseHash(strings.TrimPrefix(name, "sha256:")); ok {
		id = t.ids[key]
	}
	return id, t.texts[id]
}

// holding is the id of the document with this text, or "".
func (t *trusted) holding(text string) string {
	if len(t.ids) == 0 {
		return ""
	}
	return t.ids[hashOf(text)]
}

// manifest is a file of trusted documents, read again when it changes. A file that can't be used is
// logged, and leaves those of before.
type manifest struct {
	file    string
	valid   func(document string) error
	log     *slog.Logger
	changed func(before, now *trusted)

	now    atomic.Pointer[trusted]
	looked atomic.Int64 // when, in nanoseconds

	mu    sync.Mutex // held by the one who looks
	stamp string
}

// current returns the documents that are trusted now. Every so often one of its callers looks
// whether the file changed.
func (m *manifest) current() *trusted {
	if at := time.Now().UnixNano(); m.file != "" && at-m.looked.Load() > int64(manifestLook) && m.mu.TryLock() {
		defer m.mu.Unlock()
		m.looked.Store(at)
		m.look()
	}
	return m.now.Load()
}

func (m *manifest) look() {
	stamp := fileStamp(m.file)
	if stamp == m.stamp {
		return
	}
	m.stamp = stamp
	next, faults := readManifest(m.file, m.valid)
	if len(faults) > 0 {
		m.log.Error("the file of trusted documents changed and can't be used: those of before stay trusted", "file", m.file, "error", errors.Join(faults...))
		return
	}
	m.log.Info("the trusted documents were read again", "file", m.file, "documents", len(next.texts))
	m.changed(m.now.Swap(next), next)
}

// fileStamp tells one content of a file from another.
func fileStamp(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return "absent"
	}
	return fmt.Sprint(info.Size(), info.ModTime())
}

// readManifest reads a file of trusted documents and returns every fault in it, up to a bound.
func readManifest(file string, valid func(string) error) (t *trusted, faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	content, err := readFile(file)
	if err != nil {
		return nil, []error{err}
	}
	operations, err := parseManifest(content)
	switch {
	case err != nil:
		return nil, []error{err}
	case len(operations) > maxTrusted:
		fault("it has %d documents; it can have %d", len(operations), maxTrusted)
		return nil, faults
	}
	t = newTrusted()
	for _, op := range operations {
		key := hashOf(op.Body)
		before, twice := t.texts[op.ID]
		named, hashed := strings.CutPrefix(op.ID, "sha256:")
		switch {
		case op.ID == "" || len(op.ID) > maxTrustedID:
			fault("document %q: its id has %d characters; it must have 1 to %d", op.ID[:min(len(op.ID), 40)], len(op.ID), maxTrustedID)
		case twice && before != op.Body:
			fault("document %q: two documents have this id", op.ID)
		case hashed && !strings.EqualFold(named, key.String()):
			fault("document %q: the id names the hash of another text", op.ID)
		default:
			if err := valid(op.Body); err != nil {
				fault("document %q: %w", op.ID, err)
			}
		}
		t.add(op.ID, op.Body)
		if len(faults) == maxManifestFaults {
			fault("there may be more")
			break
		}
	}
	return t, faults
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("the file can't be read: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("the file can't be read: %w", err)
	}
	if len(content) > maxManifest {
		return nil, fmt.Errorf("the file has more than %d bytes, which is the most it can have", maxManifest)
	}
	return content, nil
}

// trustedOperation is an operation of Apollo's manifest.
type trustedOperation struct{ ID, Body string }

// parseManifest reads Apollo's persisted query manifest, or what Relay's compiler writes: an object
// of id and text.
func parseManifest(content []byte) ([]trustedOperation, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(content, &fields); err != nil || fields == nil {
		return nil, errors.New("it is no JSON object; it must be Apollo's persisted query manifest, or an object of ids and texts as Relay's compiler writes it")
	}
	var format string
	if json.Unmarshal(fields["format"], &format) == nil && fields["operations"] != nil {
		var apollo struct {
			Version    int
			Operations []trustedOperation
		}
		switch err := json.Unmarshal(content, &apollo); {
		case format != "apollo-persisted-query-manifest" || apollo.Version != 1:
			return nil, fmt.Errorf("it is of format %q, version %d; it must be apollo-persisted-query-manifest, version 1", format, apollo.Version)
		case err != nil:
			return nil, errors.New("its operations can't be read; each must be an object with the texts id, name, type and body")
		}
		return apollo.Operations, nil
	}
	operations := make([]trustedOperation, 0, len(fields))
	for _, id := range slices.Sorted(maps.Keys(fields)) {
		op := trustedOperation{ID: id}
		if err := json.Unmarshal(fields[id], &op.Body); err != nil {
			return nil, fmt.Errorf("document %q is no text; a file as Relay's compiler writes it is an object of ids and texts", id[:min(len(id), 40)])
		}
		operations = append(operations, op)
	}
	return operations, nil
}
