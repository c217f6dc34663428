package ijson

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// String is a member that is to be a text.
type String struct {
	Text  string
	Given bool   // it is there, and not null
	Wrong string // what it is instead of a text, such as "a JSON number"; else ""
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *String) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	*s = String{Given: value.Kind() != 'n'}
	switch value.Kind() {
	case '"':
		s.Text = text(value)
	case 'n':
	default:
		s.Wrong = kind(value.Kind())
	}
	return nil
}

// text is what a JSON string says.
func text(value Value) string {
	if bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return string(value[1 : len(value)-1])
	}
	unquoted, _ := jsontext.AppendUnquote(nil, value) // the reader has checked the text, or was told not to: then this has U+FFFD for what is none
	return string(unquoted)
}

// Integer is a member that is to be an integer of 64 bits, in any of the ways in which JSON Schema
// takes a number for one: with a fraction of zeros, or with an exponent.
type Integer struct {
	Value int64
	Given bool   // it is there, and not null
	Wrong string // what it is instead of such an integer, such as "a JSON string" or "a JSON number 1.5"; else ""
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (i *Integer) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	*i = Integer{Given: value.Kind() != 'n'}
	switch value.Kind() {
	case '0':
		if n, ok := integer(value); ok {
			i.Value = n
		} else {
			i.Wrong = "a JSON number " + cut(string(value))
		}
	case 'n':
	default:
		i.Wrong = kind(value.Kind())
	}
	return nil
}

// integer reads a JSON number that is an integer of 64 bits. It takes time in proportion to the
// length of the text, whatever the exponent says.
func integer(number []byte) (n int64, ok bool) {
	digits := number
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) > 18 || !onlyDigits(digits) {
		return scaledInteger(number)
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if number[0] == '-' {
		n = -n
	}
	return n, true
}

func onlyDigits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// scaledInteger reads a number with a fraction or an exponent: its digits without the point and
// without zeros at either end, times a power of ten.
func scaledInteger(number []byte) (int64, bool) {
	const beyond = 1 << 30 // a power that no text of a body makes up for with its digits
	digits, power := make([]byte, 0, 24), 0
	rest := number
	if rest[0] == '-' {
		digits, rest = append(digits, '-'), rest[1:]
	}
	sign := len(digits)
	point := false
	for len(rest) > 0 && rest[0] != 'e' && rest[0] != 'E' {
		if rest[0] == '.' {
			point = true
		} else {
			digits = append(digits, rest[0])
			if point {
				power--
			}
		}
		rest = rest[1:]
	}
	for len(digits) > sign && digits[len(digits)-1] == '0' {
		digits, power = digits[:len(digits)-1], power+1
	}
	if len(digits) == sign {
		return 0, true
	}
	if len(rest) > 0 {
		exponent, err := strconv.Atoi(string(rest[1:])) // which it saturates at the greatest or the least int
		if err != nil || exponent > beyond || exponent < -beyond {
			return 0, false
		}
		power += exponent
	}
	if power < 0 || power > 18 {
		return 0, false
	}
	for range power {
		digits = append(digits, '0')
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil
}
