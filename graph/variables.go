package graph

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/model"
)

// coerceVariables gives the variables of an operation the types it declares, exactly as the GraphQL
// specification (section 6.1.2) says: no number for a String, no lower-case enum value. given is as
// decoded from JSON with numbers kept as text.
func coerceVariables(schema *ast.Schema, op *ast.OperationDefinition, given map[string]any) (map[string]any, error) {
	coerced := make(map[string]any, len(op.VariableDefinitions))
	in := coercion{schema}
	for _, v := range op.VariableDefinitions {
		value, present := given[v.Variable]
		switch {
		case present:
			c, err := in.value(v.Type, value, "$"+v.Variable)
			if err != nil {
				return nil, err
			}
			coerced[v.Variable] = c
		case v.DefaultValue != nil:
			c, err := v.DefaultValue.Value(nil)
			if err != nil {
				return nil, badInput("$%s has an unusable default: %v", v.Variable, err)
			}
			coerced[v.Variable] = c
		case v.Type.NonNull:
			return nil, badInput("$%s is missing; it must be given, as a %s", v.Variable, v.Type)
		}
	}
	return coerced, nil
}

// maxValues is more than any list of the schema can have: those say in their own words how many
// that are. It keeps what a list costs before that within what its length in a document costs.
const maxValues = 200

type coercion struct{ schema *ast.Schema }

func (in coercion) value(t *ast.Type, v any, at string) (any, error) {
	if v == nil {
		if t.NonNull {
			return nil, badInput("%s is null; it must be a %s", at, t)
		}
		return nil, nil
	}
	if t.Elem != nil {
		return in.list(t, v, at)
	}
	def := in.schema.Types[t.NamedType]
	switch def.Kind {
	case ast.Enum:
		name, ok := v.(string)
		if !ok || def.EnumValues.ForName(name) == nil {
			return nil, badInput("%s is %s; it must be a value of %s", at, show(v), def.Name)
		}
		return name, nil
	case ast.InputObject:
		return in.object(def, v, at)
	default:
		return in.scalar(def.Name, v, at)
	}
}

func (in coercion) list(t *ast.Type, v any, at string) (any, error) {
	items, ok := v.([]any)
	if !ok {
		item, err := in.value(t.Elem, v, at)
		return []any{item}, err
	}
	if len(items) > maxValues {
		return nil, badInput("%s has %d values; it can have %d", at, len(items), maxValues)
	}
	coerced := make([]any, len(items))
	for i, item := range items {
		var err error
		if coerced[i], err = in.value(t.Elem, item, at+"["+strconv.Itoa(i)+"]"); err != nil {
			return nil, err
		}
	}
	return coerced, nil
}

func (in coercion) object(def *ast.Definition, v any, at string) (any, error) {
	given, ok := v.(map[string]any)
	if !ok {
		return nil, badInput("%s is %s; it must be an object, a %s", at, show(v), def.Name)
	}
	for name := range given {
		if def.Fields.ForName(name) == nil {
			return nil, badInput("%s has a field %q, which %s doesn't", at, model.Abbreviate(name), def.Name)
		}
	}
	coerced := make(map[string]any, len(given))
	for _, field := range def.Fields {
		value, present := given[field.Name]
		if !present {
			if field.Type.NonNull && field.DefaultValue == nil {
				return nil, badInput("%s.%s is missing; it must be given, as a %s", at, field.Name, field.Type)
			}
			continue
		}
		c, err := in.value(field.Type, value, at+"."+field.Name)
		if err != nil {
			return nil, err
		}
		coerced[field.Name] = c
	}
	return coerced, nil
}

func (in coercion) scalar(name string, v any, at string) (any, error) {
	switch name {
	case "Int":
		i, err := model.UnmarshalInt(v)
		if err != nil {
			return nil, badInput("%s: %v", at, err)
		}
		return i, nil
	case "ID":
		if n, ok := v.(json.Number); ok {
			if _, err := n.Int64(); err == nil {
				return n.String(), nil
			}
		}
		fallthrough
	case "String":
		if s, ok := v.(string); ok {
			return s, nil
		}
	case "Boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
	case "DateTime":
		if _, err := model.UnmarshalDateTime(v); err != nil {
			return nil, badInput("%s: %v", at, err)
		}
		return v, nil
	case "_Any":
		if o, ok := v.(map[string]any); ok {
			return o, nil
		}
	default: // Float, which the schema has no use for
		if n, ok := v.(json.Number); ok {
			return n, nil
		}
	}
	return nil, badInput("%s is %s; it must be a %s", at, show(v), name)
}

// show names a decoded JSON value in a message.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(model.Abbreviate(v))
	case json.Number:
		return model.Abbreviate(v.String())
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
