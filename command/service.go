package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
	"product-service/wait"
)

// Submitter takes requests to be decided.
type Submitter interface {
	Submit(context.Context, *Request) error
}

// Service takes the commands of people: the mutations of the GraphQL server.
type Service struct {
	Writer Submitter
	Store  *eventstore.Store

	// Rollback makes new products and variants wait, unseen, for their inventory records, and
	// discards those that don't get them within RollbackAfter.
	Rollback      bool
	RollbackAfter time.Duration

	// Created is told that there are new inventory records to make. It must not block.
	Created func()
}

// Execute decides a command of people and returns the version of the product's stream after it, or
// why it was refused. The same command id again answers the same, and changes nothing. An error
// says that it isn't known what came of the command; asking again with the same id tells.
func (s *Service) Execute(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) (int64, *product.Refusal, error) {
	return s.Submit(ctx, productID, commandID, from, c)()
}

// Submit hands a command of people over and returns how to wait for what [Service.Execute] returns
// of it. Commands about one product are decided in the order in which they were submitted; those
// submitted without waiting in between come into as few transactions as the writer makes of them.
func (s *Service) Submit(ctx context.Context, productID, commandID uuid.UUID, from product.Origin, c product.Command) func() (int64, *product.Refusal, error) {
	var added []uuid.UUID
	switch create := c.(type) {
	case product.Create:
		create.Unconfirmed = s.Rollback && len(create.Variants) > 0
		for _, v := range create.Variants {
			added = append(added, v.ID)
		}
		c = create
	case product.AddVariant:
		create.Unconfirmed = s.Rollback
		added, c = []uuid.UUID{create.Variant.ID}, create
	}
	wait := submit(ctx, s.Writer, &Request{ID: commandID, ProductID: productID, From: from, Command: c})
	return func() (int64, *product.Refusal, error) {
		answer, err := wait()
		if err != nil || answer.Refusal != nil || len(added) == 0 {
			return answer.Version, answer.Refusal, err
		}
		s.Created()
		if s.Rollback {
			return s.confirm(ctx, productID, answer, from, added)
		}
		return answer.Version, nil, nil
	}
}

// ask submits a request and waits for its answer.
func ask(ctx context.Context, w Submitter, r *Request) (Answer, error) { return submit(ctx, w, r)() }

// submit hands a request over and returns how to wait for its answer.
func submit(ctx context.Context, w Submitter, r *Request) func() (Answer, error) {
	answered := make(chan Answer, 1)
	r.Settle = func(a Answer) { answered <- a }
	err := w.Submit(ctx, r)
	return func() (Answer, error) {
		if err != nil {
			return Answer{}, fmt.Errorf("submit a command: %w", err)
		}
		select {
		case a := <-answered:
			return a, a.Err
		case <-ctx.Done():
			return Answer{}, fmt.Errorf("wait for a command to be decided: %w", context.Cause(ctx))
		}
	}
}

var inventorySilent = &product.Refusal{Code: product.InventoryUnavailable,
	Message: "the Inventory Service did not confirm the new variants in time, so nothing was created; try again later"}

// errUndecided says that a command that came again waits for what becomes of the first.
var errUndecided = errors.New("the first command of this id still waits for its inventory records")

// confirm waits until the added variants have their inventory records, and takes them back where
// they don't get them in time. A command that came again takes nothing back: the first does, or the
// sweeper where the instance of the first died.
func (s *Service) confirm(ctx context.Context, productID uuid.UUID, answer Answer, from product.Origin, added []uuid.UUID) (int64, *product.Refusal, error) {
	deadline := time.Now().Add(s.RollbackAfter)
	if answer.Repeated {
		deadline = deadline.Add(2 * s.RollbackAfter) // longer than the sweeper waits
	}
	for waiting := true; waiting; {
		left, gone, err := s.unconfirmed(ctx, added)
		late := time.Now().After(deadline)
		if err == nil && (late || gone) && !answer.Repeated {
			if err = s.Withdraw(ctx, productID, added, from); err == nil {
				_, gone, err = s.unconfirmed(ctx, added)
			}
			left = 0 // what is there now had its last record made just before
		}
		switch {
		case err != nil:
			return 0, nil, err
		case gone:
			return 0, inventorySilent, nil
		case left > 0 && late:
			return 0, nil, errUndecided
		case left > 0:
			if !wait.For(ctx, 25*time.Millisecond) {
				return 0, nil, fmt.Errorf("wait for inventory records: %w", context.Cause(ctx))
			}
		default:
			waiting = false
		}
	}
	head, err := s.Store.Head(ctx, productID)
	if err != nil {
		return 0, nil, err
	}
	return max(answer.Version, head.Version), nil, nil
}

// unconfirmed says how many of the variants wait for their inventory records, and whether some were
// taken back.
func (s *Service) unconfirmed(ctx context.Context, ids []uuid.UUID) (left int, gone bool, err error) {
	variants, err := s.Store.VariantsByID(ctx, ids)
	for _, v := range variants {
		if v.Unconfirmed {
			left++
		}
	}
	return left, len(variants) < len(ids), err
}

// Withdraw takes back a product, or the variants of one that is shown, whose inventory records
// weren't made in time. It changes nothing where they were.
func (s *Service) Withdraw(ctx context.Context, productID uuid.UUID, variants []uuid.UUID, from product.Origin) error {
	const why = "no inventory record in time"
	if _, err := ask(ctx, s.Writer, &Request{ProductID: productID, From: from, Command: product.Discard{Reason: why}}); err != nil {
		return fmt.Errorf("discard product %s: %w", productID, err)
	}
	for _, id := range variants {
		if _, err := ask(ctx, s.Writer, &Request{ProductID: productID, From: from, Command: product.DiscardVariant{VariantID: id}}); err != nil {
			return fmt.Errorf("discard variant %s: %w", id, err)
		}
	}
	return nil
}

// Confirm notes that the Inventory Service has a record of a variant. Noting it again changes nothing.
func (s *Service) Confirm(ctx context.Context, v eventstore.Variant) error {
	siblings, err := s.Store.ProductVariants(ctx, v.ProductID)
	if err != nil {
		return err
	}
	c := product.NoteInventoryRecord{VariantID: v.VariantID}
	for _, other := range siblings {
		if other.VariantID != v.VariantID {
			c.Siblings = append(c.Siblings, other.VariantID)
		}
	}
	_, err = ask(ctx, s.Writer, &Request{ProductID: v.ProductID, Command: c})
	return err
}
