package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"product-service/correlation"
	"product-service/graph/auth"
	"product-service/graph/live"
	"product-service/graph/model"
	"product-service/integration/inventory"
	"product-service/projection/read"
	"product-service/projection/view"
)

// subscriptions are what clients follow.
type subscriptions struct {
	stock  *live.Topic[read.Stock]
	levels *live.Topic[inventory.Result]
	reader Levels
	every  time.Duration
}

// levelsEvery is how often levels that somebody follows are asked for: the Inventory Service tells
// of its own accord only when a variant comes to another status.
const levelsEvery = 15 * time.Second

func newSubscriptions(s Services, interval time.Duration, p presenter) *subscriptions {
	stock := live.Source[read.Stock]{
		Name: "stock", Read: stockOf(s.Reads), Replaces: func(now, held read.Stock) bool { return now.Version > held.Version },
	}
	levels := live.Source[inventory.Result]{Name: "inventory levels", Read: levelsOf(s.Levels), Replaces: levelReplaces}
	subs := &subscriptions{reader: s.Levels, every: levelsEvery}
	changes := sharedWatch{watch: func() func() {
		return s.Changes.Subscribe(func(changed []view.Change) {
			if len(changed) == 0 {
				subs.stock.TouchAll()
			}
			for _, c := range changed {
				subs.stock.Touch(c.ProductID)
			}
		})
	}}
	stock.Watch = changes.join
	levels.Watch = func(id uuid.UUID) func() {
		return s.LevelChanges.Watch(id, func(inventory.Level) { subs.levels.Touch(id) })
	}
	subs.stock, subs.levels = live.NewTopic(stock, interval, p.log), live.NewTopic(levels, interval, p.log)
	return subs
}

func stockOf(reads Products) func(context.Context, []uuid.UUID) (map[uuid.UUID]read.Stock, error) {
	return func(ctx context.Context, ids []uuid.UUID) (found map[uuid.UUID]read.Stock, err error) {
		err = safely(ctx, func() error {
			products, err := reads.ProductsByIDs(ctx, ids)
			found = make(map[uuid.UUID]read.Stock, len(products))
			for _, p := range products {
				if p != nil {
					found[p.ID] = p.Stock()
				}
			}
			return err
		})
		return found, err
	}
}

func levelsOf(levels Levels) func(context.Context, []uuid.UUID) (map[uuid.UUID]inventory.Result, error) {
	return func(ctx context.Context, ids []uuid.UUID) (found map[uuid.UUID]inventory.Result, err error) {
		err = safely(ctx, func() error {
			found = make(map[uuid.UUID]inventory.Result, len(ids))
			for i, result := range levels.Levels(ctx, ids, 0) {
				if result.Outcome == inventory.Known {
					found[ids[i]] = result
				}
			}
			return nil
		})
		return found, err
	}
}

// levelReplaces says whether a level is news for who has seen held. What the Inventory Service said
// last counts, whatever its stamp.
func levelReplaces(now, held inventory.Result) bool {
	a, b := now.Level, held.Level
	return !a.FetchedAt.Before(b.FetchedAt) && (!a.UpdatedAt.Equal(b.UpdatedAt) || a.Available != b.Available || a.Status != b.Status)
}

// run reads what changes, for those who follow it, until ctx ends.
func (s *subscriptions) run(ctx context.Context) error {
	var all sync.WaitGroup
	var failed [2]error
	all.Go(func() { failed[0] = s.stock.Run(ctx) })
	all.Go(func() { failed[1] = s.levels.Run(ctx) })
	all.Go(func() { s.askForLevels(ctx) })
	all.Wait()
	return errors.Join(failed[:]...)
}

// askForLevels has the levels that are followed asked for where they aren't fresh. What is learnt
// comes as a change.
func (s *subscriptions) askForLevels(ctx context.Context) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ids := s.levels.Followed()
		_ = safely(ctx, func() error { // the next round asks again
			for len(ids) > 0 && ctx.Err() == nil {
				n := min(len(ids), read.MaxIDs)
				s.reader.Levels(ctx, ids[:n], 0)
				ids = ids[n:]
			}
			return nil
		})
	}
}

// sharedWatch watches as long as anything is watched. It isn't safe for concurrent use.
type sharedWatch struct {
	watch func() (stop func())
	stop  func()
	users int
}

func (w *sharedWatch) join(uuid.UUID) (leave func()) {
	if w.users++; w.users == 1 {
		w.stop = w.watch()
	}
	return func() {
		if w.users--; w.users == 0 {
			w.stop()
		}
	}
}

// stockChanged answers Subscription.stockChanged.
func (r *Resolver) stockChanged(ctx context.Context, productIDs []string) (<-chan *model.ProductStock, error) {
	return followed(ctx, r.subscriptions.stock, "productIds", productIDs, func(s read.Stock) *model.ProductStock { return showStock(&s) })
}

// inventoryChanged answers Subscription.inventoryChanged.
func (r *Resolver) inventoryChanged(ctx context.Context, variantIDs []string) (<-chan *model.InventoryLevel, error) {
	return followed(ctx, r.subscriptions.levels, "variantIds", variantIDs, func(l inventory.Result) *model.InventoryLevel { return showLevel(agedLevel(&l, time.Now())) })
}

// followed answers a field of Subscription: it tells the operation what it follows. Each value
// passes through the channel on its way to being encoded.
func followed[V, M any](ctx context.Context, topic *live.Topic[V], name string, texts []string, show func(V) *M) (<-chan *M, error) {
	ids, err := parseIDs(name, texts)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, badInput("%s is empty; it must have 1 to %d ids", name, read.MaxIDs)
	}
	seen := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return nil, badInput("%s has %s twice; it must have each id once", name, id)
		}
		seen[id] = true
	}
	next := make(chan *M, 1)
	f, _ := ctx.Value(followingKey{}).(*following)
	f.field = graphql.GetFieldContext(ctx)
	f.subscribe = func(key string, wake func()) *live.Subscriber {
		return topic.Subscribe(key, ids, func(v V) []byte {
			select {
			case <-next: // what couldn't be encoded
			default:
			}
			next <- show(v)
			return f.event()
		}, wake)
	}
	return next, nil
}

// following is a subscription operation that is executed, once for all clients that send the same.
type following struct {
	op        *graphql.OperationContext
	ctx       context.Context // of no single client
	presenter presenter
	respond   graphql.ResponseHandler
	field     *graphql.FieldContext
	subscribe func(key string, wake func()) *live.Subscriber
}

type followingKey struct{}

// follow begins a subscription. wake is called when its subscriber has a response to send. Where it
// can't begin the errors say why.
func (e *engine) follow(ctx context.Context, op *graphql.OperationContext, wake func()) (*live.Subscriber, gqlerror.List) {
	key, err := sharedKey(op)
	if err != nil {
		return nil, gqlerror.List{e.presenter.present(ctx, err)}
	}
	// What goes wrong with a value goes wrong for all who follow it: it has a correlation id of its own.
	id, caller := newID().String(), auth.CallerOf(ctx)
	f := &following{op: op, presenter: e.presenter, ctx: auth.WithCaller(correlation.WithID(context.Background(), id), caller)}
	if denies(e.scopes.below(op.Operation), caller) {
		key += id // who may not see all of it shares with nobody
	}
	ctx = graphql.WithOperationContext(context.WithValue(ctx, followingKey{}, f), op)
	ctx = graphql.WithResponseContext(ctx, e.presenter.present, recovered)
	f.respond = e.schema.Exec(ctx)
	if refused := graphql.GetErrors(ctx); len(refused) > 0 || f.subscribe == nil {
		return nil, refused
	}
	return f.subscribe(key, wake), nil
}

// sharedKey says what the responses of an operation depend on, besides the values that are followed.
func sharedKey(op *graphql.OperationContext) (string, error) {
	variables, err := json.Marshal(op.Variables)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(op.RawQuery), []byte(op.OperationName), variables} {
		digest := sha256.Sum256(part)
		sum.Write(digest[:])
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// event executes the operation for the value that waits for it, and returns the response as clients
// get it. Whatever goes wrong is an error in it.
func (f *following) event() (encoded []byte) {
	ctx := graphql.WithOperationContext(f.ctx, f.op)
	ctx = graphql.WithResponseContext(ctx, f.presenter.present, recovered)
	ctx = graphql.WithFieldContext(ctx, f.field)
	err := safely(ctx, func() error {
		resp := f.respond(ctx)
		if resp == nil {
			return errors.New("a value was executed without a response")
		}
		resp.Errors = append(resp.Errors, graphql.GetErrors(ctx)...)
		encoded = f.presenter.encode(ctx, resp)
		return nil
	})
	if err != nil {
		encoded = f.presenter.encode(ctx, &graphql.Response{Data: json.RawMessage(`null`), Errors: gqlerror.List{f.presenter.present(ctx, err)}})
	}
	return encoded
}

// onlyField refuses what would subscribe to nothing, or to several fields under different names:
// which fields are selected may depend on variables.
func onlyField(op *graphql.OperationContext) gqlerror.List {
	if op.Operation.Operation != ast.Subscription || len(graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Subscription"})) == 1 {
		return nil
	}
	return refusal(ValidationFailed, op.Operation.Position, "a subscription must select exactly one field at its root")
}
