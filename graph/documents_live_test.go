package graph

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// named are the parameters of a request that names its document, and may bring it along.
func named(query, hash, documentID string, variables map[string]any) map[string]any {
	params := map[string]any{}
	if query != "" {
		params["query"] = query
	}
	if hash != "" {
		params["extensions"] = map[string]any{"persistedQuery": map[string]any{"version": 1, "sha256Hash": hash}}
	}
	if documentID != "" {
		params["documentId"] = documentID
	}
	if variables != nil {
		params["variables"] = variables
	}
	return params
}

// firstOf is the first response to a request.
type firstOf func(t *testing.T, params map[string]any) string

// transports are the ways, besides a plain request, in which an operation can come.
func (s *liveServer) transports(t *testing.T) map[string]firstOf {
	t.Helper()
	byEvents := func(method string) firstOf {
		return func(t *testing.T, params map[string]any) string {
			t.Helper()
			stream := s.eventsOf(t, method, params, nil)
			defer stream.Body.Close()
			got := stream.next()
			if stream.StatusCode != http.StatusOK || got.event != "next" {
				t.Fatalf("%d %+v", stream.StatusCode, got)
			}
			return got.data
		}
	}
	return map[string]firstOf{
		"events by GET": byEvents(http.MethodGet), "events by POST": byEvents(http.MethodPost),
		"a WebSocket": func(t *testing.T, params map[string]any) string {
			t.Helper()
			client := s.connected(t)
			defer client.CloseNow()
			client.subscribe("1", params)
			switch got := client.hear(); got.Type {
			case "next":
				return string(got.Payload)
			case "error":
				return `{"errors":` + string(got.Payload) + `}`
			default:
				t.Fatalf("got %+v", got)
				return ""
			}
		},
	}
}

// refusedWith says whether a response has this one error, and no data.
func refusedWith(t *testing.T, response string, code Code, words string) bool {
	t.Helper()
	var got struct {
		Data   json.RawMessage
		Errors []struct {
			Message    string
			Extensions struct{ Code Code }
		}
	}
	if err := json.Unmarshal([]byte(response), &got); err != nil {
		t.Fatalf("%v: %s", err, response)
	}
	return got.Data == nil && len(got.Errors) == 1 && got.Errors[0].Extensions.Code == code && strings.Contains(got.Errors[0].Message, words)
}

// A document is known by its hash once it was sent and was valid, over each transport, and from each to the
// others: queries and subscriptions.
func TestDocumentsAreKnownByTheirHashesOverEachTransport(t *testing.T) {
	id := uuid.New()
	s := serveLive(t, newShelf(id).fakes, nil)
	variables := map[string]any{"ids": []string{id.String()}}
	all := s.transports(t)
	for over, first := range all {
		t.Run(over, func(t *testing.T) {
			for _, query := range []string{"query Q" + uuid.NewString()[:8] + " { products { totalCount } }", followStock + " # " + over} {
				hash := hashOf(query).String()
				given := variables
				if query[0] == 'q' {
					given = nil
				}
				if got := first(t, named("", hash, "", given)); !refusedWith(t, got, PersistedQueryNotFound, "PersistedQueryNotFound") {
					t.Errorf("before it was sent: %s", got)
				}
				if got := first(t, named(query+" ", hash, "", given)); !refusedWith(t, got, BadUserInput, "isn't the hash of the query") {
					t.Errorf("another text with its hash: %s", got)
				}
				if got := first(t, named("", hash, "", given)); !refusedWith(t, got, PersistedQueryNotFound, "PersistedQueryNotFound") {
					t.Errorf("it was taken for that text: %s", got)
				}
				if got := first(t, named(query, hash, "", given)); !strings.HasPrefix(got, `{"data":{`) {
					t.Errorf("sent with its hash: %s", got)
				}
				for other, later := range all {
					if got := later(t, named("", strings.ToUpper(hash), "", given)); !strings.HasPrefix(got, `{"data":{`) {
						t.Errorf("once it was sent, over %s: %s", other, got)
					}
				}
			}
			const wrong = "subscription { nothing }"
			if got := first(t, named(wrong, hashOf(wrong).String(), "", nil)); !refusedWith(t, got, ValidationFailed, "nothing") {
				t.Errorf("a document that isn't valid: %s", got)
			}
			if got := first(t, named("", hashOf(wrong).String(), "", nil)); !refusedWith(t, got, PersistedQueryNotFound, "PersistedQueryNotFound") {
				t.Errorf("it is known all the same: %s", got)
			}
			if got := first(t, named("", "17", "", nil)); !refusedWith(t, got, BadUserInput, "64 hexadecimal digits") {
				t.Errorf("a hash that is none: %s", got)
			}
			if got := first(t, named("", "", "names.1", nil)); !refusedWith(t, got, DocumentNotTrusted, "no trusted document has the id") {
				t.Errorf("the id of a trusted document where there are none: %s", got)
			}
		})
	}
}

// Where trusted documents are enforced, they are found by their ids, hashes and texts over each transport,
// and nothing else is executed, followed or kept.
func TestTrustedDocumentsAreEnforcedOverEachTransport(t *testing.T) {
	id := uuid.New()
	s := serveLive(t, newShelf(id).fakes, nil, "GRAPHQL_INTROSPECTION", "off", "GRAPHQL_DOCUMENTS_MODE", documentsEnforce,
		"GRAPHQL_DOCUMENTS", writeManifest(t, apolloManifest("names.1", trustedQuery, "follow.1", followStock)))
	variables := map[string]any{"ids": []string{id.String()}}
	for over, first := range s.transports(t) {
		t.Run(over, func(t *testing.T) {
			for name, params := range map[string]map[string]any{
				"a query by its id": named("", "", "names.1", nil), "by its hash": named("", "", "sha256:"+hashOf(trustedQuery).String(), nil),
				"by its hash as a persisted query": named("", hashOf(trustedQuery).String(), "", nil), "by its text": named(trustedQuery, "", "", nil),
				"by its text and hash":     named(trustedQuery, hashOf(trustedQuery).String(), "", nil),
				"a subscription by its id": named("", "", "follow.1", variables), "by its hash ": named("", hashOf(followStock).String(), "", variables),
				"by its text ": named(followStock, "", "", variables),
			} {
				if got := first(t, params); !strings.HasPrefix(got, `{"data":{`) {
					t.Errorf("%s: %s", name, got)
				}
			}
			for _, query := range []string{"{ __typename }", followStock + " ", "{ __schema { queryType { name } } }", "{", "subscription { nothing }"} {
				for name, params := range map[string]map[string]any{
					"text": named(query, "", "", variables), "hash": named("", hashOf(query).String(), "", variables), "text and hash": named(query, hashOf(query).String(), "", variables),
				} {
					if got := first(t, params); !refusedWith(t, got, DocumentNotTrusted, "only trusted documents are executed here") {
						t.Errorf("%q by its %s: %s", query, name, got)
					}
				}
			}
			for _, unknown := range []string{"names.2", "sha256:" + hashOf("{ __typename }").String(), "../names.1"} {
				if got := first(t, named("", "", unknown, nil)); !refusedWith(t, got, DocumentNotTrusted, "no trusted document has the id") {
					t.Errorf("the id %s: %s", unknown, got)
				}
			}
		})
	}
}

// A request that names two documents, or names one in a way that isn't one, isn't of the protocol.
func TestNamesOfDocumentsThatContradictAreRefusedOverEachTransport(t *testing.T) {
	s := serveLive(t, newShelf().fakes, nil)
	twice := named("{ __typename }", "", "names.1", nil)
	wrong := map[string]any{"extensions": map[string]any{"persistedQuery": map[string]any{"version": 2, "sha256Hash": hashOf("{__typename}").String()}}}
	for _, c := range []struct {
		params map[string]any
		words  string
	}{{twice, "documentId names a document"}, {wrong, "extensions.persistedQuery must be an object with version"}, {map[string]any{"documentId": 1}, "documentId"}} {
		client := s.connected(t)
		client.subscribe("1", c.params)
		if code, reason := client.closing(); code != closeBadMessage || !strings.Contains(reason, c.words) {
			t.Errorf("%v: a WebSocket is closed with %d %q", c.params, code, reason)
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if _, number := c.params["documentId"].(int); number && method == http.MethodGet {
				continue // a URL has texts only
			}
			got := s.eventsOf(t, method, c.params, nil)
			body := make([]byte, 2000)
			n, _ := got.Body.Read(body)
			if got.StatusCode != http.StatusBadRequest || !strings.HasPrefix(got.Header.Get("Content-Type"), mediaJSON) || !strings.Contains(string(body[:n]), string(BadUserInput)) ||
				!strings.Contains(string(body[:n]), c.words) {
				t.Errorf("%v by %s: %d %s", c.params, method, got.StatusCode, body[:n])
			}
		}
	}
}
