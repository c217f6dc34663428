package graph

import (
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"product-service/graph/model"
	"product-service/projection/read"
)

const (
	readCost     = 500  // of a field that reads the database by itself
	historyCost  = 1000 // of a product's history: it reads the product as it is at that moment, and then what was
	reportCost   = 5000 // of a report: it reads the days of all products
	variantsCost = 10   // how many variants a product is taken to have; at most it has ten times as many
)

// costOf weighs an operation: the fields its answer can have, and something for each read. The
// admission has bounded the number of fields it selects, so that no fragment makes this long.
func costOf(op *graphql.OperationContext) int { return weigh(op, op.Operation.SelectionSet) }

func weigh(op *graphql.OperationContext, selections ast.SelectionSet) int {
	total := 0
	for _, selection := range selections {
		switch it := selection.(type) {
		case *ast.Field:
			base, times := fieldCost(it, op.Variables)
			total += base + times*weigh(op, it.SelectionSet)
		case *ast.InlineFragment:
			total += weigh(op, it.SelectionSet)
		case *ast.FragmentSpread:
			total += weigh(op, it.Definition.SelectionSet)
		}
		if total > countingNoFurther {
			return countingNoFurther
		}
	}
	return total
}

// fieldCost is what a field costs by itself, and how many times its selections are answered.
func fieldCost(f *ast.Field, variables map[string]any) (base, times int) {
	read := readCost
	if f.ObjectDefinition != nil && f.ObjectDefinition.Name == "Product" {
		read = historyCost
	}
	switch f.Name {
	case "products", "stockMovements":
		return read, pageSize(f.ArgumentMap(variables))
	case "stockReport":
		return reportCost, pageSize(f.ArgumentMap(variables))
	case "nodes", "productVariants":
		if f.ObjectDefinition != nil && f.ObjectDefinition.Name == "Query" {
			return readCost, idCount(f.ArgumentMap(variables), "ids")
		}
		return 1, 1 // of a connection, which has counted them
	case "_entities":
		representations, _ := f.ArgumentMap(variables)["representations"].([]any)
		return 2 * readCost, max(1, len(representations))
	case "bulkAdjustStock":
		input, _ := f.ArgumentMap(variables)["input"].(map[string]any)
		items, _ := input["items"].([]any)
		return readCost, max(1, len(items))
	case "stockChanged":
		return readCost, idCount(f.ArgumentMap(variables), "productIds")
	case "inventoryChanged":
		return readCost, idCount(f.ArgumentMap(variables), "variantIds")
	case "variants":
		return 1, variantsCost
	case "stockTimeline":
		return read, bucketCount(f.ArgumentMap(variables))
	case "stockAt":
		return read, 1
	case "product", "node", "reservation":
		if f.ObjectDefinition != nil && f.ObjectDefinition.Name == "Query" {
			return readCost, 1
		}
	}
	return 1, 1
}

func idCount(args map[string]any, name string) int {
	ids, _ := args[name].([]any)
	return max(1, len(ids))
}

// pageSize is how long a page can be. Sizes out of bounds are refused by the field itself.
func pageSize(args map[string]any) int {
	for _, name := range []string{"first", "last"} {
		if n, err := model.UnmarshalInt(args[name]); err == nil {
			return int(min(max(n, 1), maxPage))
		}
	}
	return defaultPage
}

func bucketCount(args map[string]any) int {
	from, err := model.UnmarshalDateTime(args["from"])
	to, err2 := model.UnmarshalDateTime(args["to"])
	if err != nil || err2 != nil {
		return 1
	}
	each := time.Hour
	if args["interval"] == string(read.Daily) {
		each = 24 * time.Hour
	}
	return int(min(max(to.Sub(from)/each, 1), read.MaxHours))
}
