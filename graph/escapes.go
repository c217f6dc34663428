package graph

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// unescape writes the escapes in a document's strings so that the parser understands them: it takes
// each half of a surrogate pair for a character of its own, and doesn't know \u{…} (GraphQL
// specification, section 2.9.4). Each string is followed by as many spaces as it got shorter, so
// that what follows it stays where it was. Half a pair is refused.
func unescape(document string) (string, gqlerror.List) {
	if !strings.Contains(document, `\u`) {
		return document, nil
	}
	var b strings.Builder
	for i := 0; i < len(document); {
		size := 1
		switch rest := document[i:]; {
		case rest[0] == '#':
			size = lineEnd(rest)
		case strings.HasPrefix(rest, `"""`):
			size = blockEnd(rest)
		case rest[0] == '"':
			text, end, wrong := unescapeString(rest)
			if wrong >= 0 {
				return "", refusal(ParseFailed, position(document, i+wrong), "%s is no character: a surrogate is one half of a pair, and both stand together or not at all", escapeAt(rest[wrong:]))
			}
			b.WriteString(text)
			i += end
			continue
		}
		b.WriteString(document[i : i+size])
		i += size
	}
	return b.String(), nil
}

// lineEnd is the length of a comment.
func lineEnd(comment string) int {
	if end := strings.IndexAny(comment, "\r\n"); end >= 0 {
		return end
	}
	return len(comment)
}

// blockEnd is the length of a block string, which has no escapes but that of its own end.
func blockEnd(block string) int {
	for i := 3; i < len(block); i++ {
		switch {
		case strings.HasPrefix(block[i:], `\"""`):
			i += 3
		case strings.HasPrefix(block[i:], `"""`):
			for i += 3; i < len(block) && block[i] == '"'; i++ { // the last three end it
			}
			return i
		}
	}
	return len(block)
}

// unescapeString rewrites the string that the text begins with, and returns how long it was. What
// is no string or no escape stays for the parser to refuse; wrong is where half a pair stands, or
// -1.
func unescapeString(text string) (written string, size, wrong int) {
	var b strings.Builder
	saved := 0
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n' || c == '\r':
			return b.String(), i, -1
		case c == '"' && i > 0:
			return b.String() + `"` + strings.Repeat(" ", max(0, saved)), i + 1, -1
		case c != '\\' || i+1 == len(text):
			b.WriteByte(c)
			i++
			continue
		}
		r, n := codePoint(text[i:])
		if n == 0 { // an escape of another kind
			b.WriteString(text[i : i+2])
			i += 2
			continue
		}
		if utf16.IsSurrogate(r) {
			low, m := codePoint(text[i+n:])
			braces := text[i+2] == '{' || (m > 0 && text[i+n+2] == '{')
			if r = utf16.DecodeRune(r, low); braces || r == utf8.RuneError {
				return "", 0, i
			}
			n += m
		}
		plain := string(r)
		if r < 1<<16 { // it may be one that can't stand in a string by itself
			plain = `\u` + strconv.FormatInt(1<<16|int64(r), 16)[1:]
		}
		b.WriteString(plain)
		saved += n - utf8.RuneCountInString(plain)
		i += n
	}
	return b.String(), len(text), -1
}

// codePoint reads an escape of a code point; n is 0 where the text doesn't begin with one.
func codePoint(text string) (r rune, n int) {
	if !strings.HasPrefix(text, `\u`) {
		return 0, 0
	}
	digits, end := text[2:], 6
	if braced, ok := strings.CutPrefix(digits, "{"); ok {
		size := strings.IndexByte(braced, '}')
		if size < 1 {
			return 0, 0
		}
		digits, end = strings.TrimLeft(braced[:size-1], "0")+braced[size-1:size], 4+size
		if len(digits) > 6 {
			return 0, 0
		}
	} else if len(digits) < 4 {
		return 0, 0
	} else {
		digits = digits[:4]
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, 0
	}
	return rune(v), end
}

// escapeAt is the escape that the text begins with.
func escapeAt(text string) string {
	_, n := codePoint(text)
	return text[:n]
}

// position is where a byte of a document stands.
func position(document string, at int) *ast.Position {
	before := strings.ReplaceAll(strings.ReplaceAll(document[:at], "\r\n", "\n"), "\r", "\n")
	return &ast.Position{Line: 1 + strings.Count(before, "\n"), Column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])}
}
