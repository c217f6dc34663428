package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/graph/model"
)

// hash is the SHA-256 of a document's text, by which clients name documents.
type hash [sha256.Size]byte

func hashOf(text string) hash { return sha256.Sum256([]byte(text)) }

func (h hash) String() string { return hex.EncodeToString(h[:]) }

// parseHash reads a hash as clients write it.
func parseHash(text string) (h hash, ok bool) {
	if len(text) != hex.EncodedLen(len(h)) {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err == nil
}

// untrusted stands, where documents are counted, for all that are not trusted ones.
const untrusted = "other"

// document finds the document that a request brings or names, and admits it. A document can be
// named by its id among the trusted ones, or, once it was sent and was valid, by its hash (Apollo's
// automatic persisted queries). The id is [untrusted] for one that isn't trusted.
func (a *admission) document(ctx context.Context, req request) (doc *document, id string, refused gqlerror.List) {
	trusted := a.trusted.current()
	text := req.query
	switch {
	case req.documentID != "":
		if id, text = trusted.named(req.documentID); id == "" {
			return nil, "", refusal(DocumentNotTrusted, nil, "no trusted document has the id that documentId gives")
		}
	case req.persisted != "" && req.query == "":
		if id, text = trusted.named(req.persisted); id == "" {
			return a.registered(req.persisted)
		}
	case req.persisted != "":
		if id, text = trusted.named(req.persisted); id == "" || text != req.query {
			if !strings.EqualFold(hashOf(req.query).String(), req.persisted) {
				return nil, "", refusal(BadUserInput, nil, "extensions.persistedQuery.sha256Hash isn't the hash of the query that was sent with it")
			}
			id, text = trusted.holding(req.query), req.query
		}
	default:
		id = trusted.holding(req.query)
	}
	if id != "" {
		doc, refused = a.admit(text)
		return doc, id, refused
	}
	return a.stranger(ctx, text)
}

// registered finds a document that was sent before.
func (a *admission) registered(name string) (*document, string, gqlerror.List) {
	key, ok := parseHash(name)
	if !ok {
		return nil, "", refusal(BadUserInput, nil, "extensions.persistedQuery.sha256Hash must be the SHA-256 of a document, as 64 hexadecimal digits")
	}
	if a.limits.DocumentsMode == documentsEnforce {
		return nil, "", notTrusted()
	}
	doc, ok := a.kept.get(key)
	if !ok {
		return nil, "", refusal(PersistedQueryNotFound, nil, "PersistedQueryNotFound") // Apollo's clients know it by this message
	}
	return doc, untrusted, nil
}

// stranger admits a document that isn't trusted, as the mode says. Where introspection is on it may
// ask for the schema in every mode.
func (a *admission) stranger(ctx context.Context, text string) (*document, string, gqlerror.List) {
	enforced := a.limits.DocumentsMode == documentsEnforce
	if enforced && !a.introspection {
		return nil, "", notTrusted()
	}
	seen := false
	if a.limits.DocumentsMode == documentsLog {
		_, seen = a.kept.get(hashOf(text))
	}
	doc, refused := a.admit(text)
	switch {
	case refused != nil:
		return nil, "", refused
	case enforced && !introspects(doc):
		return nil, "", notTrusted()
	case a.limits.DocumentsMode == documentsLog && !seen:
		a.log.WarnContext(ctx, "a document that isn't trusted was executed", "document", hashOf(text).String(), "operation", operationNames(doc))
	}
	return doc, untrusted, nil
}

func notTrusted() gqlerror.List {
	return refusal(DocumentNotTrusted, nil, "only trusted documents are executed here, and this is none of them")
}

// operationNames are what the client calls the operations of a document, of a length that a log can take.
func operationNames(doc *document) string {
	names := make([]string, len(doc.Operations))
	for i, op := range doc.Operations {
		names[i] = op.Name
	}
	return model.Abbreviate(strings.Join(names, " "))
}

// introspects says whether a document asks for nothing but the schema.
func introspects(doc *document) bool {
	for _, op := range doc.Operations {
		for _, selection := range op.SelectionSet {
			if f, ok := selection.(*ast.Field); !ok || !strings.HasPrefix(f.Name, "__") {
				return false
			}
		}
	}
	return true
}
