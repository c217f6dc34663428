package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	walkStep = regexp.MustCompile(`^\d+\. `)
	walkLink = regexp.MustCompile(`\]\(\.\./([^)]+)\)`)
	walkName = regexp.MustCompile("`([A-Za-z]+)`")
)

// TestTheWalksNameWhatIsThere checks that each function which docs/walk.md names is in a file that
// its step links, or the step before it did.
func TestTheWalksNameWhatIsThere(t *testing.T) {
	page, err := os.ReadFile("docs/walk.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, before := 0, ""
	for line := range strings.Lines(string(page)) {
		if !walkStep.MatchString(line) {
			continue
		}
		steps++
		text := before
		for _, found := range walkLink.FindAllStringSubmatch(line, -1) {
			before = source(t, found[1])
			text += before
		}
		for _, found := range walkName.FindAllStringSubmatch(line, -1) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + found[1] + `[\[(]`).MatchString(text) {
				t.Errorf("there is no function %s where this step looks for it: %s", found[1], line)
			}
		}
	}
	if steps < 20 {
		t.Errorf("the page has %d steps", steps)
	}
}

// source is the text of a Go file, or of the Go files of a folder.
func source(t *testing.T, path string) (text string) {
	t.Helper()
	files := []string{path}
	if !strings.HasSuffix(path, ".go") {
		files, _ = filepath.Glob(filepath.Join(path, "*.go")) // the pattern is well formed
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text += string(content)
	}
	return text
}
