package graph

import (
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/plan"
)

// maxPlans is how many plans are kept of one document.
const maxPlans = 4

// document is an admitted document with the plans of its operations. Nobody writes to the document itself.
type document struct {
	*ast.QueryDocument
	conditions []string // the variables that its @skip and @include may depend on

	mu    sync.Mutex
	plans map[string]*plan.Plan // by operation and the values of the conditions
	rules map[*ast.OperationDefinition][]rule
}

func newDocument(doc *ast.QueryDocument) *document {
	d := &document{QueryDocument: doc, plans: map[string]*plan.Plan{}, rules: map[*ast.OperationDefinition][]rule{}}
	for _, op := range doc.Operations {
		for _, v := range op.VariableDefinitions {
			if v.Type.NamedType == "Boolean" {
				d.conditions = append(d.conditions, v.Variable)
			}
		}
	}
	return d
}

// needs returns the rules of what an operation selects.
func (d *document) needs(s scopes, op *ast.OperationDefinition) []rule {
	d.mu.Lock()
	defer d.mu.Unlock()
	rules, known := d.rules[op]
	if !known {
		rules = s.below(op)
		d.rules[op] = rules
	}
	return rules
}

// plan returns the plan of an operation for the values of its variables.
func (d *document) plan(schema *ast.Schema, op *graphql.OperationContext) *plan.Plan {
	key := op.Operation.Name
	if len(d.conditions) > 0 {
		var values strings.Builder
		values.WriteString(key)
		for _, name := range d.conditions {
			if op.Variables[name] == true {
				values.WriteString("+")
			} else {
				values.WriteString("-")
			}
		}
		key = values.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.plans[key]; known != nil {
		return known
	}
	if len(d.plans) == maxPlans {
		clear(d.plans)
	}
	made := plan.Compile(schema, op)
	d.plans[key] = made
	return made
}

// documentStore keeps admitted documents; those asked for least recently go first. Only what was
// valid gets in.
type documentStore struct {
	most int64 // bytes

	mu   sync.Mutex
	kept *simplelru.LRU[hash, keptDocument]
	size int64
}

type keptDocument struct {
	doc  *document
	size int64
}

func newDocumentStore(most int64) *documentStore {
	s := &documentStore{most: most}
	s.kept, _ = simplelru.NewLRU(1<<20, func(_ hash, d keptDocument) { s.size -= d.size }) // it refuses only a size below 1
	return s
}

func (s *documentStore) get(key hash) (*document, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.kept.Get(key)
	return d.doc, ok
}

func (s *documentStore) add(key hash, text string, doc *document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.kept.Peek(key); ok {
		return
	}
	d := keptDocument{doc, documentSize(text)}
	s.kept.Add(key, d)
	for s.size += d.size; s.size > s.most; {
		s.kept.RemoveOldest()
	}
}

// documentSize is about what a parsed document and its plans take in memory: its text, and a node
// and a field of each plan for each of the names in it.
func documentSize(text string) int64 {
	const node = 300 + maxPlans*300 // bytes, measured: 190 to 230, and 150 to 300
	names, within := int64(0), false
	for _, c := range []byte(text) {
		name := c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if name && !within {
			names++
		}
		within = name
	}
	return int64(len(text)) + node*(names+1)
}
