package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Lease is the right to do a role's work on a shard.
type Lease struct {
	Role  string
	Shard int16
	Epoch int64 // grows with each new owner; what an owner writes is fenced by it
	Pos   int64 // the role's checkpoint, for roles that keep it with the lease
}

// LeasesConfig says how work is shared among instances.
type LeasesConfig struct {
	InstanceID string         `env:"INSTANCE_ID"`               // shown as the owner of leases, with a random part behind it
	TTL        time.Duration  `env:"LEASE_TTL" envDefault:"5s"` // how long the work of a lost instance waits for another
	Roles      map[string]int // each role's number of shards
}

// Validate returns every fault of the configuration.
func (c LeasesConfig) Validate() error {
	if c.TTL < time.Second || c.TTL > time.Minute {
		return fmt.Errorf("LEASE_TTL: it is %s; it must be 1s to 1m", c.TTL)
	}
	return nil
}

// Leases shares the work of each role among the instances that are alive: everyone gets an equal part, and what a lost instance held is
// taken over when its time is up. All times are the database's. A lease is advice: what an owner writes must be fenced by its epoch, for an
// instance that was suspended may believe in a lease that has gone to another.
type Leases struct {
	store  *Store
	config LeasesConfig
	owner  string // unique: what a process that died left behind isn't its successor's, whatever they are called
	log    *slog.Logger

	mu      sync.Mutex
	held    map[string][]Lease
	until   time.Time // by the local monotonic clock, no later than the database's
	changed chan struct{}
}

// NewLeases prepares to hold leases; Run takes them.
func NewLeases(s *Store, c LeasesConfig, log *slog.Logger) *Leases {
	return &Leases{store: s, config: c, owner: c.InstanceID + "/" + uuid.NewString(), log: log, held: map[string][]Lease{}, changed: make(chan struct{})}
}

// Held returns the leases of a role that this instance holds now, with their positions as of the last beat. Ask before each piece
// of work: leases that could not be renewed run out without a word.
func (l *Leases) Held(role string) []Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().After(l.until) {
		return nil
	}
	return slices.Clone(l.held[role])
}

// Changed returns a channel that is closed when leases are taken or given back.
func (l *Leases) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

var (
	createLeases     = statement("create_leases")
	renewLeases      = statement("renew_leases")
	releaseLeases    = statement("release_leases")
	checkpointLeases = statement("checkpoint_leases")
	readCheckpoints  = statement("read_checkpoints")
)

// Run takes and keeps leases until the context ends; it doesn't give them back: that is for [Leases.Release], when the work has stopped.
func (l *Leases) Run(ctx context.Context) error {
	every := time.NewTicker(l.config.TTL / 4)
	defer every.Stop()
	created := false
	for {
		err := l.beat(ctx, &created)
		if err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "leases could not be renewed; they run out unless the next try succeeds", "error", err, "time_to_live", l.config.TTL)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (l *Leases) beat(ctx context.Context, created *bool) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.TTL/2)
	defer cancel()
	roles, shards := make([]string, 0, len(l.config.Roles)), make([]int32, 0, len(l.config.Roles))
	for role, n := range l.config.Roles {
		roles, shards = append(roles, role), append(shards, int32(n))
	}
	if !*created {
		if _, err := l.store.pool.Exec(ctx, createLeases, roles, shards); err != nil {
			return fmt.Errorf("create leases: %w", err)
		}
		*created = true
	}
	asked := time.Now()
	rows, err := l.store.pool.Query(ctx, renewLeases, l.owner, l.config.TTL, roles, shards)
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	held := map[string][]Lease{}
	var lease Lease
	var keep bool
	if _, err := pgx.ForEachRow(rows, []any{&lease.Role, &lease.Shard, &lease.Epoch, &lease.Pos, &keep}, func() error {
		if keep {
			held[lease.Role] = append(held[lease.Role], lease)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	l.take(held, asked.Add(l.config.TTL))
	return nil
}

func (l *Leases) take(held map[string][]Lease, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := epochs(l.held)
	l.held, l.until = held, until
	after := epochs(held)
	same := len(before) == len(after)
	for k := range after {
		same = same && before[k]
	}
	if !same {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func epochs(held map[string][]Lease) map[Lease]bool {
	set := map[Lease]bool{}
	for _, leases := range held {
		for _, lease := range leases {
			lease.Pos = 0
			set[lease] = true
		}
	}
	return set
}

// Release gives every lease back, so that others need not wait for them to run out.
func (l *Leases) Release(ctx context.Context) error {
	l.take(map[string][]Lease{}, time.Time{})
	if _, err := l.store.pool.Exec(ctx, releaseLeases, l.owner); err != nil {
		return fmt.Errorf("release leases: %w", err)
	}
	return nil
}

// Checkpoint moves the positions of a role's leases and returns the shards it moved: the others have gone to another owner, or stood
// there already.
func (s *Store) Checkpoint(ctx context.Context, role string, leases []Lease) ([]int16, error) {
	shards, epochs, positions := make([]int16, len(leases)), make([]int64, len(leases)), make([]int64, len(leases))
	for i, l := range leases {
		shards[i], epochs[i], positions[i] = l.Shard, l.Epoch, l.Pos
	}
	moved, err := collect(ctx, s, pgx.RowTo[int16], checkpointLeases, role, shards, epochs, positions)
	if err != nil {
		return nil, fmt.Errorf("move the checkpoints of %s: %w", role, err)
	}
	return moved, nil
}

// Checkpoints returns where each shard of a role stands.
func (s *Store) Checkpoints(ctx context.Context, role string) ([]Cursor, error) {
	cursors, err := collect(ctx, s, pgx.RowToStructByPos[Cursor], readCheckpoints, role)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints of %s: %w", role, err)
	}
	return cursors, nil
}
