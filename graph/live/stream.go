package live

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// MaxIDs is how many ids one subscriber follows at most.
const MaxIDs = 128

// set is a set of places of ids.
type set [MaxIDs / 64]uint64

func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *set) remove(i int)   { s[i/64] &^= 1 << (i % 64) }
func (s *set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// pop takes the first place at or after from out, or else the first; -1 where there is none.
func (s *set) pop(from int) int {
	for i := range len(s) + 1 {
		word := (from/64 + i) % len(s)
		masked := s[word]
		switch {
		case i == 0:
			masked &= ^uint64(0) << (from % 64)
		case i == len(s):
			masked &= 1<<(from%64) - 1
		}
		if masked != 0 {
			at := word*64 + bits.TrailingZeros64(masked)
			s.remove(at)
			return at
		}
	}
	return -1
}

// stream is what the subscribers of one operation share.
type stream[V any] struct {
	topic  *Topic[V]
	key    string
	ids    []uuid.UUID
	encode func(V) []byte
	latest []atomic.Pointer[[]byte] // by place of the id

	mu          sync.Mutex
	subscribers map[*Subscriber]struct{}
}

// Subscriber is one client's part of a stream.
type Subscriber struct {
	wake  func()
	next  func(at int) []byte
	leave func(*Subscriber)

	mu       sync.Mutex
	news     set    // the ids that have a value which the client hasn't got
	awaiting set    // the ids whose present value it hasn't got yet
	since    uint64 // only reads that began later count as present
	turn     int    // the id to begin with, so that busy ones don't hold up others
}

// Subscribe follows ids, of which there are 1 to [MaxIDs], each once. wake is called after there is news,
// and must not block; [Subscriber.Next] then has it: first the present value of each id that has one, read
// after the call of Subscribe, then what replaces it. Subscribers with the same key share what encode made
// of a value, so the key must say all that encode and ids depend on. Of one key encode isn't called twice
// at a time.
func (t *Topic[V]) Subscribe(key string, ids []uuid.UUID, encode func(V) []byte, wake func()) *Subscriber {
	t.watching.Lock()
	defer t.watching.Unlock()
	t.mu.Lock()
	s := t.streams[key]
	if s == nil {
		s = &stream[V]{
			topic: t, key: key, ids: ids, encode: encode, latest: make([]atomic.Pointer[[]byte], len(ids)), subscribers: map[*Subscriber]struct{}{},
		}
		t.streams[key] = s
	}
	var added []uuid.UUID
	for at, id := range s.ids {
		it := t.items[id]
		if it == nil {
			it = &item[V]{streams: map[*stream[V]]int{}}
			t.items[id] = it
			added = append(added, id)
		}
		it.streams[s] = at
	}
	t.mu.Unlock()
	for _, id := range added { // they stay until t.watching is free
		stop := t.source.Watch(id)
		t.mu.Lock()
		t.items[id].stop = stop
		t.mu.Unlock()
	}
	sub := &Subscriber{wake: wake, leave: s.remove, next: func(at int) []byte {
		if p := s.latest[at].Load(); p != nil {
			return *p
		}
		return nil
	}}
	for at := range s.ids {
		sub.awaiting.add(at)
	}
	t.mu.Lock()
	sub.since = t.reads
	t.mu.Unlock()
	s.mu.Lock()
	s.subscribers[sub] = struct{}{}
	s.mu.Unlock()
	t.mu.Lock()
	for _, id := range s.ids { // now that the values find the subscriber
		t.urgent[id] = struct{}{}
	}
	t.mu.Unlock()
	t.hurry()
	return sub
}

// Next returns what is to be sent next, if there is anything: of one id, the latest.
func (sub *Subscriber) Next() (encoded []byte, ok bool) {
	sub.mu.Lock()
	at := sub.news.pop(sub.turn)
	if at >= 0 {
		sub.turn = (at + 1) % MaxIDs
	}
	sub.mu.Unlock()
	if at < 0 {
		return nil, false
	}
	return sub.next(at), true
}

// Leave ends the following. wake may still be called by what is under way.
func (sub *Subscriber) Leave() { sub.leave(sub) }

// tell encodes a value and marks it as news for those who want it: who awaits the present one, and, where
// it replaces one, everybody.
func (s *stream[V]) tell(at int, value V, news bool, read uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	encoded := false
	for sub := range s.subscribers {
		if !sub.wants(at, news, read) {
			continue
		}
		if !encoded { // before anybody can ask for it
			body := s.encode(value)
			s.latest[at].Store(&body)
			encoded = true
		}
		sub.mu.Lock()
		sub.news.add(at)
		sub.awaiting.remove(at)
		sub.mu.Unlock()
		sub.wake()
	}
}

// wants says whether the value of a read is one to send. Before the present value comes nothing is: it may
// be older than what the client has seen elsewhere.
func (sub *Subscriber) wants(at int, news bool, read uint64) bool {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.awaiting.has(at) {
		return read > sub.since
	}
	return news
}

// remove ends a subscriber, and what nobody follows any more.
func (s *stream[V]) remove(sub *Subscriber) {
	t := s.topic
	t.watching.Lock()
	defer t.watching.Unlock()
	s.mu.Lock()
	delete(s.subscribers, sub)
	left := len(s.subscribers)
	s.mu.Unlock()
	if left > 0 {
		return
	}
	t.mu.Lock()
	if t.streams[s.key] == s {
		delete(t.streams, s.key)
	}
	var stops []func()
	for _, id := range s.ids {
		it := t.items[id]
		if it == nil {
			continue
		}
		if delete(it.streams, s); len(it.streams) == 0 {
			delete(t.items, id)
			stops = append(stops, it.stop)
		}
	}
	t.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}
