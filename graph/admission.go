package graph

import (
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"product-service/graph/generated"
)

const (
	maxDocument       = 16 << 10 // bytes of a document
	maxErrors         = 10       // of one document
	maxIntrospection  = 20       // levels below __schema and __type, whose usual query is deeper than any other
	maxOperations     = 10       // of one document
	maxFragments      = 20
	maxDirectives     = 20
	maxRootFields     = 20
	maxSameKey        = 10   // fields with one response key in a selection set
	maxComparisons    = 2500 // of fields that come to lie on each other
	maxInlineInASet   = 20
	countingNoFurther = 1 << 30
)

// admission turns documents into parsed and validated ones, and refuses those that would cost more
// than they are worth. Every step before the validation is linear in the document; the validation
// compares fields pairwise, and by then there are few.
type admission struct {
	schema        *ast.Schema
	limits        Config
	introspection bool

	log     *slog.Logger
	trusted *manifest
	kept    *documentStore
}

// newAdmission prepares the admission; it fails where the file of trusted documents can't be used,
// with every fault in it.
func newAdmission(c Config, m *metrics, log *slog.Logger) (*admission, error) {
	a := &admission{schema: schemaWithoutDefer(), limits: c, introspection: c.Introspection == "on", log: log, kept: newDocumentStore(c.DocumentCache)}
	a.trusted = &manifest{file: c.Documents, valid: a.check, log: log, changed: m.forget, stamp: fileStamp(c.Documents)}
	first, faults := newTrusted(), []error(nil)
	if c.Documents != "" {
		first, faults = readManifest(c.Documents, a.check)
	}
	a.trusted.now.Store(first)
	return a, errors.Join(faults...)
}

// check says why a document would be refused, in the words of its first fault.
func (a *admission) check(document string) error {
	if _, refused := a.judge(document); refused != nil {
		return refused[0]
	}
	return nil
}

// schemaWithoutDefer is the schema without @defer: gqlparser's prelude has it, but answers here
// come in one piece.
var schemaWithoutDefer = sync.OnceValue(func() *ast.Schema {
	schema := generated.NewExecutableSchema(generated.Config{}).Schema()
	delete(schema.Directives, "defer")
	return schema
})

// admit returns the document of a query, or why it is refused: a *fault, or the errors of its
// validation. One that is kept it doesn't judge again.
func (a *admission) admit(query string) (*document, gqlerror.List) {
	key := hashOf(query)
	if doc, ok := a.kept.get(key); ok {
		return doc, nil
	}
	doc, refused := a.judge(query)
	if refused == nil {
		a.kept.add(key, query, doc)
	}
	return doc, refused
}

// judge reads a document and says whether it can be executed.
func (a *admission) judge(query string) (*document, gqlerror.List) {
	if len(query) > maxDocument {
		return nil, refusal(QueryTooLarge, nil, "the document has %d bytes; it can have %d", len(query), maxDocument)
	}
	text, refused := unescape(query)
	if refused != nil {
		return nil, refused
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, a.limits.MaxTokens)
	if err != nil {
		return nil, a.parseError(err)
	}
	if refused := a.guard(doc); refused != nil {
		return nil, refused
	}
	if invalid := a.validate(doc); invalid != nil {
		return nil, invalid
	}
	return newDocument(doc), nil
}

func (a *admission) parseError(err error) gqlerror.List {
	found, ok := errors.AsType[*gqlerror.Error](err)
	switch {
	case !ok:
		return refusal(ParseFailed, nil, "the document can't be read: %v", err)
	case strings.HasPrefix(found.Message, "exceeded token limit"):
		return refusal(QueryTooLarge, nil, "the document has more than %d tokens, which is the most it can have", a.limits.MaxTokens)
	}
	found.Err = faultf(ParseFailed, "%s", found.Message)
	return gqlerror.List{found}
}

func refusal(code Code, at *ast.Position, format string, args ...any) gqlerror.List {
	f := faultf(code, format, args...)
	e := &gqlerror.Error{Err: f, Message: f.message}
	if at != nil {
		e.Locations = []gqlerror.Location{{Line: at.Line, Column: at.Column}}
	}
	return gqlerror.List{e}
}

// admissionRules are the rules of the specification, in versions that suggest nothing: a suggestion
// compares a misspelt name with every name of the schema, and tells the schema to whom
// introspection is denied.
var admissionRules = []validator.Rule{
	rules.FieldsOnCorrectTypeRuleWithoutSuggestions, rules.FragmentsOnCompositeTypesRule, rules.KnownArgumentNamesRuleWithoutSuggestions,
	rules.KnownDirectivesRule, rules.KnownFragmentNamesRule, rules.KnownRootTypeRule, rules.KnownTypeNamesRuleWithoutSuggestions,
	rules.LoneAnonymousOperationRule, rules.MaxIntrospectionDepth, rules.NoFragmentCyclesRule, rules.NoUndefinedVariablesRule,
	rules.NoUnusedFragmentsRule, rules.NoUnusedVariablesRule, rules.OverlappingFieldsCanBeMergedRule, rules.PossibleFragmentSpreadsRule,
	rules.ProvidedRequiredArgumentsRule, rules.ScalarLeafsRuleWithoutSuggestions, rules.SingleFieldSubscriptionsRule,
	rules.UniqueArgumentNamesRule, rules.UniqueDirectivesPerLocationRule, rules.UniqueFragmentNamesRule, rules.UniqueInputFieldNamesRule,
	rules.UniqueOperationNamesRule, rules.UniqueVariableNamesRule, rules.ValuesOfCorrectTypeRuleWithoutSuggestions,
	rules.VariablesAreInputTypesRule, rules.VariablesInAllowedPositionRule,
}

func (a *admission) validate(doc *ast.QueryDocument) gqlerror.List {
	var found gqlerror.List
	var observers validator.Events
	for _, rule := range admissionRules {
		rule.RuleFunc(&observers, func(options ...validator.ErrorOption) {
			if len(found) == maxErrors {
				return
			}
			e := &gqlerror.Error{}
			for _, option := range options {
				option(e)
			}
			e.Err = faultf(ValidationFailed, "%s", e.Message)
			found = append(found, e)
		})
	}
	validator.Walk(a.schema, doc, &observers)
	return found
}
