package main

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the rows of docs/settings.md from the comments of the settings")

// TestTheSettingsPageIsWhatTheCodeSays holds docs/settings.md, which -help prints, to the comments
// and the defaults of the settings.
func TestTheSettingsPageIsWhatTheCodeSays(t *testing.T) {
	want := map[string]string{}
	for name, s := range documented(t, reflect.TypeFor[Settings]()) {
		if s.text == "" {
			t.Errorf("%s has no sentence of its own", name)
		}
		want[name] = "| `" + name + "` | " + s.fallback + " | " + s.text + " |"
	}
	lines := strings.Split(settingsPage, "\n")
	for i, line := range lines {
		found := settingRow.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		row, ok := want[found[1]]
		switch {
		case !ok:
			t.Errorf("the page has %s, which is no setting, or which it has twice", found[1])
		case *update:
			lines[i] = row
		case line != row:
			t.Errorf("the page says\n%s\nthe code says\n%s\n(go test . -run SettingsPage -update writes it)", line, row)
		}
		delete(want, found[1])
	}
	for name := range want {
		t.Errorf("the page lacks %s: put a row of it under the heading where an operator looks for it", name)
	}
	if *update {
		if err := os.WriteFile("docs/settings.md", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTuningComesLastInEveryStruct holds the order of the fields to that of the page.
func TestTuningComesLastInEveryStruct(t *testing.T) {
	_, tuning, ok := strings.Cut(settingsPage, "\n## Tuning\n")
	if !ok {
		t.Fatal("the page has no part about tuning")
	}
	var inOrder func(reflect.Type)
	inOrder = func(typ reflect.Type) {
		last := ""
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
			switch {
			case name == "" && f.Type.Kind() == reflect.Struct:
				inOrder(f.Type)
			case name == "":
			case strings.Contains(tuning, "`"+name+"` |"):
				last = name
			case last != "":
				t.Errorf("%s: %s comes behind %s, which is for tuning", typ, name, last)
			}
		}
	}
	inOrder(reflect.TypeFor[Settings]())
}

// setting is what the code says of one.
type setting struct{ fallback, text string }

// documented returns the settings of a type and of the types of its fields, by the names of the
// variables.
func documented(t *testing.T, typ reflect.Type) map[string]setting {
	t.Helper()
	all, comments := map[string]setting{}, commentsOf(t, typ)
	variable := func(field string) string {
		f, ok := typ.FieldByName(field)
		if !ok {
			t.Errorf("%s has no field %s", typ, field)
		}
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		return name
	}
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("env"), ",")
		switch {
		case name == "" && f.Type.Kind() == reflect.Struct && strings.HasPrefix(f.Type.PkgPath(), module):
			maps.Copy(all, documented(t, f.Type))
		case name == "":
		default:
			text, begins := strings.CutPrefix(comments[f.Name], f.Name+" ")
			if !begins {
				t.Errorf("the comment of %s.%s doesn't begin with its name", typ, f.Name)
			}
			text = strings.TrimPrefix(strings.TrimPrefix(text, "is "), "are ")
			text = fieldLink.ReplaceAllStringFunc(text, func(link string) string {
				return variable(fieldLink.FindStringSubmatch(link)[1])
			})
			text = variableName.ReplaceAllString(text, "`$0`")
			fallback := f.Tag.Get("envDefault")
			if fallback != "" {
				fallback = "`" + fallback + "`"
			} else if slices.Contains(strings.Split(options, ","), "required") {
				fallback = "required"
			}
			all[name] = setting{fallback, strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):]}
		}
	}
	return all
}

var (
	fieldLink    = regexp.MustCompile(`\[[A-Za-z]+\.([A-Za-z]+)\]`)
	variableName = regexp.MustCompile(`\b[A-Z]+_[A-Z_]+\b`)
)

// commentsOf are the comments of a struct's fields, each in one line.
func commentsOf(t *testing.T, typ reflect.Type) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(".", strings.TrimPrefix(strings.TrimPrefix(typ.PkgPath(), "main"), module), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != typ.Name() {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				for _, name := range field.Names {
					comments[name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
			return false
		})
	}
	return comments
}
