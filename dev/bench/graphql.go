package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"product-service/eventstore"
	"product-service/product"
)

const (
	hotProducts  = 300    // with two variants each
	deepProducts = 10_000 // of the list whose pages are all different
)

// readers is how many connections ask.
func (b *bench) readers() int {
	if b.quick {
		return 4 // embedded servers read a whole collection for a page
	}
	return 32
}

// ours is the name of the server that all others are held against.
const ours = "this"

// entrant is a server whose reads are measured.
type entrant struct {
	name     string
	binary   string
	settings map[string]string
	on       *readWorld
}

// readWorld is a world whose products were made through the API, by the server that works on it:
// another commit may store them otherwise.
type readWorld struct {
	*shop
	products, variants []string
	cursors            []string // of the whole list, oldest first
}

// reading is a kind of query.
type reading struct {
	name string
	bar  float64 // how many times as fast as the other binary it is to be
	body func(w *readWorld, i int) []byte
}

// hotPage is what clients ask for most.
var hotPage = reading{"page of 20, 40 levels, totalCount", 10, func(*readWorld, int) []byte { return ask(`{products(first:20){`+pageFields+` totalCount}}`, "") }}

var readings = []reading{
	hotPage,
	{"page of 20, 40 levels", 5, func(*readWorld, int) []byte { return ask(`{products(first:20){`+pageFields+`}}`, "") }},
	{"page of 20 with where and orderBy", 5, func(*readWorld, int) []byte {
		return ask(`{products(first:20,where:{stockStatus:IN_STOCK,available:{gte:1}},orderBy:{field:NAME,direction:DESC}){`+pageFields+`}}`, "")
	}},
	{"100 variants with levels", 5, func(w *readWorld, _ int) []byte {
		ids, _ := json.Marshal(map[string]any{"ids": w.variants[:min(100, len(w.variants))]})
		return ask(`query($ids:[ID!]!){productVariants(ids:$ids){id sku inventory{availableQuantity status isStale}}}`, string(ids))
	}},
	{"one product with levels", 5, func(w *readWorld, i int) []byte {
		return ask(`query($id:ID!){product(id:$id){`+productFields+`}}`, `{"id":"`+w.products[i%len(w.products)]+`"}`)
	}},
	{"pages of 20, all different", 3, func(w *readWorld, i int) []byte {
		after := w.cursors[(i*7919)%len(w.cursors)]
		return ask(`query($a:String){products(first:20,after:$a){nodes{id name isOrderable stockStatus stock{total reserved available}} pageInfo{hasNextPage endCursor}}}`, `{"a":"`+after+`"}`)
	}},
}

// readings are the kinds of query that are asked for.
func (b *bench) readings() []reading {
	return slices.DeleteFunc(slices.Clone(readings), func(r reading) bool { return !b.match.MatchString(r.name) })
}

const (
	productFields = `id name isOrderable stockStatus stock{total reserved available} variants{id sku inventory{availableQuantity status isStale}}`
	pageFields    = `nodes{` + productFields + `} pageInfo{hasNextPage endCursor}`
)

func ask(query, variables string) []byte {
	body := map[string]any{"query": query}
	if variables != "" {
		body["variables"] = json.RawMessage(variables)
	}
	text, _ := json.Marshal(body) // it holds nothing that JSON hasn't
	return text
}

// measureGraphQL compares this build with the binary of -server, with gqlgen's own server on the same
// documents, and with itself without plans. The servers take turns, so that each has the machine as the
// others had it.
func measureGraphQL(ctx context.Context, b *bench) (err error) {
	other := b.flags.server
	own := filepath.Join(b.servers.dir, "product-service-own")
	b.out.step("graphql: build the server")
	for target, binary := range map[string]string{"product-service": own, "product-service/dev/bench/rival": own + "-rival"} {
		if text, err := exec.CommandContext(ctx, "go", "build", "-o", binary, target).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", target, err, text)
		}
	}
	defer func(binary string) { b.servers.binary = binary }(b.servers.binary)
	n, err := startNeighbour(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.server.Close()) }()
	hot, deep := hotProducts, deepProducts
	if b.quick {
		hot, deep = 40, 100
	}
	world := func(binary string) (*readWorld, error) {
		w, err := b.newReadWorld(ctx, n, binary)
		if err != nil {
			return nil, err
		}
		return w, w.make(ctx, hot, deep)
	}
	mine, err := world(own)
	if mine != nil {
		defer func() { err = errors.Join(err, mine.close()) }()
	}
	if err != nil {
		return err
	}
	entrants := []entrant{
		{name: ours, binary: own, on: mine},
		{name: "without plans", binary: own, on: mine, settings: map[string]string{"GRAPHQL_PLAN": "off", "PROJECTION_READ_CACHE": "0"}},
		{name: "gqlgen's server", binary: own + "-rival", on: mine},
	}
	if other != "" {
		theirs, err2 := world(other)
		if theirs != nil {
			defer func() { err = errors.Join(err, theirs.close()) }()
		}
		if err2 != nil {
			return fmt.Errorf("the binary of -server: %w", err2)
		}
		entrants = append(entrants, entrant{name: "other", binary: other, on: theirs})
	}
	if err := b.compare(ctx, entrants); err != nil {
		return err
	}
	return b.beside(ctx, entrants[0])
}

// spells are what was measured of an entrant and a kind of query, a value a round.
type spells struct{ rate, cpu, p99, memory []float64 }

func (b *bench) compare(ctx context.Context, entrants []entrant) error {
	found := map[string]map[string]*spells{}
	long := 3 * time.Second
	if b.quick {
		long = 300 * time.Millisecond
	}
	for round := range b.rounds {
		for _, c := range entrants {
			b.servers.binary = c.binary
			if err := c.on.open(ctx, c.settings); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			for _, r := range b.readings() {
				if found[r.name] == nil {
					found[r.name] = map[string]*spells{}
				}
				s := found[r.name][c.name]
				if s == nil {
					s = &spells{}
					found[r.name][c.name] = s
				}
				b.out.step("graphql, round %d: %s: %s", round+1, c.name, r.name)
				if err := s.measure(ctx, c, r, long); err != nil {
					return errors.Join(fmt.Errorf("%s: %s: %w", c.name, r.name, err), c.on.stop())
				}
			}
			if err := c.on.stop(); err != nil {
				return err
			}
		}
	}
	for _, r := range b.readings() {
		mine := found[r.name][ours]
		b.report.add(r.name+", requests/s", median(mine.rate), "/s", target{}, "p99 at half of that %.1f ms", median(mine.p99))
		goal := target{}
		if r.name == hotPage.name {
			goal = atMost(100)
		}
		b.report.add(r.name+", CPU of the server", median(mine.cpu), "µs", goal, "a request, at the top rate; memory after it %s MiB RSS", round(median(mine.memory)))
		for _, c := range entrants[1:] {
			theirs := found[r.name][c.name]
			goal := target{}
			switch {
			case c.name == "other":
				goal = atLeast(r.bar)
			case c.name == "gqlgen's server" && r.bar == 10:
				goal = atLeast(5)
			}
			b.report.add(r.name+", against "+c.name, median(mine.rate)/median(theirs.rate), "x", goal, "%s/s there, CPU %.0f µs, p99 at half %.1f ms",
				round(median(theirs.rate)), median(theirs.cpu), median(theirs.p99))
		}
	}
	return nil
}

// measure asks as fast as it goes, and then at half of that rate.
func (s *spells) measure(ctx context.Context, c entrant, r reading, long time.Duration) error {
	bodies := make([][]byte, 10_000)
	for i := range bodies {
		bodies[i] = r.body(c.on, i)
	}
	address := strings.TrimPrefix(c.on.child.http, "http://")
	if _, err := ride(ctx, address, c.on.b.readers(), bodies, long/3, 0); err != nil { // warm up
		return err
	}
	profiled := func() error { return nil }
	if c.name == ours {
		profiled = c.on.child.profile(ctx, c.on.b, r.name, int(long.Seconds()))
	}
	before := cpuOf(c.on.child.process.PID())
	top, err := ride(ctx, address, c.on.b.readers(), bodies, long, 0)
	if err = errors.Join(err, profiled()); err != nil {
		return err
	}
	used := cpuOf(c.on.child.process.PID()) - before
	half, err := ride(ctx, address, c.on.b.readers(), bodies, long, top.rate()/2)
	if err != nil {
		return err
	}
	s.rate, s.p99 = append(s.rate, top.rate()), append(s.p99, half.took.ms(99))
	s.memory = append(s.memory, float64(memoryOf(c.on.child.process.PID(), "VmRSS:"))/(1<<20))
	s.cpu = append(s.cpu, float64(used.Microseconds())/float64(max(1, top.done)))
	return nil
}

// beside sends commands alone, and while pages are read at half of the top rate.
func (b *bench) beside(ctx context.Context, c entrant) (err error) {
	const name = "commands/s beside pages at half of the top rate"
	if !b.match.MatchString(name) {
		return nil
	}
	b.out.step(name)
	b.servers.binary = c.binary
	if err := c.on.open(ctx, c.settings); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.on.stop()) }()
	if c.on.store, err = eventstore.Open(ctx, eventstore.Config{URL: c.on.postgres, MaxConnections: 2}); err != nil { // to see how far the projector is; the world closes it
		return err
	}
	sender, err := newClient(ctx, c.on.world)
	if err != nil {
		return err
	}
	defer sender.close()
	products := make([]uuid.UUID, len(c.on.products))
	for i, id := range c.on.products {
		products[i] = uuid.MustParse(id)
	}
	if err := sender.warmUp(ctx, products); err != nil {
		return err
	}
	address, body := strings.TrimPrefix(c.on.child.http, "http://"), [][]byte{hotPage.body(c.on, 0)}
	long := 3 * time.Second
	top, err := ride(ctx, address, b.readers(), body, long, 0)
	if err != nil {
		return err
	}
	var alone, beside, pages, p99 []float64
	for range b.rounds {
		took, err := sender.flood(ctx, name+": alone", sender.requests(products, b.flood))
		if err != nil {
			return err
		}
		alone = append(alone, rateOf(b.flood, took))
		if err := sender.settle(ctx); err != nil {
			return err
		}
		reading, stop := context.WithCancel(ctx)
		var asked outing
		failed := make(chan error, 1)
		go func() {
			var err error
			asked, err = ride(reading, address, b.readers(), body, time.Minute, top.rate()/2)
			failed <- err
		}()
		took, err = sender.flood(ctx, name, sender.requests(products, b.flood))
		stop()
		if err := errors.Join(err, <-failed); err != nil {
			return err
		}
		beside, pages, p99 = append(beside, rateOf(b.flood, took)), append(pages, asked.rate()), append(p99, asked.took.ms(99))
		if err := sender.settle(ctx); err != nil {
			return err
		}
	}
	b.report.add(name+", against alone", median(beside)/median(alone), "x", atLeast(0.8), "%s/s, %s/s alone; %s pages/s of %s asked for, p99 %.1f ms; memory after it %s MiB RSS",
		round(median(beside)), round(median(alone)), round(median(pages)), round(top.rate()/2), median(p99), round(float64(memoryOf(c.on.child.process.PID(), "VmRSS:"))/(1<<20)))
	return nil
}

// newReadWorld makes a world that its server migrates itself.
func (b *bench) newReadWorld(ctx context.Context, n *neighbour, binary string) (*readWorld, error) {
	w := &world{b: b, name: "bench_" + strings.ToLower(rand.Text()[:10])}
	own, err := url.Parse(b.servers.postgres)
	if err != nil {
		return nil, err
	}
	own.Path = "/" + w.name
	w.postgres = own.String()
	if err := w.admin(ctx, "create database "+w.name); err != nil {
		return nil, err
	}
	b.servers.binary = binary
	return &readWorld{shop: &shop{world: w, neighbour: n, client: &http.Client{}}}, nil
}

// make has products made: some with variants and levels, and after them those of the long list.
func (w *readWorld) make(ctx context.Context, hot, deep int) error {
	w.b.out.step("graphql: make %d products", hot+deep)
	if err := w.open(ctx, nil); err != nil {
		return err
	}
	mutations := make([][]byte, hot+deep)
	for i := range mutations {
		input := map[string]any{"id": uuid.NewString(), "name": fmt.Sprintf("Product %05d", i), "initialStock": product.MaxStock}
		if i < hot {
			var variants []map[string]any
			for v := range 2 {
				id := uuid.NewString()
				variants = append(variants, map[string]any{"id": id, "sku": fmt.Sprintf("SKU-%d-%d", i, v), "name": "Standard", "initialQuantity": 50})
				w.variants = append(w.variants, id)
			}
			input["variants"] = variants
			w.products = append(w.products, input["id"].(string))
		}
		variables, err := json.Marshal(map[string]any{"i": input})
		if err != nil {
			return err
		}
		mutations[i] = ask(`mutation($i:CreateProductInput!){createProduct(input:$i){version userErrors{message}}}`, string(variables))
	}
	address := strings.TrimPrefix(w.child.http, "http://")
	for _, some := range [][][]byte{mutations[:hot], mutations[hot:]} {
		if err := sendAll(ctx, address, w.b.readers(), some); err != nil {
			return err
		}
	}
	return errors.Join(w.list(ctx, hot+deep), w.stop())
}

// list walks the whole list once everything is projected and all levels are there.
func (w *readWorld) list(ctx context.Context, products int) error {
	ctx, cancel := context.WithTimeout(ctx, 4*readyWithin)
	defer cancel()
	type answer struct {
		Data struct {
			Products struct {
				TotalCount int
				Edges      []struct{ Cursor string }
				PageInfo   struct{ HasNextPage bool }
			}
			ProductVariants []struct{ Inventory *struct{ Status string } }
		}
	}
	for {
		var a answer
		ids, _ := json.Marshal(w.variants[len(w.variants)-min(100, len(w.variants)):])
		text, err := w.graphql(ctx, `{products(first:1){totalCount edges{cursor}} productVariants(ids:`+string(ids)+`){inventory{status}}}`)
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		missing := slices.ContainsFunc(a.Data.ProductVariants, func(v struct{ Inventory *struct{ Status string } }) bool { return v.Inventory == nil })
		if err == nil && !missing && a.Data.Products.TotalCount == products {
			break
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%d of %d products are there, levels missing: %v: %w", a.Data.Products.TotalCount, products, missing, ctx.Err()), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	for after := "null"; ; {
		text, err := w.graphql(ctx, `{products(first:100,after:`+after+`){edges{cursor} pageInfo{hasNextPage}}}`)
		if err != nil {
			return err
		}
		var a answer
		if err := json.Unmarshal(text, &a); err != nil {
			return err
		}
		for _, e := range a.Data.Products.Edges {
			w.cursors = append(w.cursors, e.Cursor)
		}
		if !a.Data.Products.PageInfo.HasNextPage {
			return nil
		}
		after = `"` + cmp.Or(w.cursors[len(w.cursors)-1], "") + `"`
	}
}
