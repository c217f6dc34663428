package ijson

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// Taker is a struct that can take the members of plain bodies by itself: most bodies are plain, and
// [Unmarshal] reads those in a third of the time. What isn't plain it reads into the fields, as
// into those of any struct: so a Taker must take of a member just what its field would hold, and
// leave the rest to the fields.
type Taker interface {
	// Take takes a member. It returns false for a name that it doesn't know, and for a value that
	// isn't what it expects: the body is then read into the fields.
	Take(name string, m Member) bool
}

// Member is the value of a member of a plain body: a text of printable ASCII without escapes, an
// integer of up to 18 digits, true or false.
type Member struct {
	text   string
	number int64
	kind   byte // '"', '0', 't' or 'f', as in jsontext.Kind
}

// Text takes a text.
func (m Member) Text(into *string) bool {
	*into = m.text
	return m.kind == '"'
}

// String takes a text into a field that notes whether it is one.
func (m Member) String(into *String) bool {
	*into = String{Text: m.text, Given: true}
	return m.kind == '"'
}

// Number takes an integer.
func (m Member) Number(into *int64) bool {
	*into = m.number
	return m.kind == '0'
}

// Integer takes an integer into a field that notes whether it is one.
func (m Member) Integer(into *Integer) bool {
	*into = Integer{Value: m.number, Given: true}
	return m.kind == '0'
}

// Bool takes a boolean.
func (m Member) Bool(into *bool) bool {
	*into = m.kind == 't'
	return m.kind == 't' || m.kind == 'f'
}

// Time takes a time in UTC, as [time.Time.MarshalText] writes one.
func (m Member) Time(into **time.Time) bool {
	at, err := time.Parse(time.RFC3339Nano, m.text)
	if err != nil || m.kind != '"' {
		return false
	}
	again, err := at.MarshalText()
	*into = &at
	return err == nil && string(again) == m.text && strings.HasSuffix(m.text, "Z")
}

// plainMembers is how many members a plain body has at most.
const plainMembers = 16

// unmarshalPlain reads a body into a Taker, if the body is plain: a flat object whose names and
// values are as those of [Member], each name once. Else into is as empty as it was.
func unmarshalPlain(body []byte, into Taker) bool {
	if takeMembers(string(body), into) {
		return true
	}
	reflect.ValueOf(into).Elem().SetZero() // some members may have been taken
	return false
}

func takeMembers(body string, into Taker) bool {
	rest, ok := strings.CutPrefix(body, "{")
	if !ok {
		return false
	}
	var names [plainMembers]string
	for n := 0; ; n++ {
		var name string
		if name, rest, ok = plainText(skipSpace(rest)); !ok || n == plainMembers {
			return false
		}
		if slices.Contains(names[:n], name) {
			return false
		}
		names[n] = name
		if rest, ok = strings.CutPrefix(skipSpace(rest), ":"); !ok {
			return false
		}
		var m Member
		if m, rest, ok = plainMember(skipSpace(rest)); !ok || !into.Take(name, m) {
			return false
		}
		rest = skipSpace(rest)
		switch {
		case rest == "":
			return false
		case rest[0] == '}':
			return skipSpace(rest[1:]) == ""
		case rest[0] != ',':
			return false
		}
		rest = rest[1:]
	}
}

func skipSpace(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\n' || s[0] == '\t' || s[0] == '\r') {
		s = s[1:]
	}
	return s
}

// plainText reads a quoted text.
func plainText(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c < ' ' || c > '~' || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

func plainMember(s string) (m Member, rest string, ok bool) {
	switch {
	case s == "":
		return m, s, false
	case s[0] == '"':
		m.kind = '"'
		m.text, rest, ok = plainText(s)
		return m, rest, ok
	case strings.HasPrefix(s, "true"):
		return Member{kind: 't'}, s[len("true"):], true
	case strings.HasPrefix(s, "false"):
		return Member{kind: 'f'}, s[len("false"):], true
	}
	m.kind = '0'
	m.number, rest, ok = plainNumber(s)
	return m, rest, ok
}

// plainNumber reads an integer of up to 18 digits, none of them a zero that leads. What follows it
// is for the caller to look at: a fraction or an exponent is nothing that can follow a member.
func plainNumber(s string) (n int64, rest string, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	size := 0
	for size < len(digits) && size < 19 && digits[size] >= '0' && digits[size] <= '9' {
		n = n*10 + int64(digits[size]-'0')
		size++
	}
	if size == 0 || size > 18 || (digits[0] == '0' && (size > 1 || negative)) {
		return 0, s, false
	}
	if negative {
		n = -n
	}
	return n, digits[size:], true
}
