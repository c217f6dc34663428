package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"product-service/command"
	"product-service/eventstore"
	"product-service/integration/inventory"
	"product-service/projection"
	"product-service/projection/audit"
	"product-service/projection/store"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong, or an audit found a difference
	exitRefused = 2 // the command line or the settings are wrong: nothing was done
)

// subcommand is one of the things the program does.
type subcommand struct {
	name, does string
	flags      func(*flag.FlagSet) func(context.Context, *server) error
}

var subcommands = []subcommand{
	{"serve", "serve GraphQL, consume commands, relay outcomes, project (the default)", serve},
	{"migrate", "bring the PostgreSQL schema up to date and create missing topics", migrate},
	{"rebuild", "build a new read model beside the live one, and switch to it", rebuild},
	{"audit", "compare log, heads, reservations, variants and read model", auditAll},
	{"replay", "list dead letters, or send the service's own failures again", replay},
}

// run is the program without its process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		usage(stdout)
		describeSettings(stdout)
		return exitOK
	}
	for _, sub := range subcommands {
		if sub.name == name {
			return sub.run(ctx, args, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "product-service: there is no command %q\n\n", name)
	usage(stderr)
	return exitRefused
}

func usage(w io.Writer) {
	fmt.Fprint(w, "product-service [command] [flags]\n\n")
	for _, sub := range subcommands {
		fmt.Fprintf(w, "  %-8s %s\n", sub.name, sub.does)
	}
	fmt.Fprint(w, "\nSettings come from the environment: product-service -help lists them.\n"+
		"product-service COMMAND -h shows a command's flags.\n")
}

func (sub subcommand) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(sub.name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "product-service %s [flags]: %s\n", sub.name, sub.does)
		flags.PrintDefaults()
	}
	do := sub.flags(flags)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitRefused
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "product-service %s: %q is not a flag; -h shows what there is\n", sub.name, flags.Arg(0))
		return exitRefused
	}
	settings, err := readSettings()
	if err != nil {
		fmt.Fprintf(stderr, "product-service: these settings are wrong:\n%s\n", indent(err))
		return exitRefused
	}
	if sub.name != "serve" && os.Getenv("LOG_LEVEL") == "" {
		settings.LogLevel = "warn" // what such a command has to say is its output
	}
	s := &server{Settings: settings, out: stdout, log: newLogger(stderr, settings), metrics: prometheus.NewRegistry()}
	slog.SetDefault(s.log) // for libraries that log
	if err := do(ctx, s); err != nil {
		s.log.Error(sub.name+" failed", "error", err)
		return exitFailed
	}
	return exitOK
}

func migrate(*flag.FlagSet) func(context.Context, *server) error {
	return func(ctx context.Context, s *server) error {
		events, err := eventstore.Open(ctx, s.Store)
		if err != nil {
			return err
		}
		defer events.Close()
		version, err := events.Migrate(ctx)
		if err != nil {
			return err
		}
		if err := command.CreateTopics(ctx, s.Kafka); err != nil {
			return err
		}
		s.say(fmt.Sprintf("PostgreSQL is at schema version %d; the topics are there", version),
			map[string]any{"schemaVersion": version, "topics": true})
		return nil
	}
}

func rebuild(flags *flag.FlagSet) func(context.Context, *server) error {
	var o projection.RebuildOptions
	flags.Func("product", "only the product with this `id`, in place", func(id string) (err error) {
		o.Product, err = uuid.Parse(id)
		return err
	})
	flags.Func("shard", "only the products of this shard (`0-31`), in place", func(text string) error {
		n, err := strconv.ParseInt(text, 10, 16)
		if err != nil || n < 0 || n >= eventstore.Shards {
			return fmt.Errorf("shards are 0 to %d", eventstore.Shards-1)
		}
		shard := int16(n)
		o.Shard = &shard
		return nil
	})
	return func(ctx context.Context, s *server) error {
		return s.withStores(ctx, func(events *eventstore.Store, documents *store.Store) error {
			began := time.Now()
			if err := projection.Rebuild(ctx, documents, events, s.log, o, s.progress()); err != nil {
				return err
			}
			took := time.Since(began).Round(time.Millisecond)
			s.say(fmt.Sprintf("\nrebuilt in %s", took), map[string]any{"rebuilt": true, "seconds": took.Seconds()})
			return nil
		})
	}
}

// errDifferent ends an audit that found a difference.
var errDifferent = errors.New("the audit found differences")

func auditAll(flags *flag.FlagSet) func(context.Context, *server) error {
	heal := flags.Bool("heal", false, "fold the documents that differ again, up to the position of their shard")
	rate := 0
	flags.Func("rate", "products a second, at most (`N`); 0, the default, is as fast as it goes", func(text string) (err error) {
		if rate, err = strconv.Atoi(text); err != nil || rate < 0 {
			return errors.New("it must be a number, 0 or more")
		}
		return nil
	})
	return func(ctx context.Context, s *server) error {
		client, err := inventory.NewClient(s.Inventory, s.log, nil)
		if err != nil {
			return err
		}
		defer client.Close()
		levels, err := inventory.NewReader(client, nil, nil)
		if err != nil {
			return err
		}
		defer levels.Close()
		return s.withStores(ctx, func(events *eventstore.Store, documents *store.Store) error {
			o := audit.Options{Heal: *heal, PerSecond: rate, Absent: absent(levels)}
			result, err := audit.Run(ctx, documents, events, events, s.log, o, s.difference)
			if err != nil {
				return err
			}
			s.say(fmt.Sprintf("%d products, %d rows of the log: %d differences, %d of them healed",
				result.Products, result.Rows, result.Differences, result.Healed),
				map[string]any{
					"products": result.Products, "rows": result.Rows, "differences": result.Differences, "healed": result.Healed,
				})
			if result.Differences > 0 {
				return errDifferent
			}
			return nil
		})
	}
}

// say prints a line for people, or what it says as a JSON object for programs.
func (s *server) say(line string, object map[string]any) {
	if isTerminal(s.out) {
		fmt.Fprintln(s.out, line)
	} else if text, err := json.Marshal(object); err == nil { // of numbers and texts: it has none
		fmt.Fprintln(s.out, string(text))
	}
}

func (s *server) difference(d audit.Difference) {
	healed := ""
	if d.Healed {
		healed = "  (healed)"
	}
	s.say(fmt.Sprintf("%s  %-11s %s%s", d.Product, d.Where, d.What, healed),
		map[string]any{"product": d.Product.String(), "where": d.Where, "what": d.What, "healed": d.Healed})
}

// withStores opens both databases for a command that ends.
func (s *server) withStores(ctx context.Context, do func(*eventstore.Store, *store.Store) error) error {
	events, err := eventstore.Open(ctx, s.Store)
	if err != nil {
		return err
	}
	defer events.Close()
	documents, err := store.Open(ctx, s.Projection)
	if err != nil {
		return err
	}
	return errors.Join(do(events, documents), documents.Close(context.WithoutCancel(ctx)))
}

// progress shows how far a rebuild is: in a terminal one line that changes, elsewhere an object
// with each phase and now and then.
func (s *server) progress() func(projection.Progress) {
	terminal, next, phase := isTerminal(s.out), time.Time{}, ""
	return func(p projection.Progress) {
		if time.Now().Before(next) && p.Phase == phase && p.Done < p.Total {
			return
		}
		phase = p.Phase
		if !terminal {
			next = time.Now().Add(5 * time.Second)
			s.say("", map[string]any{
				"phase": p.Phase, "done": p.Done, "total": p.Total,
				"perSecond": math.Round(p.PerSecond), "secondsLeft": p.Left.Seconds(),
			})
			return
		}
		line := p.Phase
		if p.Total > 0 {
			line = fmt.Sprintf("%-8s %12d of %d", p.Phase, p.Done, p.Total)
		}
		if p.PerSecond > 0 {
			line += fmt.Sprintf("  %9.0f/s  %s left", p.PerSecond, p.Left.Round(time.Second))
		}
		next = time.Now().Add(time.Second / 5)
		fmt.Fprintf(s.out, "\r\033[K%s", line)
	}
}

func replay(flags *flag.FlagSet) func(context.Context, *server) error {
	send := flags.String("send", "", "send again: the letter at a PLACE of the list, or \"all\" that can be sent; "+
		"\"records\" restarts stopped inventory records")
	return func(ctx context.Context, s *server) error {
		events, err := eventstore.Open(ctx, s.Store)
		if err != nil {
			return err
		}
		defer events.Close()
		letters := command.NewReplayer(s.Kafka, events)
		switch *send {
		case "":
			return s.listLetters(ctx, letters, events)
		case "records":
			n, err := events.RestartVariants(ctx)
			if err == nil {
				s.say(fmt.Sprintf("%d inventory records will be tried again", n), map[string]any{"records": n})
			}
			return err
		}
		sent, refused := 0, 0
		chosen := func(l command.Letter) bool { return *send == "all" || *send == l.Place() }
		err = letters.Replay(ctx, chosen, func(l command.Letter, refusal string) {
			if refusal != "" {
				refused++
				s.say(fmt.Sprintf("%s  not sent: %s", l.Place(), refusal), map[string]any{"place": l.Place(), "refusal": refusal})
				return
			}
			sent++
			s.say(fmt.Sprintf("%s  sent again to %s", l.Place(), l.From), map[string]any{"place": l.Place(), "sent": l.From})
		})
		s.say(fmt.Sprintf("%d sent again, %d refused", sent, refused), map[string]any{"sent": sent, "refused": refused})
		if err == nil && sent+refused == 0 && *send != "all" {
			return fmt.Errorf("there is no dead letter at %q", *send)
		}
		return err
	}
}

// listLetters prints a line a letter for people, and a JSON object a letter for programs.
func (s *server) listLetters(ctx context.Context, letters *command.Replayer, events *eventstore.Store) error {
	n := 0
	err := letters.List(ctx, func(l command.Letter) error {
		n++
		state := "can be sent again"
		if why := l.Refusal(); why != "" {
			state = "closed: " + why
		}
		if !isTerminal(s.out) {
			return json.NewEncoder(s.out).Encode(map[string]any{
				"place": l.Place(), "reason": l.Reason, "error": l.Error, "topic": l.From, "time": l.Time,
				"key": string(l.Key), "body": string(l.Body), "replayed": l.Replayed, "state": state,
			})
		}
		_, err := fmt.Fprintf(s.out, "%s  %s  %s\n    %s\n    %s\n",
			l.Place(), l.Time.Format(time.RFC3339), l.Reason, l.Error, state)
		return err
	})
	if err != nil {
		return err
	}
	backlog, err := events.VariantBacklog(ctx)
	if err == nil && isTerminal(s.out) {
		fmt.Fprintf(s.out, "%d dead letters; %d inventory records wait, %d are stopped\n", n, backlog.Pending, backlog.Stopped)
	}
	return err
}

// indent writes joined errors as a list, one a line.
func indent(err error) string {
	var lines []string
	for _, e := range flatten(err) {
		lines = append(lines, "  - "+e.Error())
	}
	return strings.Join(lines, "\n")
}
