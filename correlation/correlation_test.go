package correlation_test

import (
	"context"
	"strings"
	"testing"

	"product-service/correlation"
)

const ids = "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

// TestTraceparent has a row for each rule of W3C Trace Context, section 3.2.
func TestTraceparent(t *testing.T) {
	for name, c := range map[string]struct{ header, want string }{
		"sampled":                      {"00" + ids + "01", "00" + ids + "01"},
		"flags nobody knows yet":       {"00" + ids + "ff", "00" + ids + "ff"},
		"a later version":              {"01" + ids + "00", "00" + ids + "00"},
		"a later version with more":    {"cc" + ids + "01-what-comes", "00" + ids + "01"},
		"a later version run together": {"cc" + ids + "01what", ""},
		"version 00 with more":         {"00" + ids + "01-more", ""},
		"the version that is none":     {"ff" + ids + "01", ""},
		"upper case":                   {"00" + strings.ToUpper(ids) + "01", ""},
		"an upper-case version":        {"0A" + ids + "01", ""},
		"a trace id of zeros":          {"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		"a parent id of zeros":         {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""},
		"too short":                    {"00" + ids + "1", ""},
		"other separators":             {strings.ReplaceAll("00"+ids+"01", "-", "_"), ""},
		"empty":                        {"", ""},
	} {
		if got := correlation.Traceparent(c.header); got != c.want {
			t.Errorf("%s: %q gives %q, want %q", name, c.header, got, c.want)
		}
	}
}

// TestNothingUnfitTravels checks that a context never carries what can't be a header.
func TestNothingUnfitTravels(t *testing.T) {
	ctx := context.Background()
	for _, id := range []string{"", "a\r\nX-Evil: 1", "a b", "é", strings.Repeat("a", correlation.MaxLength+1)} {
		if got := correlation.ID(correlation.WithID(ctx, id)); got != "" {
			t.Errorf("%q travels as %q", id, got)
		}
	}
	for _, id := range []string{"order-17", "A.b_c:d-9", strings.Repeat("a", correlation.MaxLength)} {
		if got := correlation.ID(correlation.WithID(ctx, id)); got != id {
			t.Errorf("%q travels as %q", id, got)
		}
	}
	if got := correlation.TraceparentOf(correlation.WithTraceparent(ctx, "00-nonsense")); got != "" {
		t.Errorf("a malformed traceparent travels as %q", got)
	}
	if got := correlation.TraceparentOf(correlation.WithTraceparent(ctx, "01"+ids+"01-x")); got != "00"+ids+"01" {
		t.Errorf("a traceparent of a later version travels as %q", got)
	}
}
