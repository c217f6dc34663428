package product

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// found says whether a search for the query finds the text: each of its words begins one of the text's.
func found(query, text string) bool {
	words := Words(text)
	for _, wanted := range Words(query) {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, wanted) }) {
			return false
		}
	}
	return true
}

func TestWordsAreFoundHoweverTheyAreWritten(t *testing.T) {
	for _, test := range []struct{ name, query, text string }{
		{"a beginning", "lam", "Warm lamp"},
		{"NFC finds NFD", "k\u00e4se", "Ka\u0308se"},
		{"NFD finds NFC", "ka\u0308se", "K\u00e4se"},
		{"without the accent", "kase", "Käse"},
		{"with one accent of two", "brulée", "Crème brûlée"},
		{"a beginning without the accent", "ec", "Éclair"},
		{"capitals", "WEISSBIER", "Weißbier"},
		{"a sharp s", "weißbier", "WEISSBIER"},
		{"a capital sharp s", "WEIẞ", "weissbier"},
		{"Greek, the final sigma", "λογος", "ΛΟΓΟΣ"},
		{"Greek, a beginning that ends as a word does", "λογος", "λόγοσημα"},
		{"Greek without its accent", "ΛΟΓΟΣ", "λόγος"},
		{"Turkish, the dotted capital", "istanbul", "İSTANBUL"},
		{"Turkish, typed with it", "İSTANBUL", "istanbul"},
		{"Turkish, the dotless letter", "ışık", "IŞIK"},
		{"Turkish, typed in ASCII", "isik", "ışık"},
		{"Polish", "lodz", "Łódź"},
		{"Danish", "smorrebrod", "Smørrebrød"},
		{"French", "oeuf", "Œuf"},
		{"Vietnamese", "pho bo", "Phở bò"},
		{"Cyrillic", "ЁЛКА", "елка"},
		{"Hebrew, pointed", "שלום", "שָׁלוֹם"},
		{"Arabic, with vowels", "كتاب", "كِتَاب"},
		{"Arabic between controls of direction", "كتاب", "\u2067كتاب\u2069"},
		{"Hindi", "चाय", "मसाला चाय"},
		{"Hindi, a joiner", "क्ष", "क्\u200dष"},
		{"Thai, the beginning of the run", "น้ำ", "น้ำชา"},
		{"Thai, the vowel taken apart", "น\u0e49\u0e4d\u0e32", "น้ำ"},
		{"Chinese, the beginning of the run", "红", "红茶"},
		{"Japanese, halfwidth", "ﾃﾝﾄ", "テント"},
		{"Japanese, the voiced mark taken apart", "か\u3099", "が"},
		{"Korean, taken apart", norm.NFD.String("차"), "차"},
		{"fullwidth", "ＬＡＭＰ", "lamp"},
		{"a ligature", "final", "ﬁnal"},
		{"a soft hyphen", "lampshade", "lamp\u00adshade"},
		{"zero width", "lamp", "la\u200bmp"},
		{"an emoji", "💡", "Lamp 💡 warm"},
		{"an emoji without its selector", "❤", "I ❤\ufe0f tea"},
		{"the first emoji of a sequence", "👩", "👩\u200d🔬 coat"},
		{"a letter beside an emoji", "lamp", "💡lamp"},
		{"punctuation", "l'oreal", "L’Oréal"},
		{"a trade mark", "lego", "LEGO® bricks"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !found(test.query, test.text) {
				t.Errorf("%q doesn't find %q: %q, %q", test.query, test.text, Words(test.query), Words(test.text))
			}
		})
	}
}

func TestWordsAreNotFoundByWhatTheyAreNot(t *testing.T) {
	for _, test := range []struct{ name, query, text string }{
		{"not from its middle", "amp", "lamp"},
		{"Hindi, another vowel sign", "चाय", "यह चम्मच"},
		{"Hindi, no vowel sign", "चिनी", "चाना"},
		{"Thai, another tone", "น้า", "นา"},
		{"Thai, not from the middle of a run", "ชา", "น้ำชา"},
		{"Japanese, the unvoiced letter", "かき", "がき"},
		{"a whole word more", "red lamp", "lamp"},
		{"an emoji that isn't there", "💡", "Lamp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if found(test.query, test.text) {
				t.Errorf("%q finds %q: %q, %q", test.query, test.text, Words(test.query), Words(test.text))
			}
		})
	}
	for _, nothing := range []string{"", " \t\n", "\u200b\u2060\ufeff", "\u3164", "-- !", "\u0301"} {
		if words := Words(nothing); len(words) != 0 {
			t.Errorf("%q has the words %q", nothing, words)
		}
	}
}

// A search never depends on how a text was composed, nor on which of the equal words was stored and
// which typed.
func TestWordsDontDependOnComposition(t *testing.T) {
	text := rapid.StringN(0, 30, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		want := Words(s)
		for _, form := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
			if got := Words(form.String(s)); !slices.Equal(got, want) {
				t.Fatalf("%q has the words %q, and in another form %q", s, want, got)
			}
		}
		for _, w := range want {
			if again := Words(w); len(again) == 0 || strings.Join(again, "") != w {
				t.Fatalf("the word %q of %q has the words %q", w, s, again)
			}
		}
	})
}

func TestTrim(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"spaces", " \u00a0\u3000X\t\n", "X"},
		{"zero width", "\u200b\ufeffX\u2060\u200d", "X"},
		{"both", "\u200b \u200fX \u200e ", "X"},
		{"spaces inside", " a  b ", "a  b"},
		{"only spaces", " \t\u2003", ""},
		{"only zero width", "\u200b\u200c\u200d\u2060\ufeff\u00ad", ""},
		{"fillers", "\u3164\u115f\u2800", ""},
		{"only selectors", "\ufe0f\ufe0f", ""},
		{"an emoji with its selector", "❤\ufe0f ", "❤\ufe0f"},
		{"a sequence of emoji", " 👩\u200d🔬", "👩\u200d🔬"},
		{"a flag of tags", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"},
		{"right to left", "\u202bשלום\u202c", "שלום"},
		{"a mark", "e\u0301", "e\u0301"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Trim(test.text); got != test.want {
				t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
			}
		})
	}
}

func TestSKUsThatLookTheSameAreTheSame(t *testing.T) {
	for _, test := range []struct{ name, a, b string }{
		{"a space behind", "X", "X "},
		{"a space before", "X", " X"},
		{"a tab", "X", "X\t"},
		{"zero width behind", "X", "X\u200b"},
		{"zero width inside", "AB", "A\u200bB"},
		{"a soft hyphen", "AB", "A\u00adB"},
		{"a control of direction", "AB-1", "\u202aAB-1\u202c"},
		{"composition", "É-1", "E\u0301-1"},
		{"composition with a joiner between", "É-1", "E\u034f\u0301-1"},
		{"fullwidth", "X1", "Ｘ１"},
		{"a ligature", "fi", "ﬁ"},
		{"a no-break space", "A B", "A\u00a0B"},
		{"a selector", "❤", "❤\ufe0f"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if a, b := SKUKey(test.a), SKUKey(test.b); a != b || a == "" {
				t.Errorf("%q and %q have the keys %q and %q", test.a, test.b, a, b)
			}
		})
	}
	keys := map[string]string{}
	for _, sku := range []string{"X", "x", "É-1", "E-1", "A B", "AB", "0", "O", "ß", "ss", "Ⅰ1", "चाय", "चय", "💡", "👩", "👩\u200d🔬"} {
		key := SKUKey(sku)
		if other, twice := keys[key]; twice {
			t.Errorf("%q and %q, which look different, have one key, %q", sku, other, key)
		}
		keys[key] = sku
	}
	for _, nothing := range []string{"", " ", "\u200b", "\x00", "\u3164"} {
		if key := SKUKey(nothing); key != "" {
			t.Errorf("%q has the key %q", nothing, key)
		}
	}
}

func TestNamesOrderAsInADictionary(t *testing.T) {
	want := []string{
		"(a) first", "10 pegs", "9 pegs", "apple", "Apple", "Ápple", "apple pie", "Éclair", "écru", "Ego", "Straße", "Strasse 2", "zebra", "Zebra", "Ωmega", "Бор", "שלום", "चाय", "ชา", "红茶",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(SortKey(a), SortKey(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("the order is\n%q, want\n%q", got, want)
	}
	if a, b := SortKey("Éclair"), SortKey("E\u0301clair"); a != b {
		t.Errorf("the composition changes the key: %s, %s", a, b)
	}
}

// A key is what a database and a cursor can hold, whatever the name.
func TestSortKeysAreShortAndPlain(t *testing.T) {
	names := rapid.OneOf(rapid.StringN(0, MaxName, -1), rapid.StringOfN(rapid.SampledFrom([]rune("\ufdfa\u200b\u0301a")), 0, MaxName, -1))
	rapid.Check(t, func(t *rapid.T) {
		name := names.Draw(t, "name")
		key := SortKey(name)
		if len(key) > 2*maxSortKey || strings.ContainsFunc(key, func(r rune) bool { return r >= utf8.RuneSelf || r < '0' }) {
			t.Fatalf("the key of %q is %q", name, key)
		}
	})
}
