// Package ijson reads the JSON that others send: the bodies of Kafka records, of HTTP requests and
// of HTTP answers. There is one set of rules for all of them, that of I-JSON (RFC 7493):
//
//   - A body is UTF-8. A byte order mark before it is passed over (RFC 8259, section 8.1). Escapes of half a surrogate pair, such as "\ud83d", are
//     no text and are refused (section 8.2). U+FFFD is a character like others.
//   - A name counts as it is written, in its case. Members with other names are ignored, whatever JSON they hold.
//   - A name that an object has twice is refused, at any depth: readers differ in which of the two they take.
//   - An integer is what JSON Schema takes for one: 2, 2.0 and 2e0 are the same ([Integer]).
//   - null is as good as an absent member. A body that is null is refused.
//
// A body is read into a struct with `json:"name"` tags. Fields of the types [String] and [Integer]
// note a value of a wrong kind rather than failing, so that a reader can tell its sender all the
// faults of a body at once:
//
//	var body struct {
//		Name     ijson.String  `json:"name"`
//		Quantity ijson.Integer `json:"quantity"`
//	}
//	if err := ijson.Unmarshal(data, &body); err != nil {
//		return err // the text is no JSON object
//	}
//	if body.Quantity.Wrong != "" {
//		fault("quantity is %s; it must be an integer", body.Quantity.Wrong)
//	}
//
// A field of type [Value] keeps a member as it stands, to be read by itself. Fields of other Go
// types are read as encoding/json/v2 does, whose reader this is. In a field of type any, numbers
// are of type json.Number. A struct that is read all the time can be a [Taker].
package ijson

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Value is a JSON value as it stands in a body; it was checked when the body was read.
type Value = jsontext.Value

// ErrNotUTF8 is the error of a body that isn't UTF-8.
var ErrNotUTF8 = errors.New("it is not valid UTF-8, as JSON must be (RFC 8259, section 8.1)")

var byteOrderMark = []byte("\uFEFF")

// strict is how bodies are read, lenient how refused ones are looked through.
var (
	strict  = json.WithUnmarshalers(json.UnmarshalFromFunc(numberAsItStands))
	lenient = json.JoinOptions(strict, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
)

// Unmarshal reads a body into what the pointer into points at. The text of an error is for the
// sender of the body: it says what is wrong with it, in words that follow "the body can't be read:
// ".
func Unmarshal(body []byte, into any) error {
	if t, ok := into.(Taker); ok && unmarshalPlain(body, t) {
		return nil
	}
	if !utf8.Valid(body) {
		return ErrNotUTF8
	}
	return unmarshal(body, into, strict)
}

// Salvage reads what it can of a body that [Unmarshal] refuses: what is no text becomes U+FFFD, and
// of members with the same name the last counts. It is for finding out whom to tell of the fault,
// never for taking the body as if it had none. It returns false where the body is no JSON at all.
func Salvage(body []byte, into any) bool { return unmarshal(body, into, lenient) == nil }

// Elements takes the array that a body is apart, into elements that haven't been checked: each is
// to be read with [Unmarshal] by itself, so that a fault in the text of one isn't a fault of the
// others.
func Elements(body []byte) (elements []Value, err error) {
	err = unmarshal(body, &elements, lenient)
	return elements, err
}

// IsObject says whether a body is a JSON object, if one whose texts and names may be at fault.
func IsObject(body []byte) bool {
	text := Value(bytes.TrimPrefix(body, byteOrderMark))
	return text.Kind() == '{' && text.IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

func unmarshal(body []byte, into any, options json.Options) error {
	text := bytes.TrimPrefix(body, byteOrderMark)
	err := json.Unmarshal(text, into, options)
	switch {
	case err != nil && len(bytes.TrimSpace(text)) == 0:
		return errors.New("it is empty")
	case err != nil:
		return explain(err, len(body)-len(text))
	case Value(text).Kind() == 'n':
		return errors.New("it is null")
	}
	return nil
}

// numberAsItStands keeps a number in a field of type any as the sender wrote it.
func numberAsItStands(d *jsontext.Decoder, into *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported // read it as ever
	}
	number, err := d.ReadValue()
	*into = stdjson.Number(number)
	return err
}

// explain puts an error of the reader into words for the sender: no Go types, and little of the
// body. What the reader was given began at the byte start.
func explain(err error, start int) error {
	if fault, ok := errors.AsType[*json.SemanticError](err); ok {
		at := "it"
		if fault.JSONPointer != "" {
			at = cut(fault.JSONPointer.LastToken())
		}
		what := "is of a wrong kind or form"
		if fault.JSONKind != 0 {
			what = "is " + kind(fault.JSONKind)
		}
		return fmt.Errorf("%s %s, which doesn't fit there", at, what)
	}
	fault, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case !ok:
		return errors.New("it is not valid JSON")
	case errors.Is(fault, jsontext.ErrDuplicateName):
		return fmt.Errorf("it has the name %q twice in one object", cut(fault.JSONPointer.LastToken()))
	}
	what := "it ends too early"
	if fault.Err != nil {
		what = fault.Err.Error()
	}
	return fmt.Errorf("it is not valid JSON at byte %d: %s", int64(start)+fault.ByteOffset, cut(what))
}

// cut keeps a text that is shown short.
func cut(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// kind names the kind of a value for a person.
func kind(k jsontext.Kind) string {
	switch k {
	case '{':
		return "a JSON object"
	case '[':
		return "a JSON array"
	case '"':
		return "a JSON string"
	case '0':
		return "a JSON number"
	case 't', 'f':
		return "a JSON boolean"
	default:
		return "null"
	}
}
