package ijson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"product-service/ijson"
)

// FuzzUnmarshal holds the reader against the standard library's, which is more lenient: with the
// checks of [independently] both take the same bodies, and read the same from them.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"text":"a","number":2}`, `{"text":"\ud83d\ude00","number":2.0,"x":[{"a":1},{"a":1}]}`, `{"Text":1,"number":-0e5}`, "\ufeff{}", `{"text":"\ufffd"}`,
		`{"text":"\ud83d"}`, "{\"text\":\"\xe9\"}", `{"a":1,"a":2}`, `{"a":{"b":1,"\u0062":2}}`, `{"number":1e400}`, `{"number":12.50e1,"text":null}`, `[{}]`, `null`,
		`{"number":9223372036854775808}`, `{"text":"\\ud83d"}`, `{"text":"\\\ud83d\ude00"}`, "{\"text\":\"\x7f\u2028\"} ", `{"number":01}`, `{"number":1.}`, `{"text":}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got message
		err := ijson.Unmarshal(body, &got)
		members, ok := independently(body)
		if ok != (err == nil) {
			t.Fatalf("%q: %v; an independent reader takes it: %v", body, err, ok)
		}
		if !ok {
			return
		}
		if raw, given := members["text"]; given {
			checkText(t, got.Text, raw)
		}
		if raw, given := members["number"]; given {
			checkInteger(t, got.Number, raw)
		}
	})
}

func checkText(t *testing.T, got ijson.String, raw json.RawMessage) {
	t.Helper()
	var want *string
	wrong := json.Unmarshal(raw, &want) != nil
	if wrong != (got.Wrong != "") || got.Given != (wrong || want != nil) || (!wrong && want != nil && *want != got.Text) {
		t.Fatalf("%s is read as %+v", raw, got)
	}
}

func checkInteger(t *testing.T, got ijson.Integer, raw json.RawMessage) {
	t.Helper()
	if kind := raw[0]; kind != '-' && (kind < '0' || kind > '9') {
		if got.Given != (kind != 'n') || (got.Wrong == "") == got.Given {
			t.Fatalf("%s is read as %+v", raw, got)
		}
		return
	}
	if _, exponent, has := strings.Cut(strings.ToLower(string(raw)), "e"); has && len(exponent) > 4 {
		return // more than big.Rat shall be asked for
	}
	want, ok := new(big.Rat).SetString(string(raw))
	if !ok {
		t.Fatalf("%s is no number, and is read as %+v", raw, got)
	}
	if whole := want.IsInt() && want.Num().IsInt64(); whole != (got.Wrong == "") || (whole && want.Num().Int64() != got.Value) {
		t.Fatalf("%s is read as %+v", raw, got)
	}
}

// independently reads an object by encoding/json, and checks what that lets pass: texts that are
// none, and repeated names.
func independently(body []byte) (members map[string]json.RawMessage, ok bool) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(body) || !json.Valid(body) || hasHalfPair(body) || hasRepeatedName(body) {
		return nil, false
	}
	return members, json.Unmarshal(body, &members) == nil && members != nil
}

var escape = regexp.MustCompile(`(?i)\\(u[0-9a-f]{4}|.)`)

func hasHalfPair(body []byte) bool {
	high := -1 // where the escape of the low half must begin
	for _, at := range escape.FindAllIndex(body, -1) {
		var unit rune
		if e := string(body[at[0]+1 : at[1]]); e[0] == 'u' {
			n, _ := strconv.ParseUint(e[1:], 16, 16)
			unit = rune(n)
		}
		low := unit >= 0xdc00 && utf16.IsSurrogate(unit)
		if (high >= 0) != low || (low && at[0] != high) {
			return true
		}
		high = -1
		if utf16.IsSurrogate(unit) && !low {
			high = at[1]
		}
	}
	return high >= 0
}

func hasRepeatedName(body []byte) bool {
	type object struct {
		names  map[string]bool // nil in an array
		isName bool
	}
	var open []object
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		d.UseNumber()
		token, err := d.Token()
		if err == io.EOF {
			return false
		}
		var in *object
		if len(open) > 0 {
			in = &open[len(open)-1]
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			continue
		}
		if in != nil && in.names != nil {
			in.isName = !in.isName
			if name, _ := token.(string); in.isName {
				if in.names[name] {
					return true
				}
				in.names[name] = true
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			open = append(open, object{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, object{})
		}
	}
}

// taker is a [message] that takes plain bodies by itself.
type taker struct {
	Text   ijson.String  `json:"text"`
	Number ijson.Integer `json:"number"`
	Plain  string        `json:"plain"`
	Count  int64         `json:"count"`
	Flag   bool          `json:"flag"`
	At     *time.Time    `json:"at"`
}

func (t *taker) Take(name string, m ijson.Member) bool {
	switch name {
	case "text":
		return m.String(&t.Text)
	case "number":
		return m.Integer(&t.Number)
	case "plain":
		return m.Text(&t.Plain)
	case "count":
		return m.Number(&t.Count)
	case "flag":
		return m.Bool(&t.Flag)
	case "at":
		return m.Time(&t.At)
	}
	return false
}

// FuzzTaker holds what a [ijson.Taker] takes against the fields: whether by itself or not, it ends
// with the same values and errors as a struct that takes nothing.
func FuzzTaker(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"text":"a","number":2,"plain":"b","count":-7,"flag":true,"at":"2026-11-23T12:13:23.546145Z"}`, " {\t\"flag\" : false\r\n} \n", `{"text":"a","text":"b"}`,
		`{"text":"a",}`, `{"text":"a"}}`, `{"text":"a"`, `{"text":"a" "number":1}`, `{"number":01}`, `{"number":-0}`, `{"number":-01}`, `{"number":1.0}`, `{"number":1e0}`, `{"number":-}`,
		`{"number":999999999999999999}`, `{"number":9999999999999999999}`, `{"count":1000000000000000000}`, `{"count":"1"}`, `{"count":1.5}`, `{"flag":truex}`, `{"flag":null}`, `{"flag":1}`,
		`{"text":5}`, `{"text":null}`, `{"plain":"é"}`, `{"plain":"\u0061"}`, "{\"plain\":\"a\x7f\"}", "{\"plain\":\"a\tb\"}", `{"Text":"a"}`, `{"other":{"a":1,"a":2}}`, `{"other":1,"text":"a"}`,
		`{"at":"2026-11-23T12:13:23+01:00"}`, `{"at":"2026-11-23T1:13:23Z"}`, `{"at":"2026-11-23T12:13:23,5Z"}`, `{"at":"2026-11-23T12:13:23.500Z"}`, `{"at":"2026-02-30T00:00:00Z"}`, `{"at":""}`,
		"\ufeff{\"text\":\"a\"}", "{\"text\":\"\xe9\"}", `[]`, `null`, ``, `{"":1}`, `{"text":"a","number":true}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		type fields taker // without the method
		var got taker
		var want fields
		err, wantErr := ijson.Unmarshal(body, &got), ijson.Unmarshal(body, &want)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%q: %v; without a Take: %v", body, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(fields(got), want) {
			t.Fatalf("%q is read as %+v; without a Take as %+v", body, got, want)
		}
	})
}

func TestATakerReadsWhatItsFieldsWould(t *testing.T) {
	body := `{"text":"a","number":2,"plain":"b","count":-7,"flag":true,"at":"2026-11-23T12:13:23.546145Z"}`
	var got taker
	allocated := testing.AllocsPerRun(100, func() {
		if err := ijson.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
	})
	if allocated > 6 { // it took the body by itself
		t.Errorf("a plain body is read with %g allocations", allocated)
	}
}
