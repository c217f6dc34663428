package ijson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"product-service/ijson"
)

type message struct {
	Text   ijson.String  `json:"text"`
	Number ijson.Integer `json:"number"`
	Inner  ijson.Value   `json:"inner"`
	Any    any           `json:"any"`
}

func TestABodyIsReadAsItsSchemaSays(t *testing.T) {
	text := func(s string) message { return message{Text: ijson.String{Text: s, Given: true}} }
	number := func(n int64) message { return message{Number: ijson.Integer{Value: n, Given: true}} }
	for _, c := range []struct {
		name, body string
		want       message
	}{
		{"Nothing", `{}`, message{}},
		{"Text", `{"text":"a b"}`, text("a b")},
		{"EmptyText", `{"text":""}`, text("")},
		{"Escapes", `{"text":"a\n\"\\\u00e9\ud83d\ude00"}`, text("a\n\"\\é😀")},
		{"CharactersAsTheyAre", `{"text":"é😀"}`, text("é😀")},
		{"ReplacementCharacter", `{"text":"\ufffd` + "\ufffd" + `"}`, text("\ufffd\ufffd")},
		{"NUL", `{"text":"\u0000"}`, text("\x00")},
		{"EscapedName", `{"te\u0078t":"a"}`, text("a")},
		{"NamesInTheirCase", `{"Text":1,"TEXT":{},"text":"a","Number":"x"}`, text("a")},
		{"OtherMembers", `{"x":1e999999999,"y":[[],{"text":"b"}],"text":"a","":null}`, text("a")},
		{"Nulls", `{"text":null,"number":null,"any":null}`, message{}},
		{"ByteOrderMark", "\ufeff{\"text\":\"a\"}", text("a")},
		{"SpaceAround", " \r\n\t{ \"text\" : \"a\" } \n", text("a")},
		{"Integer", `{"number":-12}`, number(-12)},
		{"LargestInteger", `{"number":9223372036854775807}`, number(9223372036854775807)},
		{"LeastInteger", `{"number":-9223372036854775808}`, number(-9223372036854775808)},
		{"BeyondWhatAFloatHolds", `{"number":9007199254740993}`, number(9007199254740993)},
		{"FractionOfZeros", `{"number":2.000}`, number(2)},
		{"Exponent", `{"number":2e0}`, number(2)},
		{"ExponentUp", `{"number":1.25E+2}`, number(125)},
		{"ExponentDown", `{"number":-1200e-2}`, number(-12)},
		{"LargestWithAnExponent", `{"number":9.223372036854775807e18}`, number(9223372036854775807)},
		{"ZeroTimesAnything", `{"number":-0.0e999999999999}`, number(0)},
		{"ManyZeros", `{"number":1` + strings.Repeat("0", 5000) + `e-5000}`, number(1)},
		{"ManyZerosBehindThePoint", `{"number":0.` + strings.Repeat("0", 4999) + `1e5000}`, number(1)},
		{"TextOfAWrongKind", `{"text":5}`, message{Text: ijson.String{Given: true, Wrong: "a JSON number"}}},
		{"TextThatIsAnObject", `{"text":{"a":[1]}}`, message{Text: ijson.String{Given: true, Wrong: "a JSON object"}}},
		{"IntegerOfAWrongKind", `{"number":"5","text":"a"}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON string"}, Text: ijson.String{Text: "a", Given: true}}},
		{"IntegerThatIsABoolean", `{"number":false}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON boolean"}}},
		{"Fraction", `{"number":1.5}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON number 1.5"}}},
		{"SmallFraction", `{"number":1e-400}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON number 1e-400"}}},
		{"BeyondSixtyFourBits", `{"number":9223372036854775808}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON number 9223372036854775808"}}},
		{"HugeExponent", `{"number":1e400}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON number 1e400"}}},
		{"ExponentBeyondAll", `{"number":1e99999999999999999999}`, message{Number: ijson.Integer{Given: true, Wrong: "a JSON number 1e99999999999999999999"}}},
		{"ValueAsItStands", `{"inner":{ "a": [1.0] }}`, message{Inner: ijson.Value(`{ "a": [1.0] }`)}},
		{"NumbersAnywhere", `{"any":{"a":[1.0,12345678901234567890,"x",true,null]}}`, message{Any: map[string]any{
			"a": []any{json.Number("1.0"), json.Number("12345678901234567890"), "x", true, nil},
		}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got message
			if err := ijson.Unmarshal([]byte(c.body), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%.100s is read as\n%+v, want\n%+v", c.body, got, c.want)
			}
		})
	}
}

func TestARefusalSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"Empty", "", "it is empty"},
		{"OnlySpace", " \n", "it is empty"},
		{"OnlyAByteOrderMark", "\ufeff", "it is empty"},
		{"TwoByteOrderMarks", "\ufeff\ufeff{}", "it is not valid JSON at byte 3: invalid character '\\ufeff' at start of value"},
		{"Null", " null ", "it is null"},
		{"Array", "[1]", "it is a JSON array, which doesn't fit there"},
		{"Text", `"{}"`, "it is a JSON string, which doesn't fit there"},
		{"NotJSON", "hello", "it is not valid JSON at byte 0: invalid character 'h' at start of value"},
		{"CutOff", `{"text":"a"`, "it is not valid JSON at byte 11: unexpected EOF"},
		{"Trailing", `{} {}`, "it is not valid JSON at byte 3: invalid character '{' after top-level value"},
		{"LeadingZero", `{"number":01}`, "it is not valid JSON at byte 11: invalid character '1' after object value (expecting ',' or '}')"},
		{"Infinity", `{"x":NaN}`, "it is not valid JSON at byte 5: invalid character 'N' at start of value"},
		{"Latin1", "{\"text\":\"caf\xe9\"}", "it is not valid UTF-8, as JSON must be (RFC 8259, section 8.1)"},
		{"Latin1InAnotherMember", "{\"x\":\"caf\xe9\"}", "it is not valid UTF-8, as JSON must be (RFC 8259, section 8.1)"},
		{"EncodedSurrogate", "{\"x\":\"\xed\xa0\xbd\"}", "it is not valid UTF-8, as JSON must be (RFC 8259, section 8.1)"},
		{"UTF16", "\xff\xfe{\x00}\x00", "it is not valid UTF-8, as JSON must be (RFC 8259, section 8.1)"},
		{"HalfAPair", `{"text":"\ud83d"}`, "it is not valid JSON at byte 9: invalid surrogate pair `\\ud83d\"}` in string"},
		{"HalfAPairInAnotherMember", `{"x":["\ude00 and more"]}`, "it is not valid JSON at byte 7: invalid surrogate pair \"\\\\ude00 and m\" in string"},
		{"PairTheWrongWayRound", `{"x":"\ude00\ud83d"}`, "it is not valid JSON at byte 6: invalid surrogate pair `\\ude00\\ud83d` in string"},
		{"SameNameTwice", `{"text":"a","text":"a"}`, `it has the name "text" twice in one object`},
		{"SameNameOtherwiseWritten", `{"text":"a","te\u0078t":"a"}`, `it has the name "text" twice in one object`},
		{"SameNameTwiceInAnotherMember", `{"x":[{"a":1,"a":2}]}`, `it has the name "a" twice in one object`},
		{"LongName", `{"` + strings.Repeat("x", 5000) + `":1,"` + strings.Repeat("x", 5000) + `":1}`, `it has the name "` + strings.Repeat("x", 80) + `…" twice in one object`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ijson.Unmarshal([]byte(c.body), new(message))
			if err == nil || err.Error() != c.want {
				t.Errorf("%.100q: %v; want %s", c.body, err, c.want)
			}
		})
	}
}

func TestAWrongKindOfAPlainFieldIsNamed(t *testing.T) {
	var into struct {
		Items []struct {
			Name string    `json:"name"`
			At   time.Time `json:"at"`
		} `json:"items"`
	}
	for body, want := range map[string]string{
		`{"items":[{"name":5}]}`:     "name is a JSON number, which doesn't fit there",
		`{"items":[{"at":"today"}]}`: "at is a JSON string, which doesn't fit there",
		`{"items":{}}`:               "items is a JSON object, which doesn't fit there",
	} {
		if err := ijson.Unmarshal([]byte(body), &into); err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", body, err, want)
		}
	}
}

func TestWhatIsRefusedForItsTextIsSalvaged(t *testing.T) {
	for body, want := range map[string]string{
		"{\"text\":\"caf\xe9\"}":                "caf\ufffd",
		`{"text":"a\ud83db"}`:                   "a\ufffdb",
		`{"text":"a","text":"b"}`:               "b",
		"\ufeff{\"x\":\"\xff\",\"text\":\"a\"}": "a",
	} {
		var got message
		if err := ijson.Unmarshal([]byte(body), new(message)); err == nil {
			t.Errorf("%q is not refused", body)
		}
		if ok := ijson.Salvage([]byte(body), &got); !ok || got.Text.Text != want {
			t.Errorf("%q: salvaged %+v, %v; want %q", body, got, ok, want)
		}
	}
	for _, body := range []string{"", "null", "hello", "[1]", `{"text":"a"`, "\xff\xfe{\x00}\x00"} {
		if ijson.Salvage([]byte(body), new(message)) {
			t.Errorf("%q is salvaged", body)
		}
	}
}

func TestAFaultOfAnElementIsItsOwn(t *testing.T) {
	elements, err := ijson.Elements([]byte("\ufeff[{\"text\":\"a\"}, {\"text\":\"b\",\"text\":\"c\"}, {\"text\":\"\xe9\"}, 7]"))
	if err != nil || len(elements) != 4 {
		t.Fatalf("got %q: %v", elements, err)
	}
	for i, element := range elements {
		if err := ijson.Unmarshal(element, new(message)); (err == nil) != (i == 0) {
			t.Errorf("%s is read with the error %v", element, err)
		}
	}
	for _, body := range []string{"", "null", "{}", `[{"text":"a"}`, "[1],", "<html>"} {
		if _, err := ijson.Elements([]byte(body)); err == nil {
			t.Errorf("%q is an array", body)
		}
	}
	for body, want := range map[string]bool{
		"{}": true, "\ufeff {\"a\":1,\"a\":2}": true, "{\"\xe9\":1}": true, "[]": false, "": false, "null": false, `{"a":01}`: false, "{}x": false,
	} {
		if got := ijson.IsObject([]byte(body)); got != want {
			t.Errorf("%q is an object: %v", body, got)
		}
	}
}

// A number is read in time that its length allows for, whatever it stands for.
func TestNoNumberTakesLong(t *testing.T) {
	for _, number := range []string{
		"1e999999999", "-1e-999999999", "1e" + strings.Repeat("9", 1<<20), "0." + strings.Repeat("0", 1<<20) + "1e2147483647",
		strings.Repeat("9", 1<<20), "1" + strings.Repeat("0", 1<<20) + "e-1048576", "1e1048576", strings.Repeat("9", 1<<20) + "e-1048576",
	} {
		began := time.Now()
		if err := ijson.Unmarshal([]byte(`{"x":`+number+`,"number":`+number+`}`), new(message)); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.20s…, %d bytes long, took %s", number, len(number), took)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	body := []byte(`{"commandId":"2d7a0b5c-8f3e-4b9a-9c4d-3e5f7a9b1c2d","type":"ReserveProduct","productId":"0b5e8f3a-6d1c-4f7e-9a2b-1c3d5e7f9a0b",` +
		`"reservationId":"1c6f9a4b-7e2d-4a8f-8b3c-2d4e6f8a0b1c","sagaId":"saga-7","quantity":3,"expiresAt":"2026-11-23T13:00:00.1234567+01:00"}`)
	type command struct {
		CommandID     ijson.String  `json:"commandId"`
		Type          ijson.String  `json:"type"`
		ProductID     ijson.String  `json:"productId"`
		ReservationID ijson.String  `json:"reservationId"`
		SagaID        ijson.String  `json:"sagaId"`
		Quantity      ijson.Integer `json:"quantity"`
		ExpiresAt     ijson.String  `json:"expiresAt"`
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := ijson.Unmarshal(body, new(command)); err != nil {
			b.Fatal(err)
		}
	}
}
