package graph

import (
	"context"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"product-service/graph/auth"
	"product-service/graph/model"
	"product-service/graph/plan"
	"product-service/projection/read"
)

const nodeReads = 8 // at once, for one list of nodes

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

// history is the type that the reference names, where that is one of a product's history; "" where
// it is of the catalogue.
func (n nodeRef) history() string {
	switch {
	case n.version > 0:
		return "StockMovement"
	case n.reservation != uuid.Nil:
		return "Reservation"
	}
	return ""
}

// node answers Query.node.
func (r *Resolver) node(ctx context.Context, id string) (plan.Node, error) {
	ref, err := parseNodeID(id)
	if err != nil {
		return nil, err
	}
	if err := r.scopes.ofType(auth.CallerOf(ctx), ref.history()); err != nil {
		return nil, err
	}
	found, err := r.readNodes(ctx, []nodeRef{ref})
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// nodes answers Query.nodes. One that the caller may not see is null, whether it exists or not, and
// an error at its place in the list.
func (r *Resolver) nodes(ctx context.Context, ids []string) ([]plan.Node, error) {
	if len(ids) > read.MaxIDs {
		return nil, badInput("ids has %d ids; it can have %d", len(ids), read.MaxIDs)
	}
	refs := make([]nodeRef, len(ids))
	for i, text := range ids {
		var err error
		if refs[i], err = parseNodeID(text); err != nil {
			return nil, err
		}
	}
	hidden := make([]error, len(refs))
	for i, ref := range refs {
		if hidden[i] = r.scopes.ofType(auth.CallerOf(ctx), ref.history()); hidden[i] != nil {
			refs[i] = nodeRef{}
		}
	}
	found, err := r.readNodes(ctx, refs)
	if err != nil {
		return nil, err
	}
	for i, why := range hidden {
		if why != nil {
			found[i] = why
		}
	}
	return found, nil
}

// readNodes reads what references name, nil for the zero one: products in one read, and those ids
// that aren't products as variants in another.
func (r *Resolver) readNodes(ctx context.Context, refs []nodeRef) ([]plan.Node, error) {
	var plain []uuid.UUID
	for _, ref := range refs {
		if ref.history() == "" && ref.id != uuid.Nil {
			plain = append(plain, ref.id)
		}
	}
	catalogue, err := r.catalogueNodes(ctx, plain)
	if err != nil {
		return nil, err
	}
	all := make([]plan.Node, len(refs))
	reads, readCtx := errgroup.WithContext(ctx)
	reads.SetLimit(nodeReads)
	for i, ref := range refs {
		if ref.history() == "" {
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

func (r *Resolver) catalogueNodes(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]plan.Node, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	products, err := r.services.Reads.ProductsByIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	nodes := make(map[uuid.UUID]plan.Node, len(ids))
	var rest []uuid.UUID
	for i, p := range products {
		if p == nil {
			rest = append(rest, ids[i])
		} else if nodes[p.ID] == nil {
			nodes[p.ID] = p
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

func lookAheadNodes(ctx context.Context, nodes []plan.Node) {
	var products []*read.Product
	var variants []plan.Variant
	for _, n := range nodes {
		switch n := n.(type) {
		case *read.Product:
			products = append(products, n)
		case plan.Variant:
			variants = append(variants, n)
		}
	}
	lookAhead(ctx, products, variants)
}

// historyNode reads a movement or a reservation by its node id.
func (r *Resolver) historyNode(ctx context.Context, ref nodeRef) (plan.Node, error) {
	if ref.version > 0 {
		found, ok, err := r.services.Reads.Movement(ctx, ref.id, ref.version)
		if err != nil || !ok {
			return nil, err
		}
		return &found, nil
	}
	found, ok, err := r.services.Reads.Reservation(ctx, ref.id, ref.reservation)
	if err != nil || !ok {
		return nil, err
	}
	return &found, nil
}
