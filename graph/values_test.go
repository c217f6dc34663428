package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"product-service/integration/inventory"
	"product-service/projection/read"
)

// A number that its type doesn't hold is an error at its field, and the null goes as far up as the
// types say.
func TestANumberThatItsTypeCantHoldIsAnErrorAtItsField(t *testing.T) {
	f := fakesOf(newCatalogue(2))
	f.level = func(_ context.Context, id uuid.UUID) inventory.Result {
		available := int64(math.MaxInt32)
		if id == numbered("b", 1) {
			available = 1<<53 + 1
		}
		return inventory.Result{Outcome: inventory.Known, Level: inventory.Level{VariantID: id, Available: available, Status: inventory.InStock, UpdatedAt: noon, FetchedAt: noon, Source: inventory.Live}}
	}
	got := post(t, newTestHandler(t, f), `{product(id:"`+numbered("a", 0).String()+`"){variants{inventory{status n:availableQuantity}}}}`, "")
	if want := `{"product":{"variants":[{"inventory":{"status":"IN_STOCK","n":2147483647}},{"inventory":null}]}}`; !strings.Contains(got.body, want) {
		t.Errorf("want the data %s\n%s", want, got.body)
	}
	if len(got.Errors) != 1 || fmt.Sprint(got.Errors[0].Path) != "[product variants 1 inventory n]" || !strings.Contains(got.Errors[0].Message, "9007199254740993 is not an Int") {
		t.Errorf("the errors are %+v", got.Errors)
	}
}

func TestSumsPass32Bits(t *testing.T) {
	sums := read.Bucket{Start: noon, End: noon.Add(time.Hour), ReservedQuantity: 3 * math.MaxInt32, ReleasedQuantity: 1<<53 - 1, AdjustedQuantity: -(1<<53 - 1)}
	broken := sums
	broken.ReleasedQuantity = 1 << 53
	stocks := sums
	stocks.Closing = 1 << 31
	for _, test := range []struct {
		name    string
		buckets []read.Bucket
		path    string
	}{
		{"sums", []read.Bucket{sums, sums}, ""},
		{"a sum beyond a Long", []read.Bucket{sums, broken}, "[stockTimeline 1 free]"},
		{"a stock beyond an Int", []read.Bucket{stocks}, "[stockTimeline 0 closing]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newTestHandler(t, &fakes{timeline: func(uuid.UUID, time.Time, time.Time, read.Interval) ([]read.Bucket, error) {
				return test.buckets, nil
			}})
			got := post(t, h, `{stockTimeline(productId:"`+idA+`",from:"2026-01-01T00:00:00Z",to:"2026-01-02T00:00:00Z",interval:HOUR){reservedQuantity free:releasedQuantity adjustedQuantity closing}}`, "")
			if test.path != "" {
				if len(got.Errors) != 1 || fmt.Sprint(got.Errors[0].Path) != test.path || !strings.Contains(got.body, `"data":null`) {
					t.Errorf("want an error at %s, got %s", test.path, got.body)
				}
				return
			}
			if want := `{"reservedQuantity":6442450941,"free":9007199254740991,"adjustedQuantity":-9007199254740991,"closing":0}`; strings.Count(got.body, want) != 2 || len(got.Errors) > 0 {
				t.Errorf("want %s, got %s", want, got.body)
			}
		})
	}
}

// Times are what RFC 3339 can write: in the years 0001 to 9999, also after their offset is taken off.
func TestTimesOutsideTheCalendarAreRefused(t *testing.T) {
	f := fakesOf(newCatalogue(1))
	h := newTestHandler(t, f)
	for _, at := range []string{
		"9999-12-31T23:59:59.9999999-05:00", "9999-12-31T19:00:00-05:00", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "10000-01-01T00:00:00Z",
		"2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T1:00:00Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "", strings.Repeat("2026", 2000),
	} {
		for _, field := range []string{
			`products(where:{updatedAt:{lte:%s}}){totalCount}`, `products(where:{updatedAt:{gte:%s}}){totalCount}`, `stockMovements(from:%s){totalCount}`, `stockMovements(to:%s){totalCount}`,
			`product(id:"` + numbered("a", 0).String() + `"){stockAt(at:%s){total}}`,
			`stockTimeline(productId:"` + idA + `",from:"2026-01-01T00:00:00Z",to:%s,interval:DAY){start}`,
		} {
			literal, _ := json.Marshal(at)
			for _, got := range []reply{
				post(t, h, "{f:"+fmt.Sprintf(field, literal)+"}", ""),
				post(t, h, "query($at:DateTime!){f:"+fmt.Sprintf(field, "$at")+"}", `{"at":`+string(literal)+`}`),
			} {
				if fmt.Sprint(got.codes()) != "[BAD_USER_INPUT]" || !strings.Contains(got.Errors[0].Message, "DateTime") || len(got.Errors[0].Message) > 250 {
					t.Errorf("%s of %q: %s", field, at, got.body)
				}
			}
		}
	}
	for _, at := range []string{"0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.9999999Z", "2026-01-01T00:00:00-05:00"} {
		if got := post(t, h, `{products(where:{updatedAt:{gte:"`+at+`"}}){totalCount}}`, ""); len(got.Errors) > 0 {
			t.Errorf("%s is refused: %s", at, got.body)
		}
	}
}

// Whatever the engine and the projection wrote around it, clients read our words.
func TestRangeErrorsAreInOurWords(t *testing.T) {
	f := fakesOf(newCatalogue(1))
	f.timeline = func(uuid.UUID, time.Time, time.Time, read.Interval) ([]read.Bucket, error) {
		return nil, fmt.Errorf("to must be at most 10 days after from: %w", read.ErrBadRange)
	}
	args := `(from:"2026-01-01T00:00:00Z",to:"2026-02-01T00:00:00Z",interval:DAY){start}`
	for _, query := range []string{`{product(id:"` + numbered("a", 0).String() + `"){stockTimeline` + args + `}}`, `{stockTimeline(productId:"` + idA + `",` + args[1:] + `}`} {
		if got := post(t, newTestHandler(t, f), query, ""); len(got.Errors) != 1 || got.Errors[0].Message != "to must be at most 10 days after from" {
			t.Errorf("%s: %s", query, got.body)
		}
	}
}

// echoed is how much of the input a message repeats: its longest parts that the input has too, of
// more than a word.
func echoed(message, input string) (n int) {
	for i := 0; i < len(message); {
		size := 0
		for i+size < len(message) && strings.Contains(input, message[i:i+size+1]) {
			size++
		}
		if size >= 12 {
			n += size
		}
		i += max(1, size)
	}
	return n
}

func TestErrorsDontRepeatTheInput(t *testing.T) {
	h := newTestHandler(t, fakesOf(newCatalogue(1)), "GRAPHQL_MAX_TOKENS", "100000")
	digits, letters := strings.Repeat("1234567890", 500), strings.Repeat("abcdefghij", 500)
	words := strings.Repeat("some more words ", 300)
	list := "[" + strings.Repeat(`"one two three",`, 300) + "]"
	for _, test := range []struct{ name, query, variables string }{
		{"an Int", "{products(first:" + digits + "){totalCount}}", ""},
		{"a Float", "{products(first:" + digits + ".5){totalCount}}", ""},
		{"a DateTime of digits", "{stockMovements(from:" + digits + "){totalCount}}", ""},
		{"a string for an Int", `{products(first:"` + words + `"){totalCount}}`, ""},
		{"a string of quotes for an Int", `{products(first:"` + strings.Repeat(`\"quoted words\" `, 300) + `"){totalCount}}`, ""},
		{"a block string for an Int", `{products(first:"""` + words + `"""){totalCount}}`, ""},
		{"a list for an Int", "{products(first:" + list + "){totalCount}}", ""},
		{"an object for an Int", `{products(first:{` + strings.Repeat(`someField:"some words"`, 200) + `}){totalCount}}`, ""},
		{"an enum", "{products(orderBy:{field:" + letters + "}){totalCount}}", ""},
		{"an enum for an Int", "{products(first:" + letters + "){totalCount}}", ""},
		{"a string for an enum", `{products(orderBy:{field:"` + words + `"}){totalCount}}`, ""},
		{"a field", "{" + letters + "}", ""},
		{"a field below an alias", "{" + letters + ":" + letters + "}", ""},
		{"an argument", "{products(" + letters + ":1){totalCount}}", ""},
		{"an input field", "{products(where:{" + letters + ":1}){totalCount}}", ""},
		{"a type", "query($v:" + letters + "){products(first:$v){totalCount}}", ""},
		{"a type condition", "{...on " + letters + "{x}}", ""},
		{"a fragment", "{..." + letters + "}", ""},
		{"an unused fragment", "{products{totalCount}} fragment " + letters + " on Query{products{totalCount}}", ""},
		{"a directive", "{products @" + letters + "{totalCount}}", ""},
		{"a variable that isn't defined", "{products(first:$" + letters + "){totalCount}}", ""},
		{"a variable that isn't used", "query " + letters + "($" + letters + ":Int){products{totalCount}}", ""},
		{"a variable that isn't given", "query($" + letters + ":Int!){products(first:$" + letters + "){totalCount}}", ""},
		{"operations of one name", "query " + letters + "{products{totalCount}} query " + letters + "{products{totalCount}}", ""},
		{"conflicting fields", "{a:products{" + letters + "x:totalCount} a:products{" + letters + "x:nodes{id}}}", ""},
		{"a token out of place", "{products} " + letters, ""},
		{"a string out of place", `{products} "` + words + `"`, ""},
		{"a number out of place", "{products} " + digits, ""},
		{"a string without an end", `{products(after:"` + words, ""},
		{"a wrong escape", `{products(after:"\uzz` + letters + `"){totalCount}}`, ""},
		{"an id", `{product(id:"` + words + `"){id}}`, ""},
		{"a variable's Int", "query($v:Int){products(first:$v){totalCount}}", `{"v":` + digits + `}`},
		{"a variable's text for an Int", "query($v:Int){products(first:$v){totalCount}}", `{"v":"` + words + `"}`},
		{"a variable's enum", "query($v:ProductOrder){products(orderBy:$v){totalCount}}", `{"v":{"field":"` + letters + `"}}`},
		{"a variable's field", "query($v:ProductFilter){products(where:$v){totalCount}}", `{"v":{"` + words + `":1}}`},
		{"a variable's DateTime", "query($v:DateTime){stockMovements(from:$v){totalCount}}", `{"v":"` + words + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := post(t, h, test.query, test.variables)
			if len(got.Errors) == 0 {
				t.Fatalf("it is accepted: %s", got.body)
			}
			for _, e := range got.Errors {
				if n := echoed(e.Message, test.query+test.variables); n > maxEcho || len(e.Message) > 400 || !utf8.ValidString(e.Message) {
					t.Errorf("%d characters of the input come back: %s", n, e.Message)
				}
			}
		})
	}
}

func TestShortMessagesStayAsTheyAre(t *testing.T) {
	for _, message := range []string{
		`Cannot query field "colour" on type "ProductVariant".`, `Field "createProduct" argument "input" of type "CreateProductInput!" is required, but it was not provided.`,
		`Unexpected single quote character ('), did you mean to use a double quote (")?`, `Value "BLUE" does not exist in "ProductOrderField!" enum.`,
		`"0190" is not an id; it must be a UUID, such as 0190f3a4-5b6c-7d8e-9f00-112233445566`,
		"the body must be a JSON object with the string query and, optionally, operationName, variables and extensions",
	} {
		if got := shorten(message); got != message {
			t.Errorf("%s becomes %s", message, got)
		}
	}
}
