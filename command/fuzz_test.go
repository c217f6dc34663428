package command

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"product-service/product"
)

// FuzzDecodeCommand holds the decoder against [strictly], an independent reader: both take the same
// bodies for commands, and read the same from them.
func FuzzDecodeCommand(f *testing.F) {
	for _, seed := range []string{
		request(), "\ufeff " + request("type", "", "sagaId", "null", "expiresAt", "") + "\n", request("quantity", "3.0"), request("quantity", "0.3e+1"),
		request("quantity", "0"), request("quantity", "1.5"), request("quantity", `"3"`), request("quantity", ""), request("quantity", "1e400"), request("quantity", "2147483648"),
		request("QUANTITY", "9", "Type", `"other"`, "note", `{"quantity":9,"a":[{"a":1},{"a":1}]}`), request("note", `{"a":1,"\u0061":1}`),
		request()[:len(request())-1] + `,"quantity":9}`, strings.ReplaceAll(request(), `"quantity"`, `"Quantity"`), strings.ReplaceAll(request(), `"quantity"`, `"qu\u0061ntity"`),
		request("sagaId", `"\ud83d\ude00"`), request("sagaId", `"\ud83d"`), request("sagaId", `"\ufffd`+"\ufffd"+`\\ud83d"`), request("sagaId", "\"\xe9\""),
		request("sagaId", `"a\u0000b"`), request("sagaId", `"`+strings.Repeat("é", 201)+`"`), request("sagaId", "7"), request("reason", "7"), request("type", `"ReleaseProduct"`),
		request("commandId", "null"), request("productId", `"tent"`), request("reservationId", `"`+strings.ToUpper(reservationX)+`"`), request("reservationId", `"`+uuid.Nil.String()+`"`),
		request("expiresAt", `"tomorrow"`), request("expiresAt", `"2026-11-23T13:00:00"`), request("expiresAt", `"1066-10-14T09:00:00Z"`), request("expiresAt", "1795433000"),
		"[" + request() + "]", request() + "x", request()[:100], "null", "{}", "", releaseOf(), releaseOf("quantity", "null", "expiresAt", "7", "reason", ""), releaseOf("reason", "5"),
		releaseOf("quantity", "-1"), releaseOf("quantity", "20E-1"), releaseOf("type", `"ReserveProduct"`), releaseOf("reason", `"\ude00\ud83d"`),
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, release bool) {
		got, err := decodeCommand(consumed(string(body)), release)
		members, isObject := strictly(body)
		want, verdict := Request{}, invalid
		if isObject && len(body) <= maxBody {
			want, verdict = members.command(release)
		}
		switch {
		case err == nil && verdict == invalid:
			t.Fatalf("%q becomes %+v; an independent reader refuses it", body, got)
		case err != nil && verdict == valid:
			t.Fatalf("%q is refused: %v; an independent reader takes it for %+v", body, err, want)
		case err == nil && verdict == valid && (got.ID != want.ID || got.ProductID != want.ProductID || got.Command != want.Command):
			t.Fatalf("%q is read as %+v, and by an independent reader as %+v", body, got, want)
		case err != nil && got != nil:
			if _, refuse := got.Command.(product.Refuse); !refuse || release {
				t.Fatalf("%q is faulty (%v), and becomes %+v", body, err, got)
			}
		}
	})
}

type members map[string]any

// strictly reads an object by encoding/json, and checks what that lets pass: bytes that are no
// UTF-8, names that are there twice, and halves of surrogate pairs, for which it puts U+FFFD.
func strictly(body []byte) (_ members, ok bool) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, false
	}
	r := strictReader{tokens: json.NewDecoder(bytes.NewReader(body))}
	r.tokens.UseNumber()
	object, isObject := r.value().(map[string]any)
	written := bytes.Count(body, []byte("\ufffd"))
	for _, escape := range escapes.FindAll(body, -1) {
		if strings.EqualFold(string(escape), `\ufffd`) {
			written++
		}
	}
	return object, isObject && !r.repeats && r.replacements == written
}

var escapes = regexp.MustCompile(`(?i)\\(u[0-9a-f]{4}|.)`)

type strictReader struct {
	tokens       *json.Decoder
	repeats      bool // an object has a name twice
	replacements int  // how often U+FFFD was read
}

// value reads the next value of a text that is known to be JSON; nil also stands for the end of an
// array or an object.
func (r *strictReader) value() any {
	token, _ := r.tokens.Token()
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for r.tokens.More() {
			name, _ := r.value().(string)
			_, again := object[name]
			r.repeats = r.repeats || again
			object[name] = r.value()
		}
		_, _ = r.tokens.Token()
		return object
	case json.Delim('['):
		list := []any{}
		for r.tokens.More() {
			list = append(list, r.value())
		}
		_, _ = r.tokens.Token()
		return list
	}
	if text, ok := token.(string); ok {
		r.replacements += strings.Count(text, "\ufffd")
	}
	return token
}

// verdict says whether an object is a command. What the decoder is free to make of a field, such as
// to cut a reason, is open.
type verdict int

const (
	valid verdict = iota
	open
	invalid
)

func (m members) command(release bool) (Request, verdict) {
	commandID, productID, reservationID := m.id("commandId"), m.id("productId"), m.id("reservationId")
	wantType := "ReserveProduct"
	if release {
		wantType = "ReleaseProduct"
	}
	quantity, all := m.quantity()
	if m["type"] != nil && m["type"] != wantType {
		all = invalid
	}
	if m["quantity"] == nil && !release {
		all = invalid
	}
	saga, ok := m.text("sagaId")
	if !ok || utf8.RuneCountInString(saga) > 200 || strings.Contains(saga, "\x00") || commandID == uuid.Nil || productID == uuid.Nil || reservationID == uuid.Nil {
		all = invalid
	}
	r := Request{ID: commandID, ProductID: productID}
	if release {
		reason, ok := m.text("reason")
		if !ok {
			return r, invalid
		}
		if utf8.RuneCountInString(reason) > 500 || strings.Contains(reason, "\x00") {
			all = max(all, open)
		}
		r.Command = product.Release{ReservationID: reservationID, SagaID: saga, Quantity: quantity, Reason: reason}
		return r, all
	}
	expiry, judged := m.expiry()
	r.Command = product.Reserve{ReservationID: reservationID, SagaID: saga, Quantity: quantity, ExpiresAt: expiry}
	return r, max(all, judged)
}

// text is "" where there is none or null, and not ok where there is something else.
func (m members) text(name string) (text string, ok bool) {
	text, ok = m[name].(string)
	return text, ok || m[name] == nil
}

var canonical = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (m members) id(name string) uuid.UUID {
	text, _ := m.text(name)
	if !canonical.MatchString(text) {
		return uuid.Nil
	}
	return uuid.MustParse(text)
}

func (m members) quantity() (int64, verdict) {
	if m["quantity"] == nil {
		return 0, valid
	}
	number, ok := m["quantity"].(json.Number)
	if !ok {
		return 0, invalid
	}
	if _, exponent, has := strings.Cut(strings.ToLower(number.String()), "e"); has && len(exponent) > 4 {
		return 0, open // more than big.Rat shall be asked for
	}
	n, ok := new(big.Rat).SetString(number.String())
	if !ok || !n.IsInt() || !n.Num().IsInt64() || n.Num().Int64() < 1 || n.Num().Int64() > 2147483647 {
		return 0, invalid
	}
	return n.Num().Int64(), valid
}

func (m members) expiry() (time.Time, verdict) {
	text, ok := m.text("expiresAt")
	at, err := time.Parse(time.RFC3339, text)
	switch {
	case !ok, m["expiresAt"] != nil && err != nil:
		return time.Time{}, invalid
	case m["expiresAt"] == nil:
		return time.Time{}, valid
	case at.Year() < 1971 || at.Year() > 9998:
		return time.Time{}, open
	}
	return time.UnixMicro(at.UnixMicro()).UTC(), valid
}
