package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// building names the generation that is being filled, and who does it. It is the claim to fill generations and to drop them.
type building struct {
	ID         string `bson:"_id"`
	Generation string `bson:"generation"`
	Schema     int    `bson:"schema"`
	Owner      string `bson:"owner"`
	Until      int64  `bson:"until"` // others may go on after it
}

// claimTime is how long an interrupted rebuild waits for another process. It is longer than changeTime: until then nobody else drops what is read.
const claimTime = 15 * time.Second

// claiming is a claim of somebody new.
func claiming(generation string) building {
	return building{ID: "building", Generation: generation, Schema: schema, Owner: uuid.NewString(), Until: time.Now().Add(claimTime).UnixMicro()}
}

// claimed returns the claim there is, of whoever it is.
func (s *Store) claimed(ctx context.Context) (found building, ok bool, err error) {
	err = s.db.Collection(metaName).FindOne(ctx, bson.D{{Key: "_id", Value: "building"}}).Decode(&found)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return found, false, nil
	}
	if err != nil {
		return found, false, fmt.Errorf("find an interrupted rebuild: %w", err)
	}
	return found, true, nil
}

// takeOver puts a claim in the place of one that has run out, and then drops all generations but those to be kept: under the claim, or it could be
// another's. It returns [ErrRebuilding] where the old one hasn't run out, or somebody was faster.
func (s *Store) takeOver(ctx context.Context, old building, claim *building, keep ...string) error {
	if old.Until > time.Now().UnixMicro() {
		return ErrRebuilding
	}
	result, err := s.db.Collection(metaName).ReplaceOne(ctx, bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: old.Owner}}, claim)
	if err != nil {
		return fmt.Errorf("claim the rebuild: %w", err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	return s.clean(ctx, claim, keep...)
}

// forget ends a claim.
func (s *Store) forget(ctx context.Context, claim building) error {
	if _, err := s.db.Collection(metaName).DeleteOne(ctx, bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: claim.Owner}}); err != nil {
		return fmt.Errorf("end the rebuild: %w", err)
	}
	return nil
}

// tidy drops what a rebuild left that changed over and then ended before it could clean up.
func (s *Store) tidy(ctx context.Context, current meta) error {
	left, ok, err := s.claimed(ctx)
	if err != nil || !ok || left.Generation != current.Generation {
		return err
	}
	claim := claiming(current.Generation)
	if err := s.takeOver(ctx, left, &claim, current.Generation); errors.Is(err, ErrRebuilding) {
		return nil // it is theirs
	} else if err != nil {
		return fmt.Errorf("tidy up after a rebuild: %w", err)
	}
	return s.forget(ctx, claim)
}

// begin claims the rebuild: a new one, or one that was interrupted. One of another shape of documents, or that was done but for cleaning up,
// begins again.
func (r *rebuild) begin(ctx context.Context) error {
	current, err := r.store.loadMeta(ctx)
	if err != nil {
		return err
	}
	if current.Schema > schema {
		return errNewer
	}
	found, interrupted, err := r.store.claimed(ctx)
	if err != nil {
		return err
	}
	r.claim = claiming(next(current.Generation, found.Generation))
	keep := []string{current.Generation}
	if interrupted {
		if found.Schema == schema && found.Generation != current.Generation {
			r.claim.Generation, keep = found.Generation, append(keep, found.Generation)
			r.logger.InfoContext(ctx, "going on with an interrupted rebuild", "generation", found.Generation)
		}
		return r.store.takeOver(ctx, found, &r.claim, keep...)
	}
	if _, err := r.store.db.Collection(metaName).InsertOne(ctx, r.claim); mongo.IsDuplicateKeyError(err) {
		return ErrRebuilding
	} else if err != nil {
		return fmt.Errorf("claim the rebuild: %w", err)
	}
	// Under the claim, as above. Another rebuild may have come and gone before it.
	if now, err := r.store.loadMeta(ctx); err != nil || now.Generation != current.Generation {
		return errors.Join(err, ErrRebuilding, r.store.forget(ctx, r.claim))
	}
	return r.store.clean(ctx, &r.claim, keep...)
}

// next is a generation that was never before.
func next(current, building string) string {
	a, _ := strconv.Atoi(current) // both were written by next, or are "1"
	b, _ := strconv.Atoi(building)
	return strconv.Itoa(max(a, b) + 1)
}

// renew keeps a claim. It returns [ErrRebuilding] where it has become another's.
func (s *Store) renew(ctx context.Context, claim *building) error {
	if time.Until(time.UnixMicro(claim.Until)) > claimTime*2/3 {
		return nil
	}
	until := time.Now().Add(claimTime).UnixMicro()
	own := bson.D{{Key: "_id", Value: "building"}, {Key: "owner", Value: claim.Owner}}
	result, err := s.db.Collection(metaName).UpdateOne(ctx, own, set(bson.D{{Key: "until", Value: until}}))
	if err != nil {
		return fmt.Errorf("renew the claim of the rebuild: %w", err)
	}
	if result.MatchedCount == 0 {
		return ErrRebuilding
	}
	claim.Until = until
	return nil
}

func (r *rebuild) renew(ctx context.Context) error { return r.store.renew(ctx, &r.claim) }

// renewNow keeps the claim for all of its time: what is done next must not be another's.
func (r *rebuild) renewNow(ctx context.Context) error {
	r.claim.Until = 0
	return r.renew(ctx)
}

// clean drops every generation but those to be kept, as long as the claim is its own. It begins with the checkpoints: a generation that has them is
// whole. What it drops it names, for the names are never used again: a late command drops nothing of a newer rebuild.
func (s *Store) clean(ctx context.Context, claim *building, keep ...string) error {
	for _, part := range []struct{ in, field string }{{checkpointName, "_id"}, {parkedName, "generation"}} {
		in := s.db.Collection(part.in)
		old, err := others(ctx, in, part.field, keep)
		if err != nil {
			return fmt.Errorf("list the generations: %w", err)
		}
		if len(old) == 0 {
			continue
		}
		if err := s.renew(ctx, claim); err != nil {
			return err
		}
		if _, err := in.DeleteMany(ctx, bson.D{{Key: part.field, Value: bson.D{{Key: "$in", Value: old}}}}); err != nil {
			return fmt.Errorf("forget old generations: %w", err)
		}
	}
	names, err := s.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return fmt.Errorf("list the generations: %w", err)
	}
	for _, name := range names {
		kind, generation, ok := strings.Cut(name, "_")
		if !ok || !slices.Contains(kinds, kind) || slices.Contains(keep, generation) {
			continue
		}
		if err := s.renew(ctx, claim); err != nil {
			return err
		}
		if err := s.db.Collection(name).Drop(ctx); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	return nil
}

// others are the values of a field, each once, but for those to be kept.
func others(ctx context.Context, in *mongo.Collection, field string, keep []string) ([]string, error) {
	filter := bson.D{{Key: field, Value: bson.D{{Key: "$nin", Value: keep}}}}
	cursor, err := in.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: field, Value: 1}}))
	if err != nil {
		return nil, err
	}
	var docs []bson.Raw
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, err
	}
	var values []string
	for _, d := range docs {
		if value, ok := d.Lookup(field).StringValueOK(); ok { // what isn't one isn't ours
			values = append(values, value)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}
