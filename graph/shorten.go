package graph

import (
	"strings"

	"product-service/graph/model"
)

const (
	maxEcho    = 100 // bytes of what a client sent that a message repeats, in all
	maxPassage = 64  // in one piece
)

// values are the words behind which messages of the parser and of the validation end with something
// of any length.
var values = []string{"value: ", "found ", "Unexpected String ", "Unexpected BlockString ", "Unexpected Comment "}

// shorten keeps a message from repeating more of the input than maxEcho. Messages come from the
// parser, the validation, gqlgen and this package; what they repeat stands in quotes, or at the end
// behind one of the words for values, or is longer than any word of theirs.
func shorten(message string) string {
	if len(message) <= maxPassage {
		return message
	}
	text, value := message, ""
	for _, before := range values {
		if i := strings.Index(text, before); i >= 0 {
			text, value = text[:i+len(before)], message[i+len(before):]
		}
	}
	left := maxEcho
	echo := func(text string) string {
		short := model.AbbreviateTo(text, max(0, min(left, maxPassage)))
		left -= len(text)
		return short
	}
	var b strings.Builder
	for text != "" {
		quote := strings.IndexByte(text, '"') + 1
		if quote == 0 {
			quote = len(text)
		}
		for word := range strings.SplitAfterSeq(text[:quote], " ") {
			if len(word) > maxPassage {
				word = echo(word)
			}
			b.WriteString(word)
		}
		text = text[quote:]
		end := closingQuote(text)
		b.WriteString(echo(text[:end]))
		text = text[end:]
		if text != "" {
			b.WriteByte('"')
			text = text[1:]
		}
	}
	b.WriteString(echo(value))
	return b.String()
}

// closingQuote is where a quoted passage ends: at the first quote without a backslash.
func closingQuote(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}
