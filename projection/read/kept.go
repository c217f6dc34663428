package read

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"product-service/projection/store"
	"product-service/projection/view"
)

// kept holds what was read of products, so that what is asked for often needn't come from MongoDB each
// time. It is used only while this process hears of changes as they come ([store.Store.Heard]): at once
// where its own projector alone makes them, some time after they show in MongoDB where it follows what
// other processes make.
//
//   - A product that changed is dropped, and with it every page that may look otherwise now: one that
//     is ordered or filtered by stock, and all of them where more than the stock of a product changed.
//   - What was read while it changed isn't kept. Changes are numbered, and a read knows the number it
//     began at.
//   - A read that finds a product newer than the one kept drops the older one, and so does a wait for a
//     version: no product is shown older than it was.
//   - Nothing is kept longer than keptAge: a repair by another process, of which nobody is told, shows
//     by then.
type kept struct {
	store *store.Store
	now   func() time.Time

	mu         sync.Mutex
	generation string
	changes    uint64          // how many there were
	dropped    [stripes]uint64 // the number of the last change of a product of each stripe
	moved      uint64          // the number of the last change with which products may have come into a list, gone, or changed places by more than their stock
	missed     uint64          // the number of the last change of everything
	seen       time.Time       // pages that were read before it may lack what clients know
	products   shelf[uuid.UUID, *keptProduct]
	variants   map[uuid.UUID]uuid.UUID // the products that variants belong to, of those kept
	pages      shelf[string, *keptPage]
	orders     map[OrderField]*knownOrder // of lists of all products that no stock moves
	orderLimit int                        // of the bytes of each
}

const (
	keptAge = 15 * time.Second
	stripes = 1024
)

type keptProduct struct {
	product  *Product
	pos, rev int64
	read     time.Time
}

// keptPage is a page by the ids on it: its products are those kept.
type keptPage struct {
	page  Page[uuid.UUID]
	stock bool      // what is on it depends on the stock of products
	read  readStart // when that began
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
	k := &kept{store: s, now: time.Now, variants: map[uuid.UUID]uuid.UUID{}, orders: map[OrderField]*knownOrder{}}
	limit := s.Config.ReadCache
	k.orderLimit = limit / 8
	k.products = newShelf(limit*5/8, (*keptProduct).size, func(id uuid.UUID, gone *keptProduct) {
		k.products.used -= gone.size()
		for i := range gone.product.Variants {
			if v := gone.product.Variants[i].ID; k.variants[v] == id {
				delete(k.variants, v)
			}
		}
	})
	k.pages = newShelf(limit/8, (*keptPage).size, func(_ string, gone *keptPage) { k.pages.used -= gone.size() })
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

// holds says whether the page is what would be read now, but for the products themselves; k.mu is held.
func (p *keptPage) holds(k *kept) bool {
	if p.stock && k.changes > p.read.changes {
		return false
	}
	return k.unmoved(p.read)
}

// unmoved says whether lists that don't depend on stock still are what was read since then; k.mu is held.
func (k *kept) unmoved(since readStart) bool {
	return since.generation == k.generation && k.moved <= since.changes && !since.at.Before(k.seen) && k.now().Sub(since.at) <= keptAge
}

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
		k.drop(c.ProductID)
		if !c.StockOnly {
			k.moved = k.changes
		}
	}
}

// drop drops a product that has changed; k.mu is held.
func (k *kept) drop(id uuid.UUID) {
	k.dropped[stripeOf(id)] = k.changes
	k.products.lru.Remove(id)
}

func (k *kept) purge() {
	k.missed, k.moved = k.changes, k.changes
	k.products.lru.Purge()
	k.pages.lru.Purge()
	clear(k.orders)
}

// usable says whether what is kept may be shown, and makes sure that it is of the generation that
// is read. It is called before k.mu is held.
func (k *kept) usable(ctx context.Context) bool {
	if k.store.Config.ReadCache == 0 {
		return false
	}
	generation, heard := k.store.Heard(ctx)
	if !heard {
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

// readStart says when a read began, and of which generation: what is read may be kept if no change
// comes to it.
type readStart struct {
	generation string
	changes    uint64 // that there were before
	at         time.Time
}

func (k *kept) begin(generation string) readStart {
	k.mu.Lock()
	defer k.mu.Unlock()
	return readStart{generation, k.changes, k.now()}
}

// product returns a product, if it is kept; k.mu is held.
func (k *kept) product(id uuid.UUID) *Product {
	p, ok := k.products.lru.Get(id)
	if !ok || k.now().Sub(p.read) > keptAge {
		return nil
	}
	return p.product
}

// variant returns a variant, if its product is kept; k.mu is held.
func (k *kept) variant(id uuid.UUID) *Variant {
	owner, ok := k.variants[id]
	if !ok {
		return nil
	}
	p := k.product(owner)
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

// find returns what is kept of what is asked for, by get, and the ids of the others.
func find[V any](ctx context.Context, k *kept, ids []uuid.UUID, get func(uuid.UUID) *V) (found map[uuid.UUID]*V, missing []uuid.UUID) {
	if !k.usable(ctx) {
		return nil, ids
	}
	found = make(map[uuid.UUID]*V, len(ids))
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		if v := get(id); v != nil {
			found[id] = v
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}

// one returns a product, if it is kept.
func (k *kept) one(ctx context.Context, id uuid.UUID) *Product {
	if !k.usable(ctx) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.product(id)
}

// keep takes in what was read.
func (k *kept) keep(since readStart, docs []view.Document, products []*Product) {
	if k.store.Config.ReadCache == 0 {
		return
	}
	read := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if since.generation != k.generation {
		return
	}
	for i := range docs {
		d, p := &docs[i], products[i]
		known, ok := k.products.lru.Peek(p.ID)
		newer := !ok || d.Rev > known.rev || (d.Rev == known.rev && d.Pos > known.pos)
		stale := k.missed > since.changes || k.dropped[stripeOf(p.ID)] > since.changes || (ok && !newer && (d.Pos != known.pos || d.Rev != known.rev))
		if ok && newer {
			k.early(p.ID)
		}
		if stale {
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

// has says whether a product is kept at a version or a later one. A client that is told so may look
// for it in lists: those that were read before it was may lack it.
func (k *kept) has(ctx context.Context, id uuid.UUID, version int64) bool {
	if !k.usable(ctx) {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.product(id)
	if p == nil || p.Version < version {
		return false
	}
	if known, _ := k.products.lru.Peek(id); known.read.After(k.seen) {
		k.seen = known.read
	}
	return true
}

// shows notes that a product is shown at a version, by what isn't kept.
func (k *kept) shows(id uuid.UUID, version int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.products.lru.Peek(id); ok && known.product.Version < version {
		k.early(id)
	}
}

// early drops a product that has changed, before the word of its change has come; k.mu is held.
// What changed isn't known.
func (k *kept) early(id uuid.UUID) {
	k.changes++
	k.moved = k.changes
	k.drop(id)
}

// reached notes that a product was waited for, and is at a version: it may be new in any list.
func (k *kept) reached(id uuid.UUID, version int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.products.lru.Peek(id); ok && known.product.Version >= version {
		return
	}
	k.early(id)
}

// page returns a page, and the ids of the products on it that aren't kept: they have changed since.
// Of these it has nothing but the ids.
func (k *kept) page(ctx context.Context, asked string) (page Page[Product], missing []uuid.UUID, ok bool) {
	if !k.usable(ctx) {
		return page, nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.pages.lru.Get(asked)
	if !ok || !known.holds(k) {
		return page, nil, false
	}
	page = Page[Product]{Edges: make([]Edge[Product], len(known.page.Edges)), HasNext: known.page.HasNext, HasPrevious: known.page.HasPrevious, Total: known.page.Total}
	for i, e := range known.page.Edges {
		page.Edges[i].Cursor = e.Cursor
		if p := k.product(e.Node); p != nil {
			page.Edges[i].Node = *p
		} else {
			page.Edges[i].Node.ID = e.Node
			missing = append(missing, e.Node)
		}
	}
	return page, missing, true
}

// keepPage takes in a page that was read. With stock, what is on it depends on the stock of products.
func (k *kept) keepPage(asked string, stock bool, since readStart, page Page[Product]) {
	if k.store.Config.ReadCache == 0 {
		return
	}
	ids := make([]Edge[uuid.UUID], len(page.Edges))
	for i := range page.Edges {
		ids[i] = Edge[uuid.UUID]{Cursor: page.Edges[i].Cursor, Node: page.Edges[i].Node.ID}
	}
	p := &keptPage{Page[uuid.UUID]{Edges: ids, HasNext: page.HasNext, HasPrevious: page.HasPrevious, Total: page.Total}, stock, since}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.holds(k) {
		k.pages.put(asked, p)
	}
}

// order returns up to n places in a list of all products, as [knownOrder.take] has it, and since
// when they are known.
func (k *kept) order(ctx context.Context, by OrderField, from *place, n int, descending bool) (found []place, since readStart, ok bool) {
	if !k.usable(ctx) {
		return nil, since, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.orders[by]
	if o == nil || !k.unmoved(o.read) {
		return nil, since, false
	}
	found, ok = o.take(from, n, descending)
	return found, o.read, ok
}

// keepOrder takes in places that were read, as [knownOrder.add] has it.
func (k *kept) keepOrder(since readStart, by OrderField, from *place, read []place, descending, toEnd bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.unmoved(since) {
		return
	}
	o := k.orders[by]
	if o == nil || !k.unmoved(o.read) || o.bytes > k.orderLimit {
		o = newKnownOrder(since)
		k.orders[by] = o
	}
	o.add(from, read, descending, toEnd)
}
