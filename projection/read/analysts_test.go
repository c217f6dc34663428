package read

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"

	"product-service/projection/projectiontest"
	"product-service/projection/view"
)

// question is one of those that the page for analysts answers by a pipeline.
type question struct {
	text, on string
	pipeline mongo.Pipeline
}

var questionShape = regexp.MustCompile("(?s)\\*\\*([^*]+)\\*\\* On `(stock_[a-z]+)`:\n\n```json\n(.*?)```")

func questions(t *testing.T) (all []question) {
	t.Helper()
	page, err := os.ReadFile("../../docs/analysts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range questionShape.FindAllStringSubmatch(string(page), -1) {
		q := question{text: found[1], on: found[2]}
		if err := bson.UnmarshalExtJSON([]byte(`{"p":`+found[3]+`}`), false, &struct{ P *mongo.Pipeline }{&q.pipeline}); err != nil {
			t.Fatalf("%s: %v", q.text, err)
		}
		all = append(all, q)
	}
	if marks := strings.Count(string(page), "```json"); marks != len(all) || marks == 0 {
		t.Fatalf("the page has %d pipelines, %d of them with a question", marks, len(all))
	}
	return all
}

// answers are what the readers of the history say, by the first words of a question: numbers by what they are of and by name.
type answers map[string]map[string]map[string]int64

func (a answers) add(question, of string, numbers map[string]int64) {
	if a[question] == nil {
		a[question] = map[string]map[string]int64{}
	}
	if a[question][of] == nil {
		a[question][of] = map[string]int64{}
	}
	for name, n := range numbers {
		a[question][of][name] += n
	}
}

// answered reads histories of products product by product, and adds up.
func answered(t *rapid.T, l *projectiontest.Log, r *Reader, products int) answers {
	a := answers{}
	for n := range products {
		id := projectiontest.ID(0xaa, n)
		movements := wantedMovements(l, MovementFilter{ProductID: id})
		for _, m := range movements {
			a.add("What kinds", string(m.Type), map[string]int64{"movements": 1, "units": m.Quantity})
			if m.Type == view.Adjusted {
				a.add("Who counted", m.Reason, map[string]int64{"counts": 1, "net": m.Delta})
			}
		}
		if len(movements) == 0 {
			continue
		}
		buckets, err := r.Timeline(t.Context(), id, movements[len(movements)-1].OccurredAt, r.now(), Daily)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range buckets {
			if b.OutOfStockSeconds > 0 {
				a.add("What was out", id.String(), map[string]int64{"seconds": b.OutOfStockSeconds})
			}
			if b.Refusals > 0 {
				a.add("How much demand", id.String(), map[string]int64{"units": b.RefusedQuantity, "requests": b.Refusals})
			}
			a.add("Which part", "<nil>", map[string]int64{"reserved": b.ReservedQuantity, "expired": b.ExpiredQuantity})
			a.add("How did the stock", b.Start.Format(time.DateOnly), map[string]int64{"reserved": b.ReservedQuantity, "released": b.ReleasedQuantity, "movements": b.Movements})
		}
	}
	return a
}

// Ensure that the pipelines of the page for analysts run as they stand there, and answer what the readers say. A server without views has nothing that
// they could run on: that there are none is what is checked then.
func TestThePipelinesForAnalystsAnswer(t *testing.T) {
	all := questions(t)
	s := projectiontest.Open(t)
	if !s.Server.Views {
		if names, err := s.Database().ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: all[0].on}}); err != nil || len(names) > 0 {
			t.Errorf("a server without views has %v (%v)", names, err)
		}
		return
	}
	rapid.Check(t, func(t *rapid.T) {
		l, r := projected(t, s, 3, 60)
		now := r.now()
		r.now = func() time.Time { return now }
		want := answered(t, l, r, 3)
		for _, q := range all {
			c, err := s.Database().Collection(q.on).Aggregate(t.Context(), q.pipeline)
			if err != nil {
				t.Fatalf("%s: %v", q.text, err)
			}
			var rows []bson.M
			if err := c.All(t.Context(), &rows); err != nil {
				t.Fatalf("%s: %v", q.text, err)
			}
			got := answers{}
			for _, row := range rows {
				of, numbers := fmt.Sprint(row["_id"]), map[string]int64{}
				if day, ok := row["_id"].(bson.DateTime); ok {
					of = day.Time().UTC().Format(time.DateOnly)
				}
				for name, value := range row {
					switch n := value.(type) {
					case int32:
						numbers[name] = int64(n)
					case int64:
						numbers[name] = n
					}
				}
				got.add(q.text, of, numbers)
			}
			checkAnswer(t, q.text, want, got[q.text], time.Since(now))
		}
	})
}

func checkAnswer(t *rapid.T, text string, want answers, got map[string]map[string]int64, passed time.Duration) {
	for begins, numbers := range want {
		if !strings.HasPrefix(text, begins) {
			continue
		}
		for of := range numbers { // what is out of stock goes on being so
			if more := got[of]["seconds"] - numbers[of]["seconds"]; more > 0 && more <= int64(passed.Seconds())+1 {
				numbers[of]["seconds"] = got[of]["seconds"]
			}
		}
		if len(numbers) == 0 {
			numbers = nil
		}
		if diff := cmp.Diff(numbers, got); diff != "" {
			t.Fatalf("%s (-readers +pipeline)\n%s", text, diff)
		}
		return
	}
	if len(got) > 0 {
		t.Fatalf("%s: the readers have nothing, the pipeline %v", text, got)
	}
}
