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
	// InstanceID is a name that this instance alone has and keeps over restarts, such as a
	// StatefulSet's pod name: letters, digits, dots, underscores and hyphens. An instance that was
	// killed is then back at work within 2 s, because it takes over its own leases and its place in
	// the consumer group. Without a name it waits until both have run out, 7 s. Two processes with
	// one name share the work, and both log an error.
	InstanceID string `env:"INSTANCE_ID"`

	Fixed bool           // INSTANCE_ID was set
	Roles map[string]int // each role's number of shards

	// Tuning.

	// TTL is how long the work of a lost instance waits until another instance takes it over.
	TTL time.Duration `env:"LEASE_TTL" envDefault:"5s"`
}

// Validate returns every fault of the configuration.
func (c LeasesConfig) Validate() error {
	if c.TTL < time.Second || c.TTL > time.Minute {
		return fmt.Errorf("LEASE_TTL: it is %s; it must be 1s to 1m", c.TTL)
	}
	return nil
}

// Leases shares the work of each role among the instances that are alive: everyone gets an equal
// part, and what a lost instance held is taken over when its time is up. All times are the
// database's. A lease is advice: what an owner writes must be fenced by its epoch, for an instance
// that was suspended may believe in a lease that has gone to another.
type Leases struct {
	store  *Store
	config LeasesConfig
	owner  string // unique: tells this process from the one before it, whatever they are called
	log    *slog.Logger

	begun   bool      // the first beat was
	doubled time.Time // when it was last told that another process has the id of this one

	mu      sync.Mutex
	held    map[string][]Lease
	until   time.Time // by the local monotonic clock, no later than the database's
	changed chan struct{}
}

// NewLeases prepares to hold leases; Run takes them.
func NewLeases(s *Store, c LeasesConfig, log *slog.Logger) *Leases {
	return &Leases{store: s, config: c, owner: c.InstanceID + "/" + uuid.NewString(), log: log, held: map[string][]Lease{}, changed: make(chan struct{})}
}

// Held returns the leases of a role that this instance holds now, with their positions as of the
// last beat. Ask before each piece of work: leases that could not be renewed run out without a
// word.
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
	inheritLeases    = statement("inherit_leases")
	readDouble       = statement("read_double")
	renewLeases      = statement("renew_leases")
	releaseLeases    = statement("release_leases")
	checkpointLeases = statement("checkpoint_leases")
	readCheckpoints  = statement("read_checkpoints")
)

// Run takes and keeps leases until the context ends; it doesn't give them back: that is for
// [Leases.Release], when the work has stopped.
func (l *Leases) Run(ctx context.Context) error {
	every := time.NewTicker(l.config.TTL / 4)
	defer every.Stop()
	for {
		err := l.beat(ctx)
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

func (l *Leases) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.TTL/2)
	defer cancel()
	roles, shards := make([]string, 0, len(l.config.Roles)), make([]int32, 0, len(l.config.Roles))
	for role, n := range l.config.Roles {
		roles, shards = append(roles, role), append(shards, int32(n))
	}
	if err := l.begin(ctx, roles, shards); err != nil {
		return err
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
	return l.lookForDouble(ctx)
}

// begin is what comes before the first beat: the leases are there, and what a process with the same
// fixed id left behind is free. That process is dead; if it isn't, the epochs of those who own its
// leases next fence it.
func (l *Leases) begin(ctx context.Context, roles []string, shards []int32) error {
	if l.begun {
		return nil
	}
	if _, err := l.store.pool.Exec(ctx, createLeases, roles, shards); err != nil {
		return fmt.Errorf("create leases: %w", err)
	}
	if l.config.Fixed {
		if _, err := l.store.pool.Exec(ctx, inheritLeases, l.owner, l.config.InstanceID+"/"); err != nil {
			return fmt.Errorf("take over the leases of the process before: %w", err)
		}
	}
	l.begun = true
	return nil
}

// lookForDouble tells of another living process with this one's fixed id: each took over what the
// other held when it started.
func (l *Leases) lookForDouble(ctx context.Context) error {
	if !l.config.Fixed || time.Since(l.doubled) < time.Minute {
		return nil
	}
	var double bool
	if err := l.store.pool.QueryRow(ctx, readDouble, l.owner, l.config.InstanceID+"/").Scan(&double); err != nil {
		return fmt.Errorf("look for another process with this INSTANCE_ID: %w", err)
	}
	if double {
		l.doubled = time.Now()
		l.log.ErrorContext(ctx, "another process is running with the INSTANCE_ID of this one; they share the work, and each takes over the other's when it starts. "+
			"Give each instance another INSTANCE_ID")
	}
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

// Checkpoint moves the positions of a role's leases and returns the shards it moved: the others
// have gone to another owner, or stood there already.
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
