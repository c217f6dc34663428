package graph

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"product-service/graph/model"
	"product-service/product"
	"product-service/projection/read"
)

func (r *Resolver) createProduct(ctx context.Context, input model.CreateProductInput) (*model.Payload, error) {
	in := newIntake(input.CommandID)
	id := in.id(input.ID, in.derived("product"), "id")
	c := product.Create{
		Name: input.Name, Description: input.Description,
		InitialStock: input.InitialStock, LowStockThreshold: input.LowStockThreshold,
	}
	for i, v := range input.Variants {
		if i == product.MaxVariants {
			in.fail("variants", "a product has at most %d variants, not %d", product.MaxVariants, len(input.Variants))
			break
		}
		at := strconv.Itoa(i)
		c.Variants = append(c.Variants, product.Variant{
			ID:  in.id(v.ID, in.derived("variant "+at), "variants", at, "id"),
			SKU: v.Sku, Name: v.Name, Attributes: attributes(v.Attributes),
			InitialQuantity: v.InitialQuantity, LowStockThreshold: v.LowStockThreshold,
		})
	}
	return r.execute(ctx, in, id, c)
}

func (r *Resolver) updateProduct(ctx context.Context, input model.UpdateProductInput) (*model.Payload, error) {
	in := newIntake(input.CommandID)
	id := in.id(&input.ProductID, nil, "productId")
	return r.execute(ctx, in, id, product.Update{
		Name: input.Name, Description: input.Description, LowStockThreshold: input.LowStockThreshold,
	})
}

func (r *Resolver) addProductVariant(ctx context.Context, input model.AddProductVariantInput) (*model.Payload, error) {
	in := newIntake(input.CommandID)
	id := in.id(&input.ProductID, nil, "productId")
	return r.execute(ctx, in, id, product.AddVariant{Variant: product.Variant{
		ID:  in.id(input.ID, in.derived("variant"), "id"),
		SKU: input.Sku, Name: input.Name, Attributes: attributes(input.Attributes),
		InitialQuantity: input.InitialQuantity, LowStockThreshold: input.LowStockThreshold,
	}})
}

func (r *Resolver) adjustStock(ctx context.Context, input model.AdjustStockInput) (*model.Payload, error) {
	in, id, c := adjustment(input)
	return r.execute(ctx, in, id, c)
}

// adjustment reads the input of an adjustment.
func adjustment(input model.AdjustStockInput) (in *intake, productID uuid.UUID, c product.AdjustStock) {
	in = newIntake(input.CommandID)
	productID = in.id(&input.ProductID, nil, "productId")
	c = product.AdjustStock{Total: input.Total, Reason: input.Reason}
	switch {
	case input.Delta != nil && input.Total != nil:
		in.failAt([]string{}, "delta and total are both given; give one of them")
	case input.Delta != nil:
		c.Delta = *input.Delta
	case input.Total == nil:
		in.failAt([]string{}, "neither delta nor total is given; give one of them")
	}
	if v := input.ExpectedVersion; v != nil {
		if c.ExpectedVersion = *v; *v < 1 {
			in.fail("expectedVersion", "it is %d; versions are 1 and more", *v)
		}
	}
	return in, productID, c
}

func (r *Resolver) execute(ctx context.Context, in *intake, productID uuid.UUID, c product.Command) (*model.Payload, error) {
	if len(in.refused) > 0 {
		return &model.Payload{UserErrors: in.refused}, nil
	}
	payload := &model.Payload{}
	err := idly(ctx, func() error {
		version, refusal, err := r.services.Commands.Execute(ctx, productID, in.commandID, originOf(ctx), c)
		*payload = payloadOf(productID, version, refusal)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("execute %T: %w", c, err)
	}
	return payload, nil
}

// payloadOf is what came of a command.
func payloadOf(productID uuid.UUID, version int64, refusal *product.Refusal) model.Payload {
	if refusal != nil {
		field := refusal.Field
		if field == nil {
			field = []string{}
		}
		return model.Payload{UserErrors: []*model.UserError{{Field: field, Message: refusal.Message, Code: refusal.Code}}}
	}
	return model.Payload{ProductID: productID, Version: &version, UserErrors: []*model.UserError{}}
}

// payloadProduct waits for the product as the mutation left it.
func (r *Resolver) payloadProduct(ctx context.Context, p *model.Payload) (*read.Product, error) {
	if p.Version == nil {
		return nil, nil
	}
	return r.productAt(ctx, p.ProductID, *p.Version)
}

// intake reads the ids of a mutation's input and gathers what is wrong with them.
type intake struct {
	commandID uuid.UUID
	given     bool // the client chose the command id, and may send the mutation again
	refused   []*model.UserError
}

func newIntake(commandID *string) *intake {
	in := &intake{given: commandID != nil}
	in.commandID = in.id(commandID, newID, "commandId")
	return in
}

func (in *intake) fail(field, format string, args ...any) {
	in.failAt([]string{field}, fmt.Sprintf(format, args...))
}

func (in *intake) failAt(field []string, message string) {
	in.refused = append(in.refused, &model.UserError{Field: field, Message: message, Code: product.BadInput})
}

// id reads a UUID; an absent one is made by otherwise.
func (in *intake) id(text *string, otherwise func() uuid.UUID, field ...string) uuid.UUID {
	if text == nil && otherwise != nil {
		return otherwise()
	}
	id, err := parseID(*text)
	if err != nil {
		in.failAt(slices.Clone(field), err.Error())
	}
	return id
}

// derived makes an id that a client left out. Under a command id of the client's it follows from
// that, so that the mutation sent again asks for the same.
func (in *intake) derived(what string) func() uuid.UUID {
	if !in.given {
		return newID
	}
	return func() uuid.UUID { return uuid.NewSHA1(in.commandID, []byte(what)) }
}

func attributes(given []*model.VariantAttributeInput) []product.Attribute {
	var all []product.Attribute
	for _, a := range given {
		all = append(all, product.Attribute{Name: a.Name, Value: a.Value})
	}
	return all
}
