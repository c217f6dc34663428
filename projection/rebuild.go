package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"product-service/eventstore"
)

// ErrRebuilding says that another process is rebuilding.
var ErrRebuilding = errors.New("a rebuild is under way in another process")

// RebuildOptions say what to rebuild. The zero value is everything.
type RebuildOptions struct {
	Product uuid.UUID // only this one, in place
	Shard   *int16    // only the products of this shard, in place
}

// Progress is how far a rebuild is.
type Progress struct {
	Phase       string // "fill", "index", "switch" or "clean up"; "fold" for products in place
	Done, Total int64  // rows of the log, or products in place
	PerSecond   float64
	Left        time.Duration // at this rate; 0 where there is none yet
}

// Rebuild folds the log anew. In whole it fills a new generation beside the one that is read, with checkpoints of its own, follows the log
// until it has caught up, and then lets readers and projectors change over with one write; readers never see less than before, and the
// levels of the Inventory Service stay. A rebuild that was interrupted goes on where it was. Single products are folded anew in place, and what is
// wrong with the journal of their shard is mended.
// It returns [ErrRebuilding] while another process is at it.
func Rebuild(ctx context.Context, s *Store, log Log, logger *slog.Logger, o RebuildOptions, progress func(Progress)) error {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	r := &rebuild{store: s, log: log, logger: logger, metrics: m, report: progress, began: time.Now()}
	if o.Product != uuid.Nil || o.Shard != nil {
		return r.inPlace(ctx, o)
	}
	return r.whole(ctx)
}

type rebuild struct {
	store   *Store
	log     Log
	logger  *slog.Logger
	metrics *metrics
	report  func(Progress)
	began   time.Time
	skipped int64 // rows an earlier, interrupted rebuild did
	claim   building
}

// building names the generation that is being filled, and who does it.
type building struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Schema     int    `bson:"schema"`
	Owner      string `bson:"owner"`
	Until      int64  `bson:"until"` // others may go on after it
}

// claimTime is how long an interrupted rebuild waits for another process.
const claimTime = 15 * time.Second

// indexTime is how long the indexes of a filled generation may take: minutes for millions of rows.
const indexTime = 12 * time.Hour

func (r *rebuild) whole(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	g := r.store.collections(r.claim.Generation)
	if err := r.store.create(ctx, g.name); err != nil {
		return err
	}
	f := newFollower(r.store, g, r.log, r.logger, r.metrics)
	f.limit = r.store.config.MaxPage
	target, err := r.log.Positions(ctx)
	if err != nil {
		return err
	}
	if err := r.fill(ctx, f, target); errors.Is(err, errOtherLog) {
		return errors.Join(err, r.forget(ctx))
	} else if err != nil {
		return err
	}
	r.report(Progress{Phase: "index"})
	if err := r.indexed(ctx, g); err != nil {
		return err
	}
	if err := r.fill(ctx, f, target); err != nil { // what came meanwhile
		return err
	}
	r.report(Progress{Phase: "switch"})
	if err := r.catchUp(ctx, f); err != nil {
		return err
	}
	old, err := r.change(ctx)
	if err != nil {
		return err
	}
	r.report(Progress{Phase: "clean up"})
	return r.handOver(ctx, f, old)
}

// everyShard are leases older than any: whoever projects takes over from them.
func everyShard() []eventstore.Lease {
	all := make([]eventstore.Lease, eventstore.Shards)
	for n := range all {
		all[n] = eventstore.Lease{Role: Role, Shard: int16(n)}
	}
	return all
}

// fill sweeps until nothing is left but what is being written just now.
func (r *rebuild) fill(ctx context.Context, f *follower, target [eventstore.Shards]int64) error {
	for first := true; ; first = false {
		if err := r.renew(ctx); err != nil {
			return err
		}
		_, full, err := f.sweep(ctx, everyShard())
		if err != nil {
			return fmt.Errorf("fill generation %s: %w", f.into.name, err)
		}
		p := Progress{Phase: "fill"}
		for n, last := range target {
			p.Total += last
			switch s := f.shards[int16(n)]; {
			case s == nil: // somebody projects it already: it is asked for again
			case s.stopped:
				return fmt.Errorf("shard %d: %w", n, errOtherLog)
			default:
				p.Done += min(last, s.at.Pos)
			}
		}
		if first && r.skipped == 0 && p.Done > int64(f.limit) {
			r.skipped = p.Done
		}
		r.report(r.rated(p))
		if !full {
			return nil
		}
	}
}

// catchUp sweeps until the new generation holds all that readers see now. It may be less by what is projected until the change, which follows at once.
func (r *rebuild) catchUp(ctx context.Context, f *follower) error {
	for {
		behind, err := r.behind(ctx, f)
		if err != nil || !behind {
			return err
		}
		if err := r.renew(ctx); err != nil {
			return err
		}
		if _, _, err := f.sweep(ctx, everyShard()); err != nil {
			return fmt.Errorf("fill generation %s: %w", f.into.name, err)
		}
	}
}

// behind says whether the generation that is read holds rows of the log that the new one lacks. After a restore its checkpoints can lie beyond the log.
func (r *rebuild) behind(ctx context.Context, f *follower) (bool, error) {
	current, err := r.store.loadMeta(ctx)
	if err != nil {
		return false, err
	}
	live, err := r.store.loadCheckpoints(ctx, current.Generation)
	if err != nil {
		return false, err
	}
	last, err := r.log.Positions(ctx)
	if err != nil {
		return false, err
	}
	for n, c := range live {
		if s := f.shards[n]; s == nil || s.at.Pos < min(c.Pos, last[n]) {
			return true, nil
		}
	}
	return false, nil
}

func (r *rebuild) rated(p Progress) Progress {
	p.PerSecond = float64(p.Done-r.skipped) / time.Since(r.began).Seconds()
	if p.PerSecond > 0 {
		p.Left = time.Duration(float64(p.Total-p.Done) / p.PerSecond * float64(time.Second)).Round(time.Second)
	}
	return p
}

// begin claims the rebuild: a new one, or one that was interrupted.
func (r *rebuild) begin(ctx context.Context) error {
	current, err := r.store.loadMeta(ctx)
	if err != nil {
		return err
	}
	meta := r.store.db.Collection(metaName)
	var found building
	err = meta.FindOne(ctx, bson.D{{Key: "_id", Value: "building"}}).Decode(&found)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return fmt.Errorf("find an interrupted rebuild: %w", err)
	}
	r.claim = building{ID: "building", Generation: next(current.Generation, found.Generation), Schema: schema, Owner: uuid.NewString(), Until: time.Now().Add(claimTime).UnixMicro()}
	if err == nil {
		return r.takeOver(ctx, current, found)
	}
	if _, err := meta.InsertOne(ctx, r.claim); mongo.IsDuplicateKeyError(err) {
		return ErrRebuilding
	} else if err != nil {
		return fmt.Errorf("claim the rebuild: %w", err)
	}
	return r.store.clean(ctx, current.Generation) // under the claim, or it could be another's generation
}

// next is a generation that was never before.
func next(current, building string) string {
	a, _ := strconv.Atoi(current) // both were written by next, or are "1"
	b, _ := strconv.Atoi(building)
	return strconv.Itoa(max(a, b) + 1)
}

// takeOver goes on with an interrupted rebuild; one of another shape of documents, or that was done but for cleaning up, begins again.
func (r *rebuild) takeOver(ctx context.Context, current meta, found building) error {
	if found.Until > time.Now().UnixMicro() {
		return ErrRebuilding
	}
	keep := []string{current.Generation}
	if found.Schema == schema && found.Generation != current.Generation {
		r.claim.Generation, keep = found.Generation, append(keep, found.Generation)
		r.logger.InfoContext(ctx, "going on with an interrupted rebuild", "generation", found.Generation)
	}
	result, err := r.store.db.Collection(metaName).ReplaceOne(ctx, bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: found.Owner}}, r.claim)
	if err != nil {
		return fmt.Errorf("claim the rebuild: %w", err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	return r.store.clean(ctx, keep...)
}

// renew keeps the claim.
func (r *rebuild) renew(ctx context.Context) error {
	if time.Until(time.UnixMicro(r.claim.Until)) > claimTime*2/3 {
		return nil
	}
	until := time.Now().Add(claimTime).UnixMicro()
	own := bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: r.claim.Owner}}
	result, err := r.store.db.Collection(metaName).UpdateOne(ctx, own, set(bson.D{{Key: "until", Value: until}}))
	if err != nil {
		return fmt.Errorf("renew the claim of the rebuild: %w", err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	r.claim.Until = until
	return nil
}

// indexed builds the indexes the filling did without, and keeps the claim while that takes.
func (r *rebuild) indexed(ctx context.Context, g generation) error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, indexTime) // without a deadline of its own it would get that of one command
		defer cancel()
		done <- r.store.indexHistory(ctx, g)
	}()
	tick := time.NewTicker(claimTime / 3)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if err := r.renew(ctx); err != nil {
				return errors.Join(err, <-done)
			}
		}
	}
}

// change makes the new generation the one that is read, and returns the one that was.
func (r *rebuild) change(ctx context.Context) (old string, err error) {
	current, err := r.store.loadMeta(ctx)
	if err != nil {
		return "", err
	}
	fields := bson.D{{Key: "generation", Value: r.claim.Generation}, {Key: "schema", Value: schema}}
	was := bson.D{{Key: "_id", Value: "current"}, {Key: "generation", Value: current.Generation}}
	result, err := r.store.db.Collection(metaName).UpdateOne(ctx, was, set(fields))
	if err != nil {
		return "", fmt.Errorf("change over to generation %s: %w", r.claim.Generation, err)
	}
	if result.MatchedCount == 0 {
		return "", ErrRebuilding
	}
	r.logger.InfoContext(ctx, "changed over to a new generation of the projection", "generation", r.claim.Generation, "before", current.Generation)
	return current.Generation, nil
}

// errOtherLog says that the log isn't the one the interrupted rebuild read.
var errOtherLog = errors.New("the log has changed since the rebuild was interrupted; begin again")

// forget ends the claim.
func (r *rebuild) forget(ctx context.Context) error {
	if _, err := r.store.db.Collection(metaName).DeleteOne(ctx, bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: r.claim.Owner}}); err != nil {
		return fmt.Errorf("end the rebuild: %w", err)
	}
	return nil
}

// handOver follows the log until every reader and projector has noticed the change, and then drops what nobody reads any more.
func (r *rebuild) handOver(ctx context.Context, f *follower, old string) error {
	for end := time.Now().Add(2*staleMeta + r.store.config.ReadTimeout); time.Now().Before(end); {
		if _, _, err := f.sweep(ctx, everyShard()); err != nil && !errors.Is(err, errFenced) && ctx.Err() == nil {
			r.logger.WarnContext(ctx, "a page was left to the projectors, which have taken over", "error", err)
		}
		wait(ctx, nil, 50*time.Millisecond)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	r.claim.Until = 0 // to be renewed: what is dropped must not be another's
	if err := r.renew(ctx); err != nil {
		return err
	}
	r.logger.InfoContext(ctx, "dropping the old generation of the projection", "generation", old)
	if err := r.store.clean(ctx, f.into.name); err != nil {
		return err
	}
	return r.forget(ctx)
}

// kinds are the collections of a generation.
var kinds = []string{"products", "movements", "journal", "days"}

// clean drops every generation but those to be kept.
func (s *Store) clean(ctx context.Context, keep ...string) error {
	names, err := s.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("list the generations: %w", err)
	}
	for _, name := range names {
		kind, generation, ok := strings.Cut(name, "_")
		if !ok || !slices.Contains(kinds, kind) || slices.Contains(keep, generation) {
			continue
		}
		if err := s.db.Collection(name).Drop(ctx); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	for _, part := range []struct{ in, field string }{{checkpointName, "_id"}, {parkedName, "generation"}} {
		if _, err := s.db.Collection(part.in).DeleteMany(ctx, bson.D{{Key: part.field, Value: bson.D{{Key: "$nin", Value: keep}}}}); err != nil {
			return fmt.Errorf("forget old generations: %w", err)
		}
	}
	return nil
}
