package stack

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// janitor removes the members of consumer groups that are gone, as Apache Kafka does when a session
// runs out. kfake has holes there: a member whose connection ended while it waited for the answer
// to its joining is given no session at all, and stays for ever with its partitions; the others,
// who can't send heartbeats while they wait for a leader of that kind, lose theirs; and each
// newcomer makes all wait for a whole rebalance timeout from then on, so that clients who give up
// before and come back wait for ever.
type janitor struct {
	cluster *kfake.Cluster
	client  *kgo.Client

	mu     sync.Mutex
	groups map[string]*watchedGroup
}

type watchedGroup struct {
	epoch   int32
	since   time.Time // when that epoch was seen first
	members map[string]*watchedMember
}

type watchedMember struct {
	heard   time.Time // the last that was heard of it
	joining int32     // the epoch in which it asked to join and was not heard since; -1 if it was
	session time.Duration
}

const (
	lookEvery    = 250 * time.Millisecond
	syncedWithin = 3 * time.Second // who was told to have joined says what it makes of that, or asks
)

// watchMembers starts a janitor; it ends with the context.
func watchMembers(ctx context.Context, cluster *kfake.Cluster) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		return err
	}
	j := &janitor{cluster: cluster, client: client, groups: map[string]*watchedGroup{}}
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat} {
		cluster.ControlKey(key.Int16(), j.hear)
	}
	go j.run(ctx)
	return nil
}

// hear notes that a member is alive, and leaves the request to the broker.
func (j *janitor) hear(request kmsg.Request) (kmsg.Response, error, bool) {
	j.cluster.KeepControl()
	switch r := request.(type) {
	case *kmsg.JoinGroupRequest:
		if r.MemberID == "" {
			break // it has no name yet
		}
		epoch := int32(0)
		if info := j.cluster.GroupInfo(r.Group); info != nil {
			epoch = info.Epoch
		}
		j.note(r.Group, r.MemberID, watchedMember{heard: time.Now(), joining: epoch, session: time.Duration(r.SessionTimeoutMillis) * time.Millisecond})
	case *kmsg.SyncGroupRequest:
		j.note(r.Group, r.MemberID, watchedMember{heard: time.Now(), joining: -1})
	case *kmsg.HeartbeatRequest:
		j.note(r.Group, r.MemberID, watchedMember{heard: time.Now(), joining: -1})
	}
	return nil, nil, false
}

func (j *janitor) note(group, member string, now watchedMember) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g := j.groups[group]
	if g == nil {
		g = &watchedGroup{epoch: -1, members: map[string]*watchedMember{}}
		j.groups[group] = g
	}
	if before := g.members[member]; before != nil && now.session == 0 {
		now.session = before.session
	}
	g.members[member] = &now
}

func (j *janitor) run(ctx context.Context) {
	defer j.client.Close()
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		j.mu.Lock()
		names := make([]string, 0, len(j.groups))
		for name := range j.groups {
			names = append(names, name)
		}
		j.mu.Unlock()
		for _, name := range names {
			for _, member := range j.gone(name, j.cluster.GroupInfo(name), time.Now()) {
				j.remove(ctx, name, member)
			}
		}
	}
}

// gone returns the members of a group that must be taken for dead.
func (j *janitor) gone(name string, info *kfake.GroupInfo, now time.Time) (dead []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g := j.groups[name]
	if info == nil || len(info.Members) == 0 {
		if len(g.members) > 0 && now.Sub(g.since) < time.Minute {
			return nil // someone may be about to join
		}
		delete(j.groups, name)
		return nil
	}
	if info.Epoch != g.epoch {
		g.epoch, g.since = info.Epoch, now
	}
	known := g.members
	g.members = make(map[string]*watchedMember, len(info.Members))
	for _, m := range info.Members {
		w := known[m.MemberID]
		if w == nil { // it joined without a name, or before the broker started
			w = &watchedMember{heard: now, joining: info.Epoch, session: 10 * time.Second}
		}
		g.members[m.MemberID] = w
		if w.silent(info.State, g, now) {
			dead = append(dead, m.MemberID)
		}
	}
	return dead
}

// silent says whether a member should have been heard of by now.
func (w *watchedMember) silent(state string, g *watchedGroup, now time.Time) bool {
	switch {
	case state == "PreparingRebalance" && w.joining == g.epoch:
		return false // it waits for the others
	case state == "CompletingRebalance" && w.heard.Before(g.since) && w.joining >= 0:
		return now.Sub(g.since) > syncedWithin
	}
	last := w.heard
	if w.joining >= 0 && g.since.After(last) {
		last = g.since // it was waiting until then
	}
	return now.Sub(last) > w.session+time.Second
}

// remove lets a member leave.
func (j *janitor) remove(ctx context.Context, group, member string) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	req.Members = append(req.Members, m)
	req.MemberID = member // before version 3
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, _ = req.RequestWith(ctx, j.client) // if it fails the member is found again
}
