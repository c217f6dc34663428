package eventstore

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// Ensure that a shard is settled up to now unless a batch is being decided in it, and that what
// comes later is stamped later.
func TestSettled(t *testing.T) {
	s := open(t)
	product := inShard(3)
	var stamped time.Time
	err := s.Transact(t.Context(), Keys{Products: []uuid.UUID{product}}, func(snapshot *Snapshot, _ *Changes) error {
		stamped = snapshot.Now
		settled := must[map[int16]time.Time](t)(s.Settled(t.Context(), []int16{2, 3}))
		if _, ok := settled[3]; ok || len(settled) != 1 {
			t.Errorf("while a batch is decided in shard 3: %v", settled)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	settled := must[map[int16]time.Time](t)(s.Settled(t.Context(), []int16{2, 3}))
	if len(settled) != 2 || settled[3].Before(stamped) {
		t.Errorf("after it: %v, stamped was %v", settled, stamped)
	}
	err = s.Transact(t.Context(), Keys{Products: []uuid.UUID{product}}, func(snapshot *Snapshot, _ *Changes) error {
		if snapshot.Now.Before(settled[3]) {
			t.Errorf("a batch is stamped %v, the shard was settled at %v", snapshot.Now, settled[3])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
