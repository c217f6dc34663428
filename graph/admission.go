package graph

import (
	"crypto/sha256"
	"errors"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

const (
	maxDocument       = 16 << 10 // bytes of a document
	maxErrors         = 10       // of one document
	maxKeptDocuments  = 512
	maxIntrospection  = 20 // levels below __schema and __type, whose usual query is deeper than any other
	maxOperations     = 10 // of one document
	maxFragments      = 20
	maxDirectives     = 20
	maxRootFields     = 20
	maxSameKey        = 10   // fields with one response key in a selection set
	maxComparisons    = 2500 // of fields that come to lie on each other
	maxInlineInASet   = 20
	countingNoFurther = 1 << 30
)

// admission turns documents into parsed and validated ones, and refuses those that would cost more than they are worth. Every
// step before the validation is linear in the document; the validation compares fields pairwise, and by then there are few.
type admission struct {
	schema        *ast.Schema
	limits        Config
	introspection bool

	kept *lru.Cache[[sha256.Size]byte, *ast.QueryDocument] // admitted documents, which nobody writes to
}

func newAdmission(schema *ast.Schema, c Config) (*admission, error) {
	kept, err := lru.New[[sha256.Size]byte, *ast.QueryDocument](maxKeptDocuments)
	if err != nil {
		return nil, err
	}
	withoutDefer.Do(func() { delete(schema.Directives, "defer") })
	return &admission{schema: schema, limits: c, introspection: c.Introspection == "on", kept: kept}, nil
}

// withoutDefer takes @defer out of the schema, once: gqlparser's prelude has it, but answers here come in one piece.
var withoutDefer sync.Once

// admit returns the document of a query, or why it is refused: a *fault, or the errors of its validation.
func (a *admission) admit(query string) (*ast.QueryDocument, gqlerror.List) {
	if len(query) > maxDocument {
		return nil, refusal(QueryTooLarge, nil, "the document has %d bytes; it can have %d", len(query), maxDocument)
	}
	key := sha256.Sum256([]byte(query))
	if doc, ok := a.kept.Get(key); ok {
		return doc, nil
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, a.limits.MaxTokens)
	if err != nil {
		return nil, a.parseError(err)
	}
	if refused := a.guard(doc); refused != nil {
		return nil, refused
	}
	if invalid := a.validate(doc); invalid != nil {
		return nil, invalid
	}
	a.kept.Add(key, doc)
	return doc, nil
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

// admissionRules are the rules of the specification, in versions that suggest nothing: a suggestion compares a misspelt name
// with every name of the schema, and tells the schema to whom introspection is denied.
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
