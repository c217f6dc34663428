package read

import (
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"product-service/projection/store"
	"product-service/projection/view"
)

// kept holds what was read of products, so that what is asked for often needn't come from MongoDB each time. It is used only while this process's projector
// is the only one to write what is read ([store.Store.Sole]): it then hears of every change, and what is kept is what MongoDB holds, but for the moment
// between a write and the word of it.
//
//   - A product that changed is dropped, and with it every page: any change may move products in a list, into it or out of it.
//   - What was read while something changed isn't kept. Changes are numbered, and a read knows the number it began at.
//   - A read that finds a product newer than the one kept drops the older one: no product is shown older than it was.
//   - Nothing is kept longer than keptAge: a repair by another process, which writes without a lease, shows by then.
type kept struct {
	store *store.Store
	now   func() time.Time

	mu         sync.Mutex
	generation string
	changes    uint64          // how many there were
	dropped    [stripes]uint64 // the number of the last change of a product of each stripe
	missed     uint64          // the number of the last change of everything
	seen       time.Time       // pages that were read before it may lack what clients know
	products   shelf[uuid.UUID, *keptProduct]
	variants   map[uuid.UUID]uuid.UUID // the products that variants belong to, of those kept
	pages      shelf[string, *keptPage]
}

const (
	keptAge = 5 * time.Second
	stripes = 1024
)

type keptProduct struct {
	product  *Product
	pos, rev int64
	read     time.Time
}

// keptPage is a page by the ids on it: its products are those kept.
type keptPage struct {
	page Page[uuid.UUID]
	read readStart // when that began
}

// shelf holds values of some size in all, those used least recently going first.
type shelf[K comparable, V any] struct {
	lru         *simplelru.LRU[K, V]
	size        func(V) int
	used, limit int
}

func newShelf[K comparable, V any](limit int, size func(V) int, gone func(K, V)) shelf[K, V] {
	s := shelf[K, V]{size: size, limit: limit}
	s.lru, _ = simplelru.NewLRU(math.MaxInt32, gone) // fails only for a size below 1
	return s
}

func (s *shelf[K, V]) put(key K, v V) {
	s.lru.Remove(key)
	s.lru.Add(key, v)
	for s.used += s.size(v); s.used > s.limit; {
		if _, _, ok := s.lru.RemoveOldest(); !ok {
			return
		}
	}
}

func newKept(s *store.Store) *kept {
	k := &kept{store: s, now: time.Now, variants: map[uuid.UUID]uuid.UUID{}}
	limit := s.Config.ReadCache
	k.products = newShelf(limit*3/4, (*keptProduct).size, func(id uuid.UUID, gone *keptProduct) {
		k.products.used -= gone.size()
		for i := range gone.product.Variants {
			if v := gone.product.Variants[i].ID; k.variants[v] == id {
				delete(k.variants, v)
			}
		}
	})
	k.pages = newShelf(limit/4, (*keptPage).size, func(_ string, gone *keptPage) { k.pages.used -= gone.size() })
	if limit > 0 {
		s.Changes.Hear(k.changed)
	}
	return k
}

// size estimates what it takes in memory.
func (p *keptProduct) size() int {
	n := 600 + len(p.product.Name) + len(p.product.Description)
	for i := range p.product.Variants {
		v := &p.product.Variants[i]
		n += 250 + len(v.SKU) + len(v.Name)
		for _, a := range v.Attributes {
			n += 32 + len(a.Name) + len(a.Value)
		}
	}
	return n
}

func (p *keptPage) size() int { return 400 + 150*len(p.page.Edges) }

func stripeOf(id uuid.UUID) int { return (int(id[14])<<8 | int(id[15])) % stripes }

// changed drops what has changed: everything, where that isn't known.
func (k *kept) changed(changes []view.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	if len(changes) == 0 {
		k.purge()
		return
	}
	for _, c := range changes {
		k.dropped[stripeOf(c.ProductID)] = k.changes
		k.products.lru.Remove(c.ProductID)
	}
}

func (k *kept) purge() {
	k.missed = k.changes
	k.products.lru.Purge()
	k.pages.lru.Purge()
}

// usable says whether what is kept may be shown, and makes sure that it is of the generation that is read. It is called before k.mu is held.
func (k *kept) usable() bool {
	generation, sole := k.store.Sole()
	if !sole || k.store.Config.ReadCache == 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.generation != generation {
		k.generation = generation
		k.changes++
		k.purge()
	}
	return true
}

// readStart says when a read began: what is read may be kept if no change comes to it.
type readStart struct {
	changes uint64 // that there were before
	at      time.Time
}

func (k *kept) begin() readStart {
	k.mu.Lock()
	defer k.mu.Unlock()
	return readStart{k.changes, k.now()}
}

// find returns the products kept of those asked for, and the ids of the others.
func (k *kept) find(ids []uuid.UUID) (found map[uuid.UUID]*Product, missing []uuid.UUID) {
	if !k.usable() {
		return nil, ids
	}
	found = make(map[uuid.UUID]*Product, len(ids))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		if p := k.get(id); p != nil {
			found[id] = p
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}

// one returns a product, if it is kept.
func (k *kept) one(id uuid.UUID) *Product {
	if !k.usable() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.get(id)
}

// get is one with k.mu held.
func (k *kept) get(id uuid.UUID) *Product {
	p, ok := k.products.lru.Get(id)
	if !ok || k.now().Sub(p.read) > keptAge {
		return nil
	}
	return p.product
}

// findVariants returns the variants kept of those asked for, and the ids of the others.
func (k *kept) findVariants(ids []uuid.UUID) (found map[uuid.UUID]*Variant, missing []uuid.UUID) {
	if !k.usable() {
		return nil, ids
	}
	found = make(map[uuid.UUID]*Variant, len(ids))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		if v := k.variant(id); v != nil {
			found[id] = v
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}

func (k *kept) variant(id uuid.UUID) *Variant {
	owner, ok := k.variants[id]
	if !ok {
		return nil
	}
	p := k.get(owner)
	if p == nil {
		return nil
	}
	for i := range p.Variants {
		if p.Variants[i].ID == id {
			return &p.Variants[i]
		}
	}
	return nil
}

// keep takes in what was read of a generation since a number of changes.
func (k *kept) keep(generation string, since readStart, docs []view.Document, products []*Product) {
	if k.store.Config.ReadCache == 0 {
		return
	}
	read := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if generation != k.generation {
		return
	}
	for i := range docs {
		d, p := &docs[i], products[i]
		known, ok := k.products.lru.Peek(p.ID)
		newer := !ok || d.Rev > known.rev || (d.Rev == known.rev && d.Pos > known.pos)
		if ok && newer { // the word of its change is still to come
			k.changes++
			k.products.lru.Remove(p.ID)
		}
		if k.missed > since.changes || k.dropped[stripeOf(p.ID)] > since.changes || (ok && !newer && (d.Pos != known.pos || d.Rev != known.rev)) {
			continue
		}
		k.products.put(p.ID, &keptProduct{product: p, pos: d.Pos, rev: d.Rev, read: read})
		if !k.products.lru.Contains(p.ID) { // there is no room for it
			continue
		}
		for j := range p.Variants {
			k.variants[p.Variants[j].ID] = p.ID
		}
	}
}

// has says whether a product is kept at a version or a later one. A client that is told so may look for it in lists: those that were read before it was may
// lack it.
func (k *kept) has(id uuid.UUID, version int64) bool {
	if !k.usable() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.get(id)
	if p == nil || p.Version < version {
		return false
	}
	if known, _ := k.products.lru.Peek(id); known.read.After(k.seen) {
		k.seen = known.read
	}
	return true
}

// reached notes that a product was seen at a version.
func (k *kept) reached(id uuid.UUID, version int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.products.lru.Peek(id); ok {
		if known.product.Version >= version {
			return
		}
		k.products.lru.Remove(id)
	}
	k.changes++ // the word of it may be still to come, and it may be new in any list
	k.dropped[stripeOf(id)] = k.changes
}

// page returns a page whose products are all kept.
func (k *kept) page(asked string) (page Page[Product], ok bool) {
	if !k.usable() {
		return page, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.pages.lru.Get(asked)
	if !ok || known.read.changes != k.changes || known.read.at.Before(k.seen) || k.now().Sub(known.read.at) > keptAge {
		return page, false
	}
	page = Page[Product]{Edges: make([]Edge[Product], len(known.page.Edges)), HasNext: known.page.HasNext, HasPrevious: known.page.HasPrevious, Total: known.page.Total}
	for i, e := range known.page.Edges {
		p := k.get(e.Node)
		if p == nil {
			return Page[Product]{}, false
		}
		page.Edges[i] = Edge[Product]{Cursor: e.Cursor, Node: *p}
	}
	return page, true
}

// keepPage takes in a page that was read of a generation since a number of changes.
func (k *kept) keepPage(generation, asked string, since readStart, page Page[Product]) {
	if k.store.Config.ReadCache == 0 {
		return
	}
	ids := make([]Edge[uuid.UUID], len(page.Edges))
	for i := range page.Edges {
		ids[i] = Edge[uuid.UUID]{Cursor: page.Edges[i].Cursor, Node: page.Edges[i].Node.ID}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if generation == k.generation && k.changes == since.changes {
		k.pages.put(asked, &keptPage{Page[uuid.UUID]{Edges: ids, HasNext: page.HasNext, HasPrevious: page.HasPrevious, Total: page.Total}, since})
	}
}
