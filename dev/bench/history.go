package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"product-service/product"
)

const (
	shortStream = 1_000 // movements of the product that the long one is held against
	historyAsks = 200   // of each question
)

// movements is how long the long history is. An embedded document store reads all of them for one
// answer, so there it is short.
func (b *bench) movements() int {
	if b.quick {
		return 2 * shortStream
	}
	return b.flood
}

// past is a world with a product of a long history and one of a short.
type past struct {
	*world
	long, short uuid.UUID
	began       time.Time // of the history
}

// measureHistory looks at what history costs: to build, to read, to take away.
func measureHistory(ctx context.Context, b *bench) error {
	past := measurePast(ctx, b)
	if past != nil {
		b.out.say("  %v", past) // the lists are measured nevertheless
	}
	return errors.Join(past, measureLists(ctx, b))
}

func measurePast(ctx context.Context, b *bench) (err error) {
	b.out.step("history: %s movements of one product over a year", round(float64(b.movements())))
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	p := &past{world: w, long: uuid.New(), short: uuid.New()}
	if err := p.happen(ctx, b.movements()); err != nil {
		return err
	}
	if err := b.servers.build(ctx, b.out); err != nil {
		return err
	}
	if err := p.rebuild(ctx); err != nil {
		return err
	}
	if err := w.start(ctx, true); err != nil {
		return err
	}
	for _, measure := range []func(context.Context) error{p.reads, p.year, p.export} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// happen fills the log, and spreads it over the year behind us: the log's own times are those of
// the writing.
func (p *past) happen(ctx context.Context, n int) error {
	for id, movements := range map[uuid.UUID]int{p.long: n, p.short: shortStream} {
		var held uuid.UUID
		err := p.fill(ctx, "make history", movements, func(i int) (uuid.UUID, product.Command) {
			switch {
			case i == 0:
				return id, product.Create{Name: fmt.Sprint("Product of ", movements), InitialStock: 1_000_000, LowStockThreshold: 10}
			case i%2 == 1:
				held = uuid.New()
				return id, product.Reserve{ReservationID: held, SagaID: "history", Quantity: int64(1 + i%7)}
			}
			return id, product.Release{ReservationID: held, SagaID: "history"}
		})
		if err != nil {
			return err
		}
	}
	conn, err := pgx.Connect(ctx, p.postgres)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	p.began = time.Now().Add(-365 * 24 * time.Hour).Truncate(time.Second)
	_, err = conn.Exec(ctx, `update log l set at = $1::timestamptz + interval '364 days' * (l.pos::float8 / s.last)
		from (select shard, max(pos) as last from log group by shard) s where s.shard = l.shard`, p.began)
	return err
}

// rebuild runs the subcommand as a person would, and takes its time and its memory.
func (p *past) rebuild(ctx context.Context) error {
	rows, err := p.logged(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, p.b.servers.binary, "rebuild")
	cmd.Env = append(os.Environ(), "POSTGRES_URL="+p.postgres, "MONGODB_URL="+p.b.servers.mongo, "MONGODB_DATABASE="+p.name,
		"KAFKA_BROKERS="+strings.Join(p.b.servers.brokers, ","), "AUTH_MODE=none", "INVENTORY_URL=http://127.0.0.1:9")
	p.b.out.step("history: rebuild")
	began := time.Now()
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("rebuild: %w\n%s", err, text)
	}
	took := time.Since(began)
	filled := lastFilled(string(text))
	p.b.report.add("rebuild with movements", filled, "rows/s", atLeast(60_000), "filling, as the subcommand says; %s rows, %s with the start, the indexes and the hand-over; load %s",
		round(float64(rows)), took.Round(time.Millisecond), loadAverage())
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.b.report.add("rebuild, memory", float64(usage.Maxrss)/1024, "MiB RSS", atMost(200), "the most it ever had; CPU %s", (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond))
	}
	return nil
}

// lastFilled is the rate of filling that the subcommand printed last, 0 where it printed none.
func lastFilled(text string) (rate float64) {
	for line := range strings.Lines(text) {
		var at struct {
			Phase     string
			PerSecond float64
		}
		if json.Unmarshal([]byte(line), &at) == nil && at.Phase == "fill" { // other lines are the log's
			rate = at.PerSecond
		}
	}
	return rate
}

// at is an instant of the history.
func (p *past) at() string {
	return p.began.Add(time.Duration(rand.Int64N(int64(363 * 24 * time.Hour)))).UTC().Format(time.RFC3339)
}

// reads asks the same of both products in turns, so that whatever else the machine does befalls both.
func (p *past) reads(ctx context.Context) error {
	for _, q := range []struct{ name, field string }{
		{"stockAt", `stockAt(at: "%s") { total reserved available version }`},
		{"page of 50 movements", `stockMovements(first: 50, to: "%s") { nodes { type quantity delta totalAfter reservedAfter availableAfter version reservationId sagaId occurredAt } pageInfo { hasNextPage endCursor } }`},
	} {
		p.b.out.step("history: %s", q.name)
		long, short := newHistogram(), newHistogram()
		for i := range historyAsks + historyAsks/10 { // the first tenth warms up
			field := fmt.Sprintf(q.field, p.at())
			for _, of := range []struct {
				id   uuid.UUID
				into histogram
			}{{p.long, long}, {p.short, short}} {
				began := time.Now()
				_, err := p.graphql(ctx, fmt.Sprintf(`{ product(id: "%s") { %s } }`, of.id, field))
				if err != nil {
					return err
				}
				if i >= historyAsks/10 {
					of.into.record(time.Since(began))
				}
			}
		}
		p.b.report.add(q.name+" over GraphQL, long history, p50", long.ms(50), "ms", atMost(5), "%s movements; p99 %.1f ms; load %s", round(float64(p.b.movements())), long.ms(99), loadAverage())
		p.b.report.add(q.name+", long over short history", long.ms(50)/short.ms(50), "x", atMost(1.2), "%.2f over %.2f ms with %s movements, in turns", long.ms(50), short.ms(50), round(shortStream))
	}
	return nil
}

// year reads a year by the hour.
func (p *past) year(ctx context.Context) error {
	p.b.out.step("history: a year by the hour")
	h := newHistogram()
	query := fmt.Sprintf(`{ stockTimeline(productId: "%s", from: "%s", to: "%s", interval: HOUR) { start opening closing minAvailable maxAvailable reservedQuantity releasedQuantity adjustedQuantity movements } }`,
		p.long, p.began.UTC().Format(time.RFC3339), p.began.Add(365*24*time.Hour).UTC().Format(time.RFC3339))
	size := 0
	profiled := p.profiling(ctx, "year by the hour")
	for i := range 25 {
		began := time.Now()
		text, err := p.graphql(ctx, query)
		if err != nil {
			return err
		}
		if buckets := strings.Count(string(text), `"start"`); buckets < 365*24 {
			return fmt.Errorf("a year had %d hours", buckets)
		}
		if size = len(text); i >= 5 {
			h.record(time.Since(began))
		}
	}
	p.b.report.add("a year by the hour over GraphQL, p50", h.ms(50), "ms", atMost(20), "365 x 24 buckets of 9 fields, %d KiB; fastest %.1f ms; load %s", size>>10, float64(h.Min())/1000, loadAverage())
	return <-profiled
}

// export takes all movements away as CSV.
func (p *past) export(ctx context.Context) error {
	p.b.out.step("history: export")
	profiled := p.profiling(ctx, "export")
	before, highest := rssNow(p.child.process.PID()), int64(0)
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.child.http+"/export/stock-movements?format=csv", http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity") // else the client asks for gzip, whose cost isn't the export's
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := lineCounter{each: func() { highest = max(highest, rssNow(p.child.process.PID())) }}
	size, err := io.Copy(&lines, resp.Body)
	took := time.Since(began)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("export answered %s: %w", resp.Status, err)
	}
	rows, all := lines.lines-1, p.b.movements()+shortStream // without the heading
	if rows != all {
		return fmt.Errorf("the export has %d rows of %d movements", rows, all)
	}
	p.b.report.add("export as CSV", rateOf(rows, took), "rows/s", atLeast(200_000), "%s rows, %d MiB in %s; load %s", round(float64(rows)), size>>20, took.Round(time.Millisecond), loadAverage())
	p.b.report.add("export, growth of the server's memory while it streams", float64(highest-before)/(1<<20), "MiB RSS", target{}, "%.0f before, %.0f at most during it", float64(before)/(1<<20), float64(highest)/(1<<20))
	return <-profiled
}

// profiling writes profiles of what is done next, where they are asked for. What it returns says
// when they are written.
func (p *past) profiling(ctx context.Context, name string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.child.profile(ctx, p.b, name, 3)() }()
	return done
}

// rssNow is the memory a process has resident, in bytes; 0 where that can't be told.
func rssNow(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// lineCounter counts the lines written to it, and calls each after every megabyte or so.
type lineCounter struct {
	lines, bytes int
	each         func()
}

func (c *lineCounter) Write(text []byte) (int, error) {
	c.lines += bytes.Count(text, []byte{'\n'})
	if before := c.bytes >> 20; (c.bytes+len(text))>>20 > before {
		c.each()
	}
	c.bytes += len(text)
	return len(text), nil
}
