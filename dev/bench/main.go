// Command bench measures product-service from the outside: `go run ./dev/bench`. It builds the
// server, runs it as a child on real or embedded servers, sends it commands by Kafka, and prints
// what it found beside the targets and the machine's own limits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `Measures product-service end to end and prints a table: the server is built and run as a child, commands go in by Kafka.

usage: go run ./dev/bench [flags]

  -only NAME,...  only these of: %s
  -match PATTERN  of the family graphql only the figures whose names match the regular expression
  -quick          few commands on embedded servers: shows that it works, not how fast it is
  -rounds N       how often each throughput is measured; the median counts (default 3)
  -commands N     how many commands a round has (default 300000, with -quick 10000)
  -json           the report as JSON on standard output; progress stays on standard error
  -server FILE    a server binary to run instead of building this one; the family graphql compares it with this one
  -outage D       how long the Inventory Service is away and slow in the family inventory (default 30s, with -quick 5s)
  -profile DIR    write CPU and heap profiles of the server under each load there
  -timeout D      end after this time at the latest (default 30m)

With POSTGRES_URL, KAFKA_BROKERS and MONGODB_URL set it runs on those servers, else on embedded ones. They must be on loopback. Each
world has a database, a topic prefix and a MongoDB database of its own, all of which are dropped after it; other settings of the
server are handed on: WRITER_BATCH=1000 go run ./dev/bench -only throughput
`

// families are the figures, in the order in which they are measured.
var families = []struct {
	name    string
	measure func(context.Context, *bench) error
}{
	{"throughput", measureThroughput},
	{"write", measureWriteSide},
	{"bare", measureBare},
	{"naive", measureNaive},
	{"growth", measureGrowth},
	{"latency", measureLatency},
	{"projection", measureProjection},
	{"inventory", measureInventory},
	{"history", measureHistory},
	{"reports", measureReports},
	{"graphql", measureGraphQL},
	{"live", measureLive},
	{"restart", measureRestart},
}

// flags is the command line.
type flags struct {
	only            []string
	quick, json     bool
	rounds          int
	commands        int // of a round; 0: as many as the sizes say
	server, profile string
	match           *regexp.Regexp
	timeout         time.Duration
	outage          time.Duration // 0: as long as it takes to see what becomes of queries
}

// bench is one run.
type bench struct {
	flags
	sizes
	servers *servers
	out     *console
	report  *report
}

// sizes is how much is done for each figure.
type sizes struct {
	flood  int           // commands of one round of throughput
	bare   int           // rows of one round against the bare database
	naive  int           // messages for the naive consumer
	stream int           // events of the long stream
	held   int           // open reservations
	pairs  int           // of growth
	paced  time.Duration // of paced loads
	live   int           // commands/s beside which the read model's lag is measured

	sockets, subscribers int // that are open at once
}

var (
	fullSizes = sizes{flood: 300_000, bare: 200_000, naive: 5_000, stream: 1_000_000, held: 10_000, pairs: 5, paced: 30 * time.Second, live: 10_000,
		sockets: 10_000, subscribers: 1_000}
	quickSizes = sizes{flood: 10_000, bare: 10_000, naive: 500, stream: 10_000, held: 1_000, pairs: 3, paced: 3 * time.Second, live: 200,
		sockets: 200, subscribers: 50}
)

func main() {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Printf(usage, strings.Join(names(), ", "))
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for _, f := range families {
		all = append(all, f.name)
	}
	return all
}

func parse(args []string) (flags, error) {
	var o flags
	var only, match string
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&only, "only", "", "")
	set.BoolVar(&o.quick, "quick", false, "")
	set.BoolVar(&o.json, "json", false, "")
	set.IntVar(&o.rounds, "rounds", 3, "")
	set.IntVar(&o.commands, "commands", 0, "")
	set.StringVar(&match, "match", "", "")
	set.StringVar(&o.server, "server", "", "")
	set.StringVar(&o.profile, "profile", "", "")
	set.DurationVar(&o.outage, "outage", 0, "")
	set.DurationVar(&o.timeout, "timeout", 30*time.Minute, "")
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w; -h shows what there is", err)
	}
	var err error
	if o.match, err = regexp.Compile(match); err != nil {
		return o, fmt.Errorf("-match: %w", err)
	}
	o.only = names()
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("-only %q: there is no such figure; there are %s", name, strings.Join(names(), ", "))
		}
	}
	switch {
	case set.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q; -h shows what there is", set.Arg(0))
	case o.rounds < 1 || o.rounds > 20:
		return o, fmt.Errorf("-rounds %d: it must be 1 to 20", o.rounds)
	case o.commands != 0 && (o.commands < 1000 || o.commands > 2_000_000):
		return o, fmt.Errorf("-commands %d: it must be 1000 to 2000000", o.commands)
	case o.outage != 0 && (o.outage < time.Second || o.outage > 10*time.Minute):
		return o, fmt.Errorf("-outage %s: it must be 1s to 10m", o.outage)
	case o.timeout <= 0:
		return o, fmt.Errorf("-timeout %s: it must be more than 0", o.timeout)
	}
	return o, nil
}

// run measures what was asked for and prints it; what was measured before something failed is printed too.
func run(ctx context.Context, o flags) (err error) {
	b := &bench{flags: o, sizes: fullSizes, out: newConsole(os.Stderr)}
	if o.quick {
		b.sizes, b.rounds = quickSizes, 1
	}
	if o.commands != 0 {
		b.flood = o.commands
	}
	if b.outage == 0 {
		b.outage = 30 * time.Second
		if o.quick {
			b.outage = 5 * time.Second
		}
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	b.servers, err = openServers(ctx, o, b.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.servers.close()) }()
	if err := b.sweep(ctx); err != nil {
		return err
	}
	b.report = newReport(b.servers, o.quick)
	for _, f := range families {
		if !slices.Contains(o.only, f.name) {
			continue
		}
		if failed := f.measure(ctx, b); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", f.name, failed))
		}
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
			break
		}
	}
	b.out.clear()
	b.report.finish()
	if o.json {
		return errors.Join(err, b.report.writeJSON(os.Stdout))
	}
	return errors.Join(err, b.report.writeTable(os.Stdout))
}
