package command

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"product-service/eventstore"
)

// AnnouncerRole is the role whose leases share the shards of the log among the announcers; its
// checkpoints are kept with the leases.
const AnnouncerRole = "announcer"

const (
	announcePage = 100 // inventory events of a shard
	announcePoll = time.Second
)

// Announcements is the log as the announcer reads it; eventstore.Store is one.
type Announcements interface {
	InventoryLog
	Checkpoint(ctx context.Context, role string, leases []eventstore.Lease) ([]int16, error)
}

// Announcer tells of the inventory events in the log: of each at least once, in order per product,
// and also of those that were committed while nobody could be told. Shards don't wait for each
// other. What was in the log before the first announcer ran is not told.
type Announcer struct {
	events   Announcements
	leases   LeaseHolder
	wake     <-chan struct{}
	announce func(context.Context, InventoryEvent) error
	log      *slog.Logger

	shards map[int16]*announced
	ended  chan *announced // those whose page is told
	pages  sync.WaitGroup
}

// announced is how far a shard is told.
type announced struct {
	lease  eventstore.Lease
	busy   bool
	cancel context.CancelFunc // ends the page under way
}

// NewAnnouncer prepares an announcer; Run starts it. wake is a hint that the log has grown, such as
// eventstore.Store.Committed gives. announce returns when nothing more is to be done about an
// event, and with an error only when the context has ended.
func NewAnnouncer(a Announcements, l LeaseHolder, wake <-chan struct{}, announce func(context.Context, InventoryEvent) error, log *slog.Logger) *Announcer {
	return &Announcer{events: a, leases: l, wake: wake, announce: announce, log: log}
}

// Run announces until the context ends. It tries again for ever.
func (a *Announcer) Run(ctx context.Context) error {
	a.shards, a.ended = map[int16]*announced{}, make(chan *announced)
	defer a.pages.Wait()
	for attempt := 0; ; {
		changed := a.leases.Changed()
		err := a.begin(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			a.log.WarnContext(ctx, "inventory events could not be read from the log; it is tried again", "attempt", attempt, "error", err)
			pause(ctx, attempt)
			attempt++
			continue
		}
		attempt = 0
		poll := time.NewTimer(announcePoll)
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-changed:
		case <-poll.C:
		case s := <-a.ended:
			s.busy = false
		}
		poll.Stop()
	}
}

// begin reads on where nothing is under way.
func (a *Announcer) begin(ctx context.Context) error {
	if err := a.adopt(ctx); err != nil {
		return err
	}
	var cursors []eventstore.Cursor
	for shard, s := range a.shards {
		if !s.busy {
			cursors = append(cursors, eventstore.Cursor{Shard: shard, Pos: s.lease.Pos})
		}
	}
	if len(cursors) == 0 {
		return nil
	}
	records, err := a.events.InventoryTail(ctx, cursors, announcePage)
	if err != nil {
		return err
	}
	pages := map[int16][]eventstore.Record{}
	for _, r := range records {
		pages[r.Shard] = append(pages[r.Shard], r)
	}
	for shard, page := range pages {
		s := a.shards[shard]
		s.busy = true
		of, cancel := context.WithCancel(ctx)
		s.cancel = cancel
		a.pages.Go(func() {
			a.tell(of, s, page)
			select {
			case a.ended <- s:
			case <-ctx.Done():
			}
		})
	}
	return nil
}

// adopt takes over what has changed of the leases. A shard's first owner ever begins at its end.
func (a *Announcer) adopt(ctx context.Context) error {
	held := map[int16]*announced{}
	var fresh []*announced
	for _, lease := range a.leases.Held(AnnouncerRole) {
		if s := a.shards[lease.Shard]; s != nil && s.lease.Epoch == lease.Epoch {
			held[lease.Shard] = s
			continue
		}
		s := &announced{lease: lease, cancel: func() {}}
		held[lease.Shard] = s
		if lease.Epoch == 1 {
			fresh = append(fresh, s)
		}
	}
	if len(fresh) > 0 {
		tips, err := a.events.Positions(ctx)
		if err != nil {
			return err
		}
		for _, s := range fresh {
			s.lease.Pos = tips[s.lease.Shard]
			if err := a.checkpoint(ctx, s); err != nil {
				return err
			}
		}
	}
	for shard, s := range a.shards {
		if held[shard] != s {
			s.cancel()
		}
	}
	a.shards = held
	return nil
}

// tell announces a page in order, and saves how far it came.
func (a *Announcer) tell(ctx context.Context, s *announced, page []eventstore.Record) {
	defer s.cancel()
	for _, r := range page {
		e, err := inventoryEventOf(r)
		if err == nil {
			if err = a.announce(ctx, e); err != nil {
				break
			}
		} else {
			a.log.ErrorContext(ctx, "an inventory event in the log can't be read, and isn't announced", "shard", r.Shard, "pos", r.Pos, "error", err)
		}
		s.lease.Pos = r.Pos
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayGrace)
	defer cancel()
	if err := a.checkpoint(ctx, s); err != nil {
		a.log.WarnContext(ctx, "how far inventory events are announced could not be saved; some may be announced again", "shard", s.lease.Shard, "error", err)
	}
}

func (a *Announcer) checkpoint(ctx context.Context, s *announced) error {
	if s.lease.Pos == 0 {
		return nil
	}
	if _, err := a.events.Checkpoint(ctx, AnnouncerRole, []eventstore.Lease{s.lease}); err != nil {
		return fmt.Errorf("save a checkpoint: %w", err)
	}
	return nil
}
