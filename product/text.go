package product

import (
	"encoding/base32"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/collate"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// What names and SKUs are taken for: see docs/texts.md.

// Trim returns the text without the spaces and the invisible characters at its ends: "" where it
// shows nothing. What belongs to the last visible character stays: the variation selector of an
// emoji, the tags of a flag.
func Trim(text string) string {
	text = strings.TrimLeftFunc(text, blank)
	end := strings.LastIndexFunc(text, func(r rune) bool { return !blank(r) })
	if end < 0 {
		return ""
	}
	for {
		r, size := utf8.DecodeRuneInString(text[end:])
		if size == 0 || blank(r) && !modifies(r) {
			return text[:end]
		}
		end += size
	}
}

// blank says whether a character shows nothing.
func blank(r rune) bool { return unicode.IsSpace(r) || invisible(r) || r == brailleBlank }

const brailleBlank = '\u2800' // a symbol without a dot

// invisible says whether a character is one that shows nothing where it isn't supported: those that
// Unicode calls default ignorable (UAX #44), such as the zero-width ones, the soft hyphen and the
// controls of direction.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// modifies says whether a character changes how the one before it looks, and shows nothing itself.
func modifies(r rune) bool {
	return unicode.Is(unicode.Variation_Selector, r) || (r >= 0xE0020 && r <= 0xE007F)
}

// breaks says whether a character has no place in a line of text: a control character or a line break.
func breaks(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) }

// SKUKey is the same for SKUs that look the same, and so for one SKU: NFKC (UAX #15), the case
// kept, without what is invisible. It is "" for a text that shows nothing.
func SKUKey(sku string) string {
	seen := func(r rune) rune {
		if invisible(r) || unicode.Is(unicode.Cc, r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}
	return Trim(norm.NFKC.String(strings.Map(seen, sku)))
}

// Words returns the distinct words of texts as a search compares them, in order. A word is a run of
// letters, digits and the marks on them, in whatever script: where a script sets no spaces, as Thai
// and Chinese don't, the whole run is a word. A run of symbols is one too. Case, composition (NFC,
// NFD), compatibility forms (fullwidth letters, ligatures) and invisible characters don't count;
// neither do marks on letters of the scripts that are also written without them.
func Words(texts ...string) []string {
	var words []string
	for _, text := range texts {
		words = append(words, strings.Fields(searchable(text))...)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// searchable returns the words of a text with spaces between them.
func searchable(text string) string {
	const (
		none = iota
		word
		symbols
	)
	var b strings.Builder
	in, bare := none, false // bare: the last letter stands without its marks
	begin := func(kind int) {
		if in != kind {
			b.WriteByte(' ')
		}
		in = kind
	}
	// Lower case comes on top because the folding of x/text exchanges the two cases of Cherokee.
	folded := norm.NFD.String(strings.ToLower(cases.Fold().String(norm.NFKD.String(text))))
	for _, r := range folded {
		switch {
		case invisible(r):
		case unicode.IsMark(r):
			if in != none && !bare {
				b.WriteRune(r)
			}
		case unicode.IsLetter(r), unicode.IsNumber(r):
			begin(word)
			bare = unicode.In(r, withoutMarks...)
			if plain, ok := plainLetters[r]; ok {
				b.WriteString(plain)
			} else {
				b.WriteRune(r)
			}
		case r >= firstPicture && unicode.In(r, unicode.So, unicode.Sk):
			begin(symbols)
			bare = false
			b.WriteRune(r)
		default:
			begin(none)
		}
	}
	return norm.NFC.String(b.String())
}

// withoutMarks are the scripts whose readers leave accents, points and vowel signs out when they
// type. In others, such as Devanagari or Thai, a mark is a sound like any letter.
var withoutMarks = []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Hebrew, unicode.Arabic}

// plainLetters are letters, in lower case, that people type in another way, though Unicode doesn't
// take them apart.
var plainLetters = map[rune]string{
	'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'ħ': "h", 'ŧ': "t", 'ı': "i", 'æ': "ae", 'œ': "oe", 'þ': "th",
}

// firstPicture is where the symbols begin that people use as pictures: those before it stand on
// words, as ® does.
const firstPicture = '\u2190'

// collators order texts in the root locale. A collator serves one goroutine at a time.
var collators = sync.Pool{New: func() any { return collate.New(language.Und) }}

// maxSortKey bounds a sort key, in bytes: some characters weigh as much as a sentence.
const maxSortKey = 1000

// SortKey is a text whose bytes order as a dictionary orders names (the Unicode collation
// algorithm, UTS #10, in its root locale): accents and case count only where the letters are the
// same. Names with equal keys look alike, or differ behind some 200 letters.
func SortKey(name string) string {
	c := collators.Get().(*collate.Collator)
	defer collators.Put(c)
	var b collate.Buffer
	key := c.KeyFromString(&b, name)
	return sortable.EncodeToString(key[:min(len(key), maxSortKey)])
}

// sortable keeps the order of what it encodes (RFC 4648, section 7).
var sortable = base32.HexEncoding.WithPadding(base32.NoPadding)
