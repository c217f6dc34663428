package graph

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"product-service/graph/model"
	"product-service/integration/inventory"
	"product-service/projection"
)

const (
	defaultPage = 20
	nodeReads   = 8 // at once, for one list of nodes
	maxPage     = projection.MaxPage
)

// product answers Query.product.
func (r *Resolver) product(ctx context.Context, id string, minVersion *int64) (*model.Product, error) {
	productID, err := parseID(id)
	if err != nil {
		return nil, err
	}
	if minVersion == nil {
		return r.productNow(ctx, productID)
	}
	if *minVersion < 1 {
		return nil, badInput("minVersion is %d; versions are 1 and more", *minVersion)
	}
	return r.productAt(ctx, productID, *minVersion)
}

// productAt waits until the product is at least at a version.
func (r *Resolver) productAt(ctx context.Context, id uuid.UUID, version int64) (*model.Product, error) {
	if err := r.services.Reads.WaitFor(ctx, id, version); err != nil {
		return nil, err
	}
	return r.productNow(ctx, id)
}

func (r *Resolver) productNow(ctx context.Context, id uuid.UUID) (*model.Product, error) {
	found, ok, err := r.services.Reads.Product(ctx, id)
	if err != nil || !ok {
		return nil, err
	}
	p := showProduct(&found)
	lookAhead(ctx, []*model.Product{p}, nil)
	return p, nil
}

// products answers Query.products.
func (r *Resolver) products(ctx context.Context, page pageArgs, where *model.ProductFilter, orderBy *model.ProductOrder) (*model.ProductConnection, error) {
	asked, err := page.check(ctx)
	if err != nil {
		return nil, err
	}
	filter, err := filterOf(where)
	if err != nil {
		return nil, err
	}
	got, err := r.services.Reads.Products(ctx, filter, orderOf(orderBy), asked)
	if err != nil {
		return nil, err
	}
	c := &model.ProductConnection{PageInfo: pageInfo(got), TotalCount: got.Total}
	for _, e := range got.Edges {
		p := showProduct(&e.Node)
		c.Nodes = append(c.Nodes, p)
		c.Edges = append(c.Edges, &model.ProductEdge{Cursor: e.Cursor, Node: p})
	}
	lookAhead(ctx, c.Nodes, nil)
	return c, nil
}

// variants answers Query.productVariants.
func (r *Resolver) variants(ctx context.Context, ids []string) ([]*model.ProductVariant, error) {
	wanted, err := parseIDs("ids", ids)
	if err != nil {
		return nil, err
	}
	found, err := r.variantsByID(ctx, wanted)
	if err != nil {
		return nil, err
	}
	all := make([]*model.ProductVariant, len(wanted))
	for i, id := range wanted {
		all[i] = found[id]
	}
	lookAhead(ctx, nil, present(all))
	return all, nil
}

// variantsByID reads variants, and the products they belong to where those are selected.
func (r *Resolver) variantsByID(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*model.ProductVariant, error) {
	found, err := r.services.Reads.Variants(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]*model.ProductVariant, len(found))
	var owners []uuid.UUID
	for _, v := range found {
		if v != nil && byID[v.ID] == nil {
			byID[v.ID] = showVariant(v, nil)
			owners = append(owners, v.ProductID)
		}
	}
	if len(owners) == 0 || !selects(ctx, "ProductVariant", "product") {
		return byID, nil
	}
	products, err := r.services.Reads.ProductsByIDs(ctx, owners)
	if err != nil {
		return nil, err
	}
	for _, p := range products {
		if p == nil {
			continue
		}
		for _, v := range showProduct(p).Variants { // each knows its product
			if id, err := uuid.Parse(v.ID); err == nil && byID[id] != nil {
				byID[id] = v
			}
		}
	}
	for id, v := range byID {
		if v.Product == nil {
			delete(byID, id) // its product went while it was read
		}
	}
	return byID, nil
}

// selects says whether the field being resolved selects a field of a type.
func selects(ctx context.Context, typeName, field string) bool {
	for _, f := range graphql.CollectFieldsCtx(ctx, []string{typeName, "Node"}) {
		if f.Name == field {
			return true
		}
	}
	return false
}

// inventory answers ProductVariant.inventory.
func (r *Resolver) inventory(ctx context.Context, v *model.ProductVariant, maxStaleness *int64) (*model.InventoryLevel, error) {
	bound, err := stalenessBound(maxStaleness)
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(v.ID)
	if err != nil {
		return nil, err
	}
	result, ok, err := levelLoadsOf(ctx).level(ctx, id, bound)
	if err != nil {
		return nil, err
	}
	if !ok { // nobody looked ahead to here
		result = r.services.Levels.Levels(ctx, []uuid.UUID{id}, bound)[0]
	}
	switch result.Outcome {
	case inventory.Known:
		return showLevel(result, time.Now()), nil
	case inventory.Absent:
		return nil, nil
	default:
		return nil, faultf(InventoryUnavailable, "the Inventory Service can't be asked, and no level recent enough is known")
	}
}

// stalenessBound is a maxStaleness argument as [Levels] takes it: 0 asks for a level of just now, absent is the reader's rule.
func stalenessBound(maxStaleness *int64) (time.Duration, error) {
	switch {
	case maxStaleness == nil:
		return 0, nil
	case *maxStaleness < 0:
		return 0, badInput("maxStaleness is %d; it must be 0 or more seconds", *maxStaleness)
	}
	return max(time.Duration(*maxStaleness)*time.Second, time.Nanosecond), nil
}

// pageArgs are the arguments of a Relay connection.
type pageArgs struct {
	first  *int64
	after  *string
	last   *int64
	before *string
}

// check says what is wrong with them, or what they ask for.
func (a pageArgs) check(ctx context.Context) (projection.Range, error) {
	p := projection.Range{Count: graphql.FieldRequested(ctx, "totalCount")}
	if a.first != nil && a.last != nil {
		return p, badInput("first and last are both given; give one of them")
	}
	for _, n := range []struct {
		name  string
		value *int64
		to    *int
	}{{"first", a.first, &p.First}, {"last", a.last, &p.Last}} {
		if n.value == nil {
			continue
		}
		if *n.value < 1 || *n.value > maxPage {
			return p, badInput("%s is %d; it must be 1 to %d", n.name, *n.value, maxPage)
		}
		*n.to = int(*n.value)
	}
	if a.first == nil && a.last == nil {
		p.First = defaultPage
	}
	for _, c := range []struct {
		name  string
		value *string
		to    *string
	}{{"after", a.after, &p.After}, {"before", a.before, &p.Before}} {
		if c.value == nil {
			continue
		}
		if *c.value == "" {
			return p, badInput("%s is empty; it must be a cursor of this list, or absent", c.name)
		}
		*c.to = *c.value
	}
	return p, nil
}

// parseIDs reads a list of ids.
func parseIDs(name string, texts []string) ([]uuid.UUID, error) {
	if len(texts) > projection.MaxIDs {
		return nil, badInput("%s has %d ids; it can have %d", name, len(texts), projection.MaxIDs)
	}
	ids := make([]uuid.UUID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = parseID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// classifyRead is what clients are told of the errors that reads come with on purpose.
func classifyRead(err error) (Code, string, bool) {
	switch {
	case errors.Is(err, projection.ErrNotYet):
		return NotYetAvailable, "the version asked for can't be read yet; ask again in a moment", true
	case errors.Is(err, projection.ErrBadCursor):
		return BadUserInput, "after or before isn't a cursor of this list, in this order", true
	case errors.Is(err, projection.ErrBadRange), errors.Is(err, projection.ErrTooMany):
		return BadUserInput, err.Error(), true
	}
	return "", "", false
}

// nodeRef is an id as node takes it.
type nodeRef struct {
	id          uuid.UUID // of a product or a variant, or of the product the others belong to
	reservation uuid.UUID
	version     int64
}

func parseNodeID(text string) (ref nodeRef, err error) {
	first, second, two := strings.Cut(text, ".")
	if ref.id, err = parseID(first); err != nil {
		return ref, badNodeID(text)
	}
	if !two {
		return ref, nil
	}
	if version, err := strconv.ParseInt(second, 10, 64); err == nil && version > 0 && second == strconv.FormatInt(version, 10) {
		ref.version = version
		return ref, nil
	}
	if ref.reservation, err = parseID(second); err != nil {
		return ref, badNodeID(text)
	}
	return ref, nil
}

func badNodeID(text string) error {
	return badInput("%q is not an id; it must be a UUID, <productId>.<reservationId> or <productId>.<version>", model.Abbreviate(text))
}

// node answers Query.node.
func (r *Resolver) node(ctx context.Context, id string) (model.Node, error) {
	found, err := r.nodes(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// nodes answers Query.nodes: products in one read, and those ids that aren't products as variants in another.
func (r *Resolver) nodes(ctx context.Context, ids []string) ([]model.Node, error) {
	if len(ids) > projection.MaxIDs {
		return nil, badInput("ids has %d ids; it can have %d", len(ids), projection.MaxIDs)
	}
	refs := make([]nodeRef, len(ids))
	var plain []uuid.UUID
	for i, text := range ids {
		var err error
		if refs[i], err = parseNodeID(text); err != nil {
			return nil, err
		}
		if refs[i].version == 0 && refs[i].reservation == uuid.Nil {
			plain = append(plain, refs[i].id)
		}
	}
	catalogue, err := r.catalogueNodes(ctx, plain)
	if err != nil {
		return nil, err
	}
	all := make([]model.Node, len(refs))
	reads, readCtx := errgroup.WithContext(ctx)
	reads.SetLimit(nodeReads)
	for i, ref := range refs {
		if ref.version == 0 && ref.reservation == uuid.Nil {
			all[i] = catalogue[ref.id]
			continue
		}
		reads.Go(func() error {
			return safely(readCtx, func() (err error) {
				all[i], err = r.historyNode(readCtx, ref)
				return err
			})
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	lookAheadNodes(ctx, all)
	return all, nil
}

func (r *Resolver) catalogueNodes(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]model.Node, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	products, err := r.services.Reads.ProductsByIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	nodes := make(map[uuid.UUID]model.Node, len(ids))
	var rest []uuid.UUID
	for i, p := range products {
		if p == nil {
			rest = append(rest, ids[i])
		} else if nodes[p.ID] == nil {
			nodes[p.ID] = showProduct(p)
		}
	}
	if len(rest) == 0 {
		return nodes, nil
	}
	variants, err := r.variantsByID(ctx, rest)
	if err != nil {
		return nil, err
	}
	for id, v := range variants {
		nodes[id] = v
	}
	return nodes, nil
}

func lookAheadNodes(ctx context.Context, nodes []model.Node) {
	var products []*model.Product
	var variants []*model.ProductVariant
	for _, n := range nodes {
		switch n := n.(type) {
		case *model.Product:
			products = append(products, n)
		case *model.ProductVariant:
			variants = append(variants, n)
		}
	}
	lookAhead(ctx, products, variants)
}

// present leaves out the nulls.
func present(variants []*model.ProductVariant) []*model.ProductVariant {
	var there []*model.ProductVariant
	for _, v := range variants {
		if v != nil {
			there = append(there, v)
		}
	}
	return there
}
