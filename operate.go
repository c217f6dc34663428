package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"product-service/command"
	"product-service/eventstore"
	"product-service/integration/inventory"
	"product-service/projection"
	"product-service/projection/audit"
	"product-service/projection/store"
)

func migrate(*flag.FlagSet) func(context.Context, *server) error {
	return func(ctx context.Context, s *server) error {
		log, err := eventstore.Open(ctx, s.Store)
		if err != nil {
			return err
		}
		defer log.Close()
		version, err := log.Migrate(ctx)
		if err != nil {
			return err
		}
		if err := command.CreateTopics(ctx, s.Kafka); err != nil {
			return err
		}
		s.say(fmt.Sprintf("PostgreSQL is at schema version %d; the topics are there", version), map[string]any{"schemaVersion": version, "topics": true})
		return nil
	}
}

// inventoryEvents hands what the Inventory Service says on to those who know what it means.
func (s *server) inventoryEvents(n neighbour) command.Inventory {
	return command.Inventory{
		Decode: func(body []byte, ceType string) (command.InventoryEvent, error) {
			e, err := inventory.ParseEvent(body, ceType)
			return command.InventoryEvent{ID: e.ID, VariantID: e.VariantID, Type: string(e.Type), Timestamp: e.At, Available: e.Available}, err
		},
		OnEvent: func(ctx context.Context, e command.InventoryEvent) { n.reader.Apply(ctx, inventoryEvent(e)) },
	}
}

func inventoryEvent(e command.InventoryEvent) inventory.Event {
	return inventory.Event{ID: e.ID, VariantID: e.VariantID, Type: inventory.EventType(e.Type), At: e.Timestamp, Available: e.Available}
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
		return s.withStores(ctx, func(log *eventstore.Store, documents *store.Store) error {
			began := time.Now()
			if err := projection.Rebuild(ctx, documents, log, s.log, o, s.progress()); err != nil {
				return err
			}
			took := time.Since(began).Round(time.Millisecond)
			s.say(fmt.Sprintf("\nrebuilt in %s", took), map[string]any{"rebuilt": true, "seconds": took.Seconds()})
			return nil
		})
	}
}

// errDifferent is how an audit that found something ends.
var errDifferent = errors.New("the books differ")

func auditCommand(flags *flag.FlagSet) func(context.Context, *server) error {
	heal := flags.Bool("heal", false, "fold the documents that differ anew, under their shard's position")
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
		return s.withStores(ctx, func(log *eventstore.Store, documents *store.Store) error {
			o := audit.Options{Heal: *heal, PerSecond: rate, Absent: absent(levels)}
			result, err := audit.Run(ctx, documents, log, log, s.log, o, s.difference)
			if err != nil {
				return err
			}
			s.say(fmt.Sprintf("%d products, %d rows of the log: %d differences, %d of them healed", result.Products, result.Rows, result.Differences, result.Healed),
				map[string]any{"products": result.Products, "rows": result.Rows, "differences": result.Differences, "healed": result.Healed})
			if result.Differences > 0 {
				return errDifferent
			}
			return nil
		})
	}
}

// absent asks the Inventory Service which variants it has no record of. One that doesn't answer is an error: an audit that leaves
// something out says so.
func absent(levels *inventory.Reader) func(context.Context, []uuid.UUID) ([]uuid.UUID, error) {
	return func(ctx context.Context, variants []uuid.UUID) (missing []uuid.UUID, err error) {
		for i, result := range levels.Levels(ctx, variants, time.Nanosecond) {
			switch result.Outcome {
			case inventory.Absent:
				missing = append(missing, variants[i])
			case inventory.Unavailable:
				return nil, fmt.Errorf("ask the Inventory Service for variant %s: %w", variants[i], result.Err)
			case inventory.Known:
			}
		}
		return missing, nil
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
	log, err := eventstore.Open(ctx, s.Store)
	if err != nil {
		return err
	}
	defer log.Close()
	documents, err := store.Open(ctx, s.Projection)
	if err != nil {
		return err
	}
	return errors.Join(do(log, documents), documents.Close(context.WithoutCancel(ctx)))
}

// progress shows how far a rebuild is: in a terminal one line that changes, elsewhere an object with each phase and now and then.
func (s *server) progress() func(projection.Progress) {
	terminal, next, phase := isTerminal(s.out), time.Time{}, ""
	return func(p projection.Progress) {
		if time.Now().Before(next) && p.Phase == phase && p.Done < p.Total {
			return
		}
		phase = p.Phase
		if !terminal {
			next = time.Now().Add(5 * time.Second)
			s.say("", map[string]any{"phase": p.Phase, "done": p.Done, "total": p.Total, "perSecond": math.Round(p.PerSecond), "secondsLeft": p.Left.Seconds()})
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
	send := flags.String("send", "", "send again: a letter's PLACE as listed, or \"all\" that can be; \"records\" restarts stopped inventory records")
	return func(ctx context.Context, s *server) error {
		log, err := eventstore.Open(ctx, s.Store)
		if err != nil {
			return err
		}
		defer log.Close()
		letters := command.NewReplayer(s.Kafka, log)
		switch *send {
		case "":
			return s.listLetters(ctx, letters, log)
		case "records":
			n, err := log.RestartVariants(ctx)
			if err == nil {
				s.say(fmt.Sprintf("%d inventory records will be tried again", n), map[string]any{"records": n})
			}
			return err
		}
		sent, refused := 0, 0
		err = letters.Replay(ctx, func(l command.Letter) bool { return *send == "all" || *send == l.Place() }, func(l command.Letter, refusal string) {
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
func (s *server) listLetters(ctx context.Context, letters *command.Replayer, log *eventstore.Store) error {
	n := 0
	err := letters.List(ctx, func(l command.Letter) error {
		n++
		state := "can be sent again"
		if why := l.Refusal(); why != "" {
			state = "closed: " + why
		}
		if !isTerminal(s.out) {
			return json.NewEncoder(s.out).Encode(map[string]any{"place": l.Place(), "reason": l.Reason, "error": l.Error, "topic": l.From,
				"time": l.Time, "key": string(l.Key), "body": string(l.Body), "replayed": l.Replayed, "state": state})
		}
		_, err := fmt.Fprintf(s.out, "%s  %s  %s\n    %s\n    %s\n", l.Place(), l.Time.Format(time.RFC3339), l.Reason, l.Error, state)
		return err
	})
	if err != nil {
		return err
	}
	backlog, err := log.VariantBacklog(ctx)
	if err == nil && isTerminal(s.out) {
		fmt.Fprintf(s.out, "%d dead letters; %d inventory records wait, %d are stopped\n", n, backlog.Pending, backlog.Stopped)
	}
	return err
}

// indent makes a list of joined errors, a line each.
func indent(err error) string {
	var lines []string
	for _, e := range flatten(err) {
		lines = append(lines, "  - "+e.Error())
	}
	return strings.Join(lines, "\n")
}
